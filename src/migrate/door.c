#include "migrate/door.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/bell.h"
#include "migrate/thread.h"
#include "migrate/wait.h"
#include "stream/native/words.h"
#include "transport/tls.h"
#include "wire/record.h"

#define CALLERS_MAX       64
#define HELLO_DEADLINE_NS (5 * NS_PER_S)
#define WRITE_TIMEOUT_MS  1000
#define LEAVE_NS          NS_PER_S
#define HELLO_MAX         272U /* header, and the longest hello of any version, padded */
/* Out of descriptors: look again a little later. */
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)

struct caller {
    struct channel *channel; /* NULL: free */
    bool leaving;            /* it has heard why not, and is waited for only to have read it */
    uint64_t deadline_ns;
    size_t got;
    uint8_t hello[HELLO_MAX];
};

struct door {
    struct door_config config;
    pthread_t thread;
    struct bell bell;
    atomic_bool quit;
    uint64_t next_tick_ns;
    uint64_t accept_ns; /* not before */
    struct caller callers[CALLERS_MAX];
};

void door_refuse(struct channel *c, const struct err *why)
{
    struct buf b;

    buf_init(&b, 0);
    channel_set_timeout(c, WRITE_TIMEOUT_MS);
    if (!native_error_encode(&b, why))
        channel_write(c, b.data, b.len, NULL);
    buf_fini(&b);
    channel_free(c);
}

static void dismiss(struct caller *c)
{
    channel_free(c->channel);
    c->channel = NULL;
}

/* Closing with bytes unread would take back what was said last: they are read until the caller has
 * gone, for a while. */
static void let_leave(struct caller *c)
{
    shutdown(c->channel->fd, SHUT_WR);
    c->leaving = true;
    c->deadline_ns = clock_now_ns() + LEAVE_NS;
}

static void see_off(struct caller *c)
{
    uint8_t waste[4096];
    struct iovec iov = {.iov_base = waste, .iov_len = sizeof(waste)};
    ssize_t n = c->channel->ops->readv(c->channel, &iov, 1);

    if (n <= 0 && n != -EAGAIN)
        dismiss(c);
}

static void say_tls(struct channel *c)
{
    struct err e = ERR_INIT;
    struct buf b;

    err_set(&e, -EPROTONOSUPPORT, "hello",
            "this destination wants TLS: set tls-creds at the source");
    buf_init(&b, 0);
    channel_set_timeout(c, WRITE_TIMEOUT_MS);
    if (!native_error_encode(&b, &e))
        channel_write(c, b.data, b.len, NULL);
    buf_fini(&b);
}

/* A TLS handshake that failed has its alert sent; who talks in the clear is told in the clear. */
static void turn_away(struct caller *c, const struct err *why)
{
    bool plain = channel_tls_is_plain(c->channel);

    log_warn("migrate", "refused %s: %s", c->channel->peer, why->text);
    c->channel = channel_tls_strip(c->channel);
    if (plain)
        say_tls(c->channel);
    let_leave(c);
}

/* It ended, or broke. */
static void give_up(struct caller *c)
{
    struct err why = ERR_INIT;

    if (channel_why(c->channel, &why))
        turn_away(c, &why);
    else
        dismiss(c);
}

/* A whole hello is there. */
static void judge(struct door *d, struct caller *c, const struct record_header *h)
{
    struct channel *channel = c->channel;
    struct native_hello hello;
    struct err e = ERR_INIT;
    size_t len;
    int ret;

    ret = record_check(h, c->hello + RECORD_HEADER_SIZE, &len, &e);
    if (!ret)
        ret = native_hello_decode(c->hello + RECORD_HEADER_SIZE, len, &hello, &e);
    c->channel = NULL;
    if (!ret) {
        channel_set_timeout(channel, WRITE_TIMEOUT_MS);
        d->config.guest(d->config.opaque, channel, &hello);
    } else if (ret == -EPROTONOSUPPORT) {
        log_warn("migrate", "refused %s: %s", channel->peer, e.text);
        door_refuse(channel, &e);
    } else {
        channel_free(channel);
    }
}

/* How much must be there before more can be said: the header, then all. 0: this is no hello. */
static size_t wanted(const struct caller *c, struct record_header *h)
{
    size_t all;

    if (c->got < RECORD_HEADER_SIZE)
        return RECORD_HEADER_SIZE;
    if (record_header_decode(c->hello, native_type_max(NATIVE_HELLO), h, NULL) ||
        h->type != NATIVE_HELLO)
        return 0;
    all = RECORD_HEADER_SIZE + (size_t)record_padded(h->length);
    return all <= HELLO_MAX ? all : 0;
}

static void dismiss_stranger(struct caller *c)
{
    static const uint8_t tls_hello[] = {0x16, 0x03}; /* RFC 8446, 5.1 */

    if (!memcmp(c->hello, tls_hello, sizeof(tls_hello)))
        log_warn("migrate", "refused %s: it speaks TLS, and this destination has no tls-creds",
                 c->channel->peer);
    dismiss(c);
}

static void listen_to(struct door *d, struct caller *c)
{
    struct record_header h = {.type = 0};
    size_t want = wanted(c, &h);
    struct iovec iov = {.iov_base = c->hello + c->got, .iov_len = want - c->got};
    ssize_t n = c->channel->ops->readv(c->channel, &iov, 1);

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        give_up(c);
        return;
    }
    c->got += (size_t)n;
    if (c->got < want)
        return;
    want = wanted(c, &h);
    if (want == 0)
        dismiss_stranger(c);
    else if (c->got == want)
        judge(d, c, &h);
}

/* More than one read: TLS takes in what the descriptor then has no more. */
static void hear(struct door *d, struct caller *c)
{
    if (c->leaving) {
        see_off(c);
        return;
    }
    do
        listen_to(d, c);
    while (c->channel && !c->leaving && c->channel->more);
}

/* A free place, or that of whoever has been silent longest. */
static struct caller *make_room(struct door *d)
{
    struct caller *oldest = &d->callers[0];

    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        if (!d->callers[i].channel)
            return &d->callers[i];
        if (d->callers[i].deadline_ns < oldest->deadline_ns)
            oldest = &d->callers[i];
    }
    dismiss(oldest);
    return oldest;
}

static void let_in(struct door *d)
{
    struct channel *channel;
    struct caller *c;
    int ret = listener_accept(d->config.listener, 0, &channel, NULL);

    if (ret) {
        if (ret != -EAGAIN)
            d->accept_ns = clock_now_ns() + ACCEPT_PAUSE_NS;
        return;
    }
    c = make_room(d);
    c->channel = channel;
    c->leaving = false;
    c->got = 0;
    c->deadline_ns = clock_now_ns() + HELLO_DEADLINE_NS;
}

static void look_at_clock(struct door *d)
{
    uint64_t now = clock_now_ns();

    for (unsigned i = 0; i < CALLERS_MAX; i++)
        if (d->callers[i].channel && now >= d->callers[i].deadline_ns)
            dismiss(&d->callers[i]);
    if (now >= d->next_tick_ns) {
        d->next_tick_ns = now + d->config.tick_ms * NS_PER_MS;
        d->config.tick(d->config.opaque);
    }
    if (now >= d->accept_ns)
        d->accept_ns = 0;
}

static void wait_and_serve(struct door *d)
{
    struct pollfd p[2 + CALLERS_MAX];
    struct caller *who[CALLERS_MAX];
    uint64_t deadline = wait_earlier(d->next_tick_ns, d->accept_ns);
    unsigned n = 0;

    p[0] = (struct pollfd){.fd = d->bell.fd, .events = POLLIN};
    p[1] = (struct pollfd){.fd = d->accept_ns ? -1 : d->config.listener->fd, .events = POLLIN};
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        if (!d->callers[i].channel)
            continue;
        who[n] = &d->callers[i];
        p[2 + n++] = (struct pollfd){.fd = d->callers[i].channel->fd, .events = POLLIN};
        deadline = wait_earlier(deadline, d->callers[i].deadline_ns);
    }
    if (!wait_poll(p, 2 + n, deadline)) {
        if (p[0].revents)
            bell_clear(&d->bell);
        for (unsigned i = 0; i < n; i++)
            if (p[2 + i].revents)
                hear(d, who[i]);
        if (p[1].revents)
            let_in(d);
    }
    look_at_clock(d);
}

static void *door_main(void *arg)
{
    struct door *d = arg;

    while (!atomic_load(&d->quit))
        wait_and_serve(d);
    return NULL;
}

int door_new(const struct door_config *config, struct door **out, struct err *e)
{
    struct door *d = calloc(1, sizeof(*d));
    int ret;

    if (!d)
        return err_set(e, -ENOMEM, "hello", "no memory for the door");
    d->config = *config;
    d->next_tick_ns = clock_now_ns() + config->tick_ms * NS_PER_MS;
    ret = bell_init(&d->bell);
    if (!ret)
        ret = thread_start(&d->thread, "door", door_main, d);
    if (ret) {
        bell_fini(&d->bell);
        free(d);
        return err_set_errno(e, ret, "hello", "starting the door");
    }
    *out = d;
    return 0;
}

void door_free(struct door *d)
{
    if (!d)
        return;
    atomic_store(&d->quit, true);
    bell_ring(&d->bell);
    pthread_join(d->thread, NULL);
    for (unsigned i = 0; i < CALLERS_MAX; i++)
        dismiss(&d->callers[i]);
    bell_fini(&d->bell);
    free(d);
}
