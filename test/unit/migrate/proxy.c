#include "proxy.h"

#include <assert.h>
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

#include "wire/record.h"

#define CONNECTIONS_MAX 64
#define PIECE           65536

/* One direction of one connection. */
struct flow {
    int from, to;
    uint8_t data[PIECE];
    size_t len, at; /* read, and written of that */
    bool ended;     /* `from` is at its end */
    /* Where in the records the reading is. */
    unsigned record;
    uint8_t head[RECORD_HEADER_SIZE];
    uint64_t pos, size; /* in the current record; size 0: the header is not complete */
};

struct connection {
    int a, b; /* the source's side, the sink's */
    struct flow out, back;
};

struct proxy {
    struct proxy_rule rule;
    bool has_rule;
    struct proxy_law law; /* passes == NULL: none */
    int listener, wake[2];
    char path[108], to[108];
    pthread_t thread;
    atomic_bool quit, cut, healed, cut_asked;
    atomic_uint cut_type;
    struct connection *connections[CONNECTIONS_MAX];
    unsigned n;
};

static int dial(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
        close(fd);
        return -1;
    }
    return fd;
}

static void hang_up(struct connection *c)
{
    if (c->a >= 0)
        close(c->a);
    if (c->b >= 0)
        close(c->b);
    c->a = c->b = -1;
}

static void do_cut(struct proxy *p, uint32_t type)
{
    atomic_store(&p->cut_type, type);
    atomic_store(&p->cut, true); /* before anybody can notice */
    for (unsigned i = 0; i < p->n && p->rule.after != PROXY_SILENT; i++)
        hang_up(p->connections[i]);
}

static uint32_t head_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool is_chosen(const struct proxy_rule *r, const struct flow *f, uint8_t byte)
{
    if (r->type)
        return r->type == (f->pos ? f->head[0] : byte);
    return r->record == f->record;
}

static bool is_back(const struct proxy *p, const struct flow *f)
{
    for (unsigned i = 0; i < p->n; i++)
        if (f == &p->connections[i]->back)
            return true;
    return false;
}

/* Follows one byte; true: the rule says that this one does not pass. */
static bool follow(struct proxy *p, struct flow *f, bool is_cut_flow, uint8_t byte)
{
    uint64_t hold = UINT64_MAX;

    if (f->pos == 0 && p->law.passes && !p->law.passes(p->law.arg, is_back(p, f), byte))
        return true;
    /* A record's size is known from its first 16 bytes on; nothing is held back before that but
     * its first byte (which is its type). */
    if (is_cut_flow && is_chosen(&p->rule, f, byte)) {
        if (p->rule.place == PROXY_BEFORE)
            hold = 0;
        else if (f->size)
            hold = p->rule.place == PROXY_LAST ? f->size - 1 : f->size / 2;
        if (hold < RECORD_HEADER_SIZE && hold > 0)
            hold = RECORD_HEADER_SIZE;
    }
    if (f->pos == hold)
        return true;
    if (f->pos < RECORD_HEADER_SIZE)
        f->head[f->pos] = byte;
    f->pos++;
    if (f->pos == RECORD_HEADER_SIZE)
        f->size = RECORD_HEADER_SIZE + record_padded((uint64_t)head_u32(f->head + 8) |
                                                     (uint64_t)head_u32(f->head + 12) << 32);
    if (f->size && f->pos == f->size) {
        f->pos = f->size = 0;
        f->record++;
    }
    return false;
}

static bool write_out(struct flow *f)
{
    ssize_t n = send(f->to, f->data + f->at, f->len - f->at, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN;
    f->at += (size_t)n;
    if (f->at == f->len)
        f->at = f->len = 0;
    return true;
}

/* What passes before the cut is delivered first. */
static void deliver_and_cut(struct proxy *p, struct flow *f, size_t pass, uint8_t type)
{
    f->len = pass;
    while (f->len) {
        struct pollfd w = {.fd = f->to, .events = POLLOUT};

        if (poll(&w, 1, 1000) != 1 || !write_out(f))
            break;
    }
    do_cut(p, type);
}

static bool read_in(struct proxy *p, unsigned index, bool back, struct flow *f)
{
    bool is_cut_flow =
        p->has_rule && !atomic_load(&p->cut) && p->rule.connection == index && p->rule.back == back;
    ssize_t n = recv(f->from, f->data, sizeof(f->data), MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN;
    if (n == 0) {
        f->ended = true;
        shutdown(f->to, SHUT_WR);
        return true;
    }
    for (ssize_t i = 0; i < n; i++)
        if (follow(p, f, is_cut_flow, f->data[i])) {
            if (p->rule.after == PROXY_FLIPS) {
                f->data[i] ^= 1;
                atomic_store(&p->cut, true);
                is_cut_flow = false;
                follow(p, f, false, f->data[i]);
                continue;
            }
            deliver_and_cut(p, f, (size_t)i,
                            f->pos ? f->head[0] : f->data[i]); /* types are small numbers */
            return true;
        }
    f->len = (size_t)n;
    f->at = 0;
    return true;
}

static void accept_one(struct proxy *p)
{
    struct connection *c;
    int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if ((atomic_load(&p->cut) && !atomic_load(&p->healed) && p->rule.after == PROXY_DEAD) ||
        (p->law.admits && !p->law.admits(p->law.arg))) {
        close(fd);
        return;
    }
    assert(p->n < CONNECTIONS_MAX);
    c = calloc(1, sizeof(*c));
    assert(c);
    c->a = fd;
    c->b = dial(p->to);
    if (c->b < 0)
        hang_up(c);
    c->out.from = c->back.to = c->a;
    c->out.to = c->back.from = c->b;
    p->connections[p->n++] = c;
}

static short wants(const struct flow *f, bool reading)
{
    if (reading)
        return !f->len && !f->ended ? POLLIN : 0;
    return f->len ? POLLOUT : 0;
}

static void serve(struct proxy *p, unsigned i, short a, short b)
{
    struct connection *c = p->connections[i];
    bool ok = true;

    if (a & (POLLIN | POLLHUP) && wants(&c->out, true))
        ok = read_in(p, i, false, &c->out);
    if (ok && c->b >= 0 && b & (POLLIN | POLLHUP) && wants(&c->back, true))
        ok = read_in(p, i, true, &c->back);
    if (ok && c->b >= 0 && c->out.len)
        ok = write_out(&c->out);
    if (ok && c->a >= 0 && c->back.len)
        ok = write_out(&c->back);
    if (!ok || (c->out.ended && c->back.ended))
        hang_up(c);
}

static void *proxy_main(void *arg)
{
    struct proxy *p = arg;

    while (!atomic_load(&p->quit)) {
        struct pollfd f[2 + 2 * CONNECTIONS_MAX];
        bool mute = atomic_load(&p->cut) && p->rule.after == PROXY_SILENT;
        unsigned n = p->n;

        f[0] = (struct pollfd){.fd = p->wake[0], .events = POLLIN};
        f[1] = (struct pollfd){.fd = p->listener, .events = POLLIN};
        for (unsigned i = 0; i < n; i++) {
            struct connection *c = p->connections[i];

            f[2 + 2 * i] = (struct pollfd){
                .fd = mute || !(wants(&c->out, true) | wants(&c->back, false)) ? -1 : c->a,
                .events = (short)(wants(&c->out, true) | wants(&c->back, false))};
            f[3 + 2 * i] = (struct pollfd){
                .fd = mute || !(wants(&c->back, true) | wants(&c->out, false)) ? -1 : c->b,
                .events = (short)(wants(&c->back, true) | wants(&c->out, false))};
        }
        poll(f, 2 + 2 * n, 100);
        if (f[0].revents) {
            uint8_t byte;

            assert(read(p->wake[0], &byte, 1) == 1);
            if (atomic_exchange(&p->cut_asked, false)) {
                do_cut(p, 0);
                continue;
            }
        }
        if (f[1].revents)
            accept_one(p);
        for (unsigned i = 0; i < n && !(atomic_load(&p->cut) && p->rule.after == PROXY_SILENT); i++)
            if (p->connections[i]->a >= 0 && (f[2 + 2 * i].revents || f[3 + 2 * i].revents))
                serve(p, i, f[2 + 2 * i].revents, f[3 + 2 * i].revents);
    }
    return NULL;
}

static struct proxy *start(const char *to, const struct proxy_rule *rule,
                           const struct proxy_law *law, char *uri, unsigned cap)
{
    static unsigned serial;
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct proxy *p = calloc(1, sizeof(*p));

    assert(p && !strncmp(to, "unix:", 5));
    if (rule) {
        p->rule = *rule;
        p->has_rule = true;
    }
    if (law)
        p->law = *law;
    snprintf(p->to, sizeof(p->to), "%s", to + 5);
    snprintf(p->path, sizeof(p->path), "/tmp/godwit-proxy-%d-%u", (int)getpid(), serial++);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", p->path);
    snprintf(uri, cap, "unix:%s", p->path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert(p->listener >= 0);
    assert(bind(p->listener, (struct sockaddr *)&sun, sizeof(sun)) == 0);
    assert(listen(p->listener, 64) == 0);
    assert(pipe2(p->wake, O_CLOEXEC) == 0);
    assert(pthread_create(&p->thread, NULL, proxy_main, p) == 0);
    return p;
}

struct proxy *proxy_new(const char *to, const struct proxy_rule *rule, char *uri, unsigned cap)
{
    return start(to, rule, NULL, uri, cap);
}

struct proxy *proxy_new_law(const char *to, const struct proxy_law *law, char *uri, unsigned cap)
{
    return start(to, NULL, law, uri, cap);
}

void proxy_cut(struct proxy *p)
{
    atomic_store(&p->cut_asked, true);
    assert(write(p->wake[1], "", 1) == 1);
}

bool proxy_has_cut(struct proxy *p)
{
    return atomic_load(&p->cut);
}

uint32_t proxy_cut_type(struct proxy *p)
{
    return atomic_load(&p->cut_type);
}

void proxy_heal(struct proxy *p)
{
    atomic_store(&p->healed, true);
}

void proxy_free(struct proxy *p)
{
    atomic_store(&p->quit, true);
    assert(write(p->wake[1], "", 1) == 1);
    pthread_join(p->thread, NULL);
    for (unsigned i = 0; i < p->n; i++) {
        hang_up(p->connections[i]);
        free(p->connections[i]);
    }
    close(p->listener);
    close(p->wake[0]);
    close(p->wake[1]);
    unlink(p->path);
    free(p);
}
