#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "wire/record.h"

#define CONNECTIONS_MAX 64U
#define PIECE           65536

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "wire: %s failed: %s\n", #condition, strerror(errno));                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* One direction of one connection. */
struct flow {
    int from, to;
    struct buf out; /* may go on, from out_at */
    size_t out_at;
    struct buf held; /* records that change places; a stall's rest */
    bool ended;      /* `from` is at its end */
    bool deaf;       /* what comes is thrown away */
    bool mute;       /* the end was passed on */
    uint64_t until;  /* stalled or waiting for the second record; 0: not */
    unsigned caught; /* whole records in `held` */
    size_t first;    /* bytes of the first of them */
    bool catching;
    /* Where in the records the reading is. */
    uint8_t head[RECORD_HEADER_SIZE];
    uint64_t pos, size; /* in the current record; size 0: the header is not complete */
    struct wire_flow_log log;
};

struct connection {
    int a, b; /* the source's side, the sink's */
    struct flow flows[2];
};

struct wire {
    struct wire_fault fault;
    int listener, wake[2];
    char path[108], to[108];
    pthread_t thread;
    atomic_bool quit, struck;
    uint64_t all_until; /* WIRE_STALL_ALL */
    struct connection *connections[CONNECTIONS_MAX];
    unsigned n;
};

static const char *const act_names[] = {
    [WIRE_NOTHING] = "nothing",     [WIRE_CUT] = "cut",         [WIRE_STALL] = "stall",
    [WIRE_STALL_ALL] = "stall-all", [WIRE_SHORTEN] = "shorten", [WIRE_FLIP] = "flip",
    [WIRE_SWAP] = "swap",           [WIRE_REPEAT] = "repeat",
};

_Static_assert(sizeof(act_names) / sizeof(act_names[0]) == WIRE_ACT_COUNT, "a name for every act");

const char *wire_act_name(enum wire_act act)
{
    return act_names[act];
}

static void hang_up(struct connection *c)
{
    if (c->a >= 0)
        close(c->a);
    if (c->b >= 0)
        close(c->b);
    c->a = c->b = -1;
}

static void append(struct buf *b, const uint8_t *data, size_t len)
{
    CHECK(buf_append(b, data, len) == 0);
}

/* As much as goes now; false: nobody is there. */
static bool write_out(struct flow *f)
{
    while (f->out_at < f->out.len) {
        ssize_t n = send(f->to, f->out.data + f->out_at, f->out.len - f->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN;
        f->out_at += (size_t)n;
    }
    buf_consume(&f->out, f->out.len);
    f->out_at = 0;
    return true;
}

/* What passed before a fault is delivered first. */
static void drain(struct flow *f)
{
    while (write_out(f) && f->out_at < f->out.len) {
        struct pollfd w = {.fd = f->to, .events = POLLOUT};

        if (poll(&w, 1, 1000) != 1)
            break;
    }
}

/* ---- following the records ------------------------------------------------------------------ */

static uint32_t head_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* true: the byte ended a record. */
static bool follow(struct flow *f, uint8_t byte)
{
    struct wire_flow_log *log = &f->log;

    log->bytes++;
    if (f->pos < RECORD_HEADER_SIZE)
        f->head[f->pos] = byte;
    f->pos++;
    if (f->pos == RECORD_HEADER_SIZE)
        f->size = RECORD_HEADER_SIZE + record_padded((uint64_t)head_u32(f->head + 8) |
                                                     (uint64_t)head_u32(f->head + 12) << 32);
    if (!f->size || f->pos < f->size)
        return false;
    if (log->n < WIRE_RECORDS_KEPT) {
        log->records[log->n].type = head_u32(f->head);
        log->records[log->n].size = f->size;
    }
    log->n++;
    f->pos = f->size = 0;
    return true;
}

static bool is_here(const struct wire *w, unsigned connection, const struct flow *f)
{
    const struct wire_fault *fault = &w->fault;

    if (fault->act == WIRE_NOTHING || atomic_load(&w->struck) || fault->connection != connection ||
        f != &w->connections[connection]->flows[fault->back])
        return false;
    if (fault->record == WIRE_BY_BYTE)
        return f->log.bytes == fault->at;
    return f->log.n == fault->record && f->pos == fault->at;
}

/* ---- the faults ----------------------------------------------------------------------------- */

static void let_go(struct flow *f)
{
    append(&f->out, f->held.data, f->held.len);
    buf_consume(&f->held, f->held.len);
    f->until = 0;
    f->catching = false;
}

/* Both records are there, or the one that is repeated. */
static void exchange(struct wire *w, struct flow *f)
{
    if (w->fault.act == WIRE_REPEAT)
        append(&f->out, f->held.data, f->first);
    else
        append(&f->out, f->held.data + f->first, f->held.len - f->first);
    append(&f->out, f->held.data, f->first);
    buf_consume(&f->held, f->held.len);
    f->until = 0;
    f->catching = false;
    atomic_store(&w->struck, true);
}

static void catch_byte(struct wire *w, struct flow *f, uint8_t byte)
{
    append(&f->held, &byte, 1);
    if (!follow(f, byte))
        return;
    if (f->caught++ == 0)
        f->first = f->held.len;
    if (f->caught == (w->fault.act == WIRE_REPEAT ? 1U : 2U))
        exchange(w, f);
}

/* The bytes from here on; true: they were taken care of. */
static bool strike(struct wire *w, struct flow *f, uint8_t *data, size_t len)
{
    switch (w->fault.act) {
    case WIRE_FLIP:
        data[0] ^= w->fault.mask;
        atomic_store(&w->struck, true);
        return false;
    case WIRE_SWAP:
    case WIRE_REPEAT:
        f->catching = true;
        f->until = clock_now_ns() + w->fault.ms * NS_PER_MS;
        return false;
    case WIRE_STALL_ALL:
        w->all_until = clock_now_ns() + w->fault.ms * NS_PER_MS;
        /* fallthrough */
    case WIRE_STALL:
        drain(f);
        f->until = clock_now_ns() + w->fault.ms * NS_PER_MS;
        append(&f->held, data, len);
        for (size_t i = 0; i < len; i++)
            follow(f, data[i]);
        break;
    case WIRE_SHORTEN:
        drain(f);
        shutdown(f->to, SHUT_WR);
        f->deaf = f->mute = true;
        break;
    default:
        drain(f);
        for (unsigned i = 0; i < w->n; i++)
            hang_up(w->connections[i]);
        break;
    }
    atomic_store(&w->struck, true);
    return true;
}

static void take(struct wire *w, unsigned connection, struct flow *f, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!f->catching && is_here(w, connection, f) && strike(w, f, data + i, len - i))
            return;
        if (f->catching) {
            catch_byte(w, f, data[i]);
        } else {
            append(&f->out, data + i, 1);
            follow(f, data[i]);
        }
    }
}

/* ---- forwarding ----------------------------------------------------------------------------- */

static bool is_held(const struct wire *w, const struct flow *f)
{
    return w->all_until || (f->until && !f->catching);
}

static bool wants_in(const struct wire *w, const struct flow *f)
{
    return !is_held(w, f) && !f->ended && f->out.len == 0;
}

static bool read_in(struct wire *w, unsigned connection, struct flow *f)
{
    uint8_t data[PIECE];
    ssize_t n = recv(f->from, data, sizeof(data), MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN;
    if (n == 0)
        f->ended = true;
    else if (!f->deaf)
        take(w, connection, f, data, (size_t)n);
    return true;
}

static void pass_end_on(struct flow *f)
{
    if (f->ended && !f->mute && f->out.len == 0 && f->held.len == 0) {
        shutdown(f->to, SHUT_WR);
        f->mute = true;
    }
}

static void serve(struct wire *w, unsigned i)
{
    struct connection *c = w->connections[i];
    bool ok = true;

    for (int back = 0; ok && back < 2 && c->a >= 0; back++) {
        struct flow *f = &c->flows[back];

        if (wants_in(w, f))
            ok = read_in(w, i, f);
        if (ok && c->a >= 0 && !is_held(w, f))
            ok = write_out(f);
        if (ok && c->a >= 0)
            pass_end_on(f);
    }
    if (!ok || (c->flows[0].mute && c->flows[1].mute && c->flows[0].ended && c->flows[1].ended))
        hang_up(c);
}

static void check_clocks(struct wire *w)
{
    uint64_t now = clock_now_ns();

    if (w->all_until && now >= w->all_until)
        w->all_until = 0;
    for (unsigned i = 0; i < w->n; i++)
        for (int back = 0; back < 2; back++) {
            struct flow *f = &w->connections[i]->flows[back];

            if (f->until && now >= f->until)
                let_go(f);
        }
}

static void accept_one(struct wire *w)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    struct connection *c;

    if (fd < 0)
        return;
    CHECK(w->n < CONNECTIONS_MAX);
    c = calloc(1, sizeof(*c));
    CHECK(c);
    c->a = fd;
    c->b = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(c->b >= 0);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", w->to);
    for (int back = 0; back < 2; back++) {
        buf_init(&c->flows[back].out, 0);
        buf_init(&c->flows[back].held, 0);
    }
    c->flows[0].from = c->flows[1].to = c->a;
    c->flows[1].from = c->flows[0].to = c->b;
    if (connect(c->b, (struct sockaddr *)&sun, sizeof(sun)))
        hang_up(c);
    w->connections[w->n++] = c;
}

static void *wire_main(void *arg)
{
    struct wire *w = arg;

    while (!atomic_load(&w->quit)) {
        struct pollfd f[2 + 2 * CONNECTIONS_MAX];
        bool waits = w->all_until != 0;
        unsigned n = w->n;
        uint8_t byte;

        f[0] = (struct pollfd){.fd = w->wake[0], .events = POLLIN};
        f[1] = (struct pollfd){.fd = w->listener, .events = POLLIN};
        for (unsigned i = 0; i < 2 * n; i++) {
            struct connection *c = w->connections[i / 2];
            struct flow *in = &c->flows[i % 2], *out = &c->flows[!(i % 2)];
            short events = wants_in(w, in) ? POLLIN : 0;

            waits |= in->until != 0;
            if (out->out.len && !is_held(w, out))
                events |= POLLOUT;
            f[2 + i] = (struct pollfd){.fd = events ? (i % 2 ? c->b : c->a) : -1, .events = events};
        }
        poll(f, 2 + 2 * n, waits ? 2 : 100);
        if (f[0].revents)
            (void)!read(w->wake[0], &byte, 1);
        check_clocks(w);
        if (f[1].revents && !w->all_until)
            accept_one(w);
        for (unsigned i = 0; i < n; i++)
            if (w->connections[i]->a >= 0)
                serve(w, i);
    }
    return NULL;
}

struct wire *wire_new(const char *to, const struct wire_fault *fault, char *uri, size_t cap)
{
    static unsigned serial;
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct wire *w = calloc(1, sizeof(*w));

    CHECK(w && !strncmp(to, "unix:", 5));
    w->fault = *fault;
    snprintf(w->to, sizeof(w->to), "%s", to + 5);
    snprintf(w->path, sizeof(w->path), "/tmp/godwit-wire-%d-%u", (int)getpid(), serial++);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", w->path);
    snprintf(uri, cap, "unix:%s", w->path);
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(w->listener >= 0);
    unlink(w->path); /* of a process of this number that was killed */
    CHECK(bind(w->listener, (struct sockaddr *)&sun, sizeof(sun)) == 0);
    CHECK(listen(w->listener, CONNECTIONS_MAX) == 0);
    CHECK(pipe2(w->wake, O_CLOEXEC) == 0);
    CHECK(pthread_create(&w->thread, NULL, wire_main, w) == 0);
    return w;
}

bool wire_struck(struct wire *w)
{
    return atomic_load(&w->struck);
}

void wire_free(struct wire *w, struct wire_flow_log (*log)[2], unsigned n)
{
    atomic_store(&w->quit, true);
    CHECK(write(w->wake[1], "", 1) == 1);
    pthread_join(w->thread, NULL);
    for (unsigned i = 0; i < w->n; i++) {
        struct connection *c = w->connections[i];

        hang_up(c);
        for (int back = 0; back < 2; back++) {
            if (log && i < n)
                log[i][back] = c->flows[back].log;
            buf_fini(&c->flows[back].out);
            buf_fini(&c->flows[back].held);
        }
        free(c);
    }
    close(w->listener);
    close(w->wake[0]);
    close(w->wake[1]);
    unlink(w->path);
    free(w);
}
