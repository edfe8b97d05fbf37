/*
 * The source as a whole, against a destination that means harm: a real source that dials a UNIX
 * socket, threads and all.  The input is a byte of settings (bit 0: cut links are mended, bit 1:
 * memory is verified, bit 2: pages are packed) and a script of items
 *
 *   {u8 where, u8 type, u16 length, bytes}
 *
 * where: bits 0-2 the connection, in the order in which they come (0: control, 1-2: lanes, 3: the
 * one that comes again, 4-5: its lanes); bit 4: the connection is closed after it; bit 5: not when
 * the source has come to where such a record is due, but at once; bit 7: the bytes go out as they
 * are, else they become the body of a record of that type, with a right checksum and, where one
 * belongs there, the migration's token.  After each script the source must end in time, with its
 * memory untouched: a destination that can wedge it is a finding.
 */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "godwit/migrate.h"
#include "stream/native/hello.h"
#include "stream/native/native.h"
#include "wire/record.h"

#define CONNECTIONS 8
#define LANES       2
#define PAGES       16U
#define END_NS      (10 * NS_PER_S)
#define HEARD_MAX   (512U << 10)

/* ---- the monitor ---------------------------------------------------------------------------- */

static uint8_t memory[PAGES * GODWIT_PAGE_SIZE] __attribute__((aligned(4096)));
static atomic_bool paused, given;
static atomic_int resumes, finishes;

static void fill(void)
{
    for (size_t i = 0; i < sizeof(memory) / 2; i++) /* the rest stays zero */
        memory[i] = (uint8_t)(i * 7 + i / 4096);
}

static bool is_untouched(void)
{
    for (size_t i = 0; i < sizeof(memory); i++)
        if (memory[i] != (i < sizeof(memory) / 2 ? (uint8_t)(i * 7 + i / 4096) : 0))
            return false;
    return true;
}

static int on_manifest(void *opaque, struct buf *out, struct err *e)
{
    return buf_append(out, "a machine", 9);
}

static int on_dirty_start(void *opaque, struct err *e)
{
    return 0;
}

static int on_dirty_sync(void *opaque, uint32_t region, uint64_t *bitmap, struct err *e)
{
    bitmap[0] |= 5; /* never clean */
    return 0;
}

static int on_dirty_clear(void *opaque, uint32_t region, uint64_t first, uint64_t n,
                          const uint64_t *bits, struct err *e)
{
    return 0;
}

static void on_dirty_stop(void *opaque)
{
}

static int on_next_data(void *opaque, uint32_t region, uint64_t offset, uint64_t *start,
                        uint64_t *end)
{
    *start = offset;
    *end = sizeof(memory);
    return 0;
}

static int on_stop(void *opaque, struct godwit_stopped *out, struct err *e)
{
    FUZZ_CHECK(!atomic_exchange(&paused, true));
    *out = (struct godwit_stopped){.was_running = true, .paused_ns = clock_now_ns()};
    return 0;
}

static void on_resume(void *opaque)
{
    FUZZ_CHECK(atomic_exchange(&paused, false) && !atomic_load(&given));
    atomic_fetch_add(&resumes, 1);
}

static int on_save_state(void *opaque, struct buf *out, struct err *e)
{
    return buf_append(out, "the state", 9);
}

static int on_commit(void *opaque, struct err *e)
{
    FUZZ_CHECK(atomic_load(&paused) && !atomic_exchange(&given, true));
    return 0;
}

static int on_reclaim(void *opaque, struct err *e)
{
    FUZZ_CHECK(atomic_exchange(&given, false));
    return 0;
}

static int on_journal(void *opaque, enum godwit_journal what,
                      const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e)
{
    return 0;
}

static void on_finish(void *opaque)
{
    FUZZ_CHECK(atomic_load(&given));
    atomic_fetch_add(&finishes, 1);
}

static const struct godwit_source_ops ops = {
    .manifest = on_manifest,
    .dirty_start = on_dirty_start,
    .dirty_sync = on_dirty_sync,
    .dirty_clear = on_dirty_clear,
    .dirty_stop = on_dirty_stop,
    .next_data = on_next_data,
    .stop = on_stop,
    .resume = on_resume,
    .save_state = on_save_state,
    .commit = on_commit,
    .reclaim = on_reclaim,
    .journal = on_journal,
    .finish = on_finish,
};

/* ---- the destination ------------------------------------------------------------------------ */

static int listener = -1;
static char path[64];

struct villain {
    int fds[CONNECTIONS];
    unsigned n;
    bool verify;
    uint8_t token[NATIVE_TOKEN_SIZE];
    uint8_t *heard; /* on the control channel, not yet looked at */
    size_t len;
};

static void start_once(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    if (listener >= 0)
        return;
    log_set_level(LOG_LEVEL_ERROR + 1); /* unresolved ones are many here */
    fill();
    snprintf(path, sizeof(path), "/tmp/godwit-fuzz-source-%d", (int)getpid());
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&sun, sizeof(sun)) ||
        listen(listener, 64))
        abort();
}

/* Callers of the last script. */
static void send_home(void)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

static bool take_caller(struct villain *v, int ms)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    int fd = poll(&p, 1, ms) == 1 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;

    if (fd < 0)
        return false;
    v->fds[v->n++] = fd;
    return true;
}

/* Until the source has said something of this type, or ends, or a while has passed. */
static void hear(struct villain *v, uint32_t type, int ms)
{
    uint64_t end = clock_now_ns() + (uint64_t)ms * NS_PER_MS;

    while (v->fds[0] >= 0 && clock_now_ns() < end) {
        struct pollfd p = {.fd = v->fds[0], .events = POLLIN};
        struct record_header h;
        uint32_t found = 0;
        ssize_t n;

        while (v->len >= RECORD_HEADER_SIZE && found != type &&
               !record_header_decode(v->heard, HEARD_MAX, &h, NULL) &&
               v->len >= RECORD_HEADER_SIZE + record_padded(h.length)) {
            size_t whole = RECORD_HEADER_SIZE + (size_t)record_padded(h.length);
            struct native_hello hello;

            found = h.type;
            if (h.type == NATIVE_HELLO && !native_hello_decode(v->heard + RECORD_HEADER_SIZE,
                                                               (size_t)h.length - 4, &hello, NULL))
                memcpy(v->token, hello.token, sizeof(v->token));
            memmove(v->heard, v->heard + whole, v->len - whole);
            v->len -= whole;
        }
        if (found == type || poll(&p, 1, ms) != 1)
            return;
        n = recv(v->fds[0], v->heard + v->len, HEARD_MAX - v->len, MSG_DONTWAIT);
        if (n <= 0)
            return;
        v->len += (size_t)n;
    }
}

/* What the source has to say before it listens to such a record. */
static uint32_t due_after(const struct villain *v, uint32_t type)
{
    switch (type) {
    case NATIVE_ACCEPT:
        return NATIVE_MANIFEST;
    case NATIVE_READY:
        return v->verify ? NATIVE_DIGEST : NATIVE_STATE;
    case NATIVE_DIFFERS:
        return NATIVE_DIGEST;
    case NATIVE_RUNNING:
    case NATIVE_NEVER_RAN:
        return NATIVE_COMMIT;
    default:
        return 0;
    }
}

static bool has_token(uint32_t type)
{
    return type == NATIVE_ACCEPT || (type >= NATIVE_READY && type <= NATIVE_QUERY);
}

static void say(struct villain *v, int fd, uint32_t type, const uint8_t *data, size_t len)
{
    uint8_t body[4096];
    struct buf b;

    if (has_token(type) && len >= sizeof(v->token) && len <= sizeof(body)) {
        memcpy(body, data, len);
        memcpy(body, v->token, sizeof(v->token));
        data = body;
    }
    buf_init(&b, 0);
    if (record_append(&b, type, type >= NATIVE_TYPE_END ? RECORD_OPTIONAL : 0, data, len))
        abort();
    (void)!send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_fini(&b);
}

/* false: the script is over. */
static bool play(struct villain *v, const uint8_t **data, size_t *size)
{
    const uint8_t *p = *data;
    unsigned at;
    uint16_t len;

    if (*size < 4)
        return false;
    at = p[0] % CONNECTIONS;
    memcpy(&len, p + 2, sizeof(len));
    if (len > *size - 4)
        len = (uint16_t)(*size - 4);
    while (v->n <= at)
        if (!take_caller(v, v->n <= LANES ? 30 : 100))
            return false;
    if (at == 0 && !(p[0] & 0x20) && due_after(v, p[1]))
        hear(v, due_after(v, p[1]), 60);
    if (v->fds[at] >= 0 && p[0] & 0x80)
        (void)!send(v->fds[at], p + 4, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    else if (v->fds[at] >= 0)
        say(v, v->fds[at], p[1], p + 4, len);
    if (p[0] & 0x10 && v->fds[at] >= 0) {
        close(v->fds[at]);
        v->fds[at] = -1;
    }
    *data += 4 + len;
    *size -= 4 + (size_t)len;
    return true;
}

/* ---- the judgement -------------------------------------------------------------------------- */

static bool is_over(struct godwit_source *s)
{
    struct godwit_stats st;

    godwit_source_stats(s, &st);
    return st.status == GODWIT_COMPLETED || st.status == GODWIT_FAILED ||
           st.status == GODWIT_CANCELED || st.status == GODWIT_UNRESOLVED;
}

static void expect_end(struct godwit_source *s)
{
    uint64_t end = clock_now_ns() + END_NS;
    struct godwit_stats st;
    struct err e;

    while (!is_over(s)) {
        if (clock_now_ns() >= end) {
            godwit_source_stats(s, &st);
            fprintf(stderr, "the source is stuck: %s, %s\n", godwit_status_name(st.status),
                    godwit_stage_name(st.stage));
            abort();
        }
        clock_sleep_ns(100 * NS_PER_US);
    }
    godwit_source_stats(s, &st);
    if (st.status == GODWIT_UNRESOLVED)
        FUZZ_CHECK(!godwit_source_resolve(s, true, &e) || is_over(s));
    godwit_source_free(s);
    if (st.status == GODWIT_COMPLETED)
        FUZZ_CHECK(atomic_load(&given) && atomic_load(&finishes) == 1 && !atomic_load(&resumes));
    else
        FUZZ_CHECK(!atomic_load(&paused) || atomic_load(&finishes) == 1);
    FUZZ_CHECK(is_untouched());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct godwit_region region = {.name = "ram", .size = sizeof(memory), .host = memory};
    struct villain v = {
        .fds = {-1, -1, -1, -1}
    };
    struct godwit_source_config c = {.ops = &ops,
                                     .regions = &region,
                                     .nregions = 1,
                                     .nvcpus = 1,
                                     .params = GODWIT_PARAMS_DEFAULT};
    struct godwit_source *s;
    struct err e = ERR_INIT;
    char uri[96];

    if (size < 1)
        return 0;
    memset(v.fds, -1, sizeof(v.fds));
    start_once();
    send_home();
    snprintf(uri, sizeof(uri), "unix:%s", path);
    c.uri = uri;
    c.params.lanes = LANES;
    c.params.link_timeout_ms = 100;
    c.params.ready_timeout_ms = 100;
    c.params.handover_timeout_ms = 60;
    c.params.network_timeout_ms = data[0] & 1 ? 100 : 0;
    c.params.verify = data[0] & 2;
    c.params.compression = data[0] & 4 ? GODWIT_COMPRESS_LZ4 : GODWIT_COMPRESS_NONE;
    c.params.delta = data[0] & 4;
    atomic_store(&paused, false);
    atomic_store(&given, false);
    atomic_store(&resumes, 0);
    atomic_store(&finishes, 0);
    v.heard = malloc(HEARD_MAX);
    if (!v.heard || godwit_source_start(&c, &s, &e))
        abort();
    data++;
    size--;
    if (take_caller(&v, 2000)) {
        hear(&v, NATIVE_HELLO, 2000);
        while (play(&v, &data, &size))
            ;
        hear(&v, NATIVE_COMMIT, 2);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        if (v.fds[i] >= 0)
            close(v.fds[i]);
    send_home();
    expect_end(s);
    free(v.heard);
    return 0;
}
