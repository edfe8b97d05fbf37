#include "migrate/link.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/wait.h"
#include "stream/native/native.h"
#include "stream/native/words.h"

#define STAGE          "link"
#define ASKS_PER_LIMIT 4

void link_init(struct link *l, const struct bell *bell, const atomic_bool *stop,
               atomic_uint_fast64_t *transferred, bool asks)
{
    *l = (struct link){.bell = bell, .stop = stop, .transferred = transferred, .asks = asks};
    pthread_mutex_init(&l->write, NULL);
    buf_init(&l->body, 0);
}

void link_fini(struct link *l)
{
    link_drop(l);
    buf_fini(&l->body);
    pthread_mutex_destroy(&l->write);
}

void link_attach(struct link *l, struct channel *c, uint32_t timeout_ms)
{
    link_drop(l);
    l->channel = c;
    l->timeout_ms = timeout_ms;
    l->broken = false;
    l->send_by_ns = 0;
    l->got = 0;
    l->garbled = false;
    l->asked_ns = clock_now_ns();
    link_touch(l);
}

void link_drop(struct link *l)
{
    channel_free(l->channel);
    l->channel = NULL;
}

void link_touch(struct link *l)
{
    l->heard_ns = clock_now_ns();
    l->asking = false;
}

void link_keep_body(struct link *l, struct buf *out)
{
    *out = l->body;
    buf_init(&l->body, 0);
}

static void count(struct link *l, size_t n)
{
    if (l->transferred)
        atomic_fetch_add(l->transferred, n);
}

static bool stopped(const struct link *l)
{
    return l->stop && atomic_load(l->stop);
}

/* ---- out ------------------------------------------------------------------------------------ */

/* Waits until a write can go on; the bell counts only when it means the end. */
static int wait_writable(struct link *l, uint64_t deadline)
{
    struct pollfd p[2] = {
        {.fd = l->channel->fd, .events = POLLOUT},
        {.fd = l->bell->fd,    .events = POLLIN }
    };

    for (;;) {
        if (stopped(l))
            return -ECANCELED;
        if (wait_poll(p, 2, deadline))
            return -ETIMEDOUT;
        if (p[0].revents)
            return 0;
        bell_clear(l->bell);
        atomic_store(&l->rung, true); /* it may be link_wait itself that answers or asks here */
    }
}

static int broken_write(struct link *l, ssize_t n, struct err *e)
{
    int ret = channel_why(l->channel, e);

    return ret ? ret : err_set_errno(e, (int)n, STAGE, "writing to %s", l->channel->peer);
}

static int write_all(struct link *l, const uint8_t *data, size_t len, struct err *e)
{
    while (len > 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
        ssize_t n = l->channel->ops->writev(l->channel, &iov, 1);

        if (n == -EAGAIN) {
            uint64_t limit = l->timeout_ms ? clock_now_ns() + l->timeout_ms * NS_PER_MS : 0;

            n = wait_writable(l, wait_earlier(limit, l->send_by_ns));
            if (n == 0)
                continue;
        }
        if (n < 0)
            return broken_write(l, n, e);
        count(l, (size_t)n);
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int link_send(struct link *l, const struct buf *b, struct err *e)
{
    int ret;

    pthread_mutex_lock(&l->write);
    if (l->broken || !l->channel)
        ret = err_set(e, -EPIPE, STAGE, "the link is broken");
    else
        ret = write_all(l, b->data, b->len, e);
    if (ret)
        l->broken = true;
    pthread_mutex_unlock(&l->write);
    return ret;
}

int link_post(struct link *l, struct buf *b, int encode_ret, struct err *e)
{
    int ret =
        encode_ret ? err_set_errno(e, encode_ret, STAGE, "building a record") : link_send(l, b, e);

    buf_fini(b);
    return ret;
}

static int send_ping(struct link *l, enum native_type type, uint64_t stamp, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_ping_encode(&b, type, stamp);
    return link_post(l, &b, ret, e);
}

int link_ping(struct link *l, struct err *e)
{
    if (!l->asking) {
        l->asked_ns = clock_now_ns();
        l->asking = true;
    }
    return send_ping(l, NATIVE_PING, clock_now_ns(), e);
}

void link_nudge(struct link *l)
{
    struct pollfd p = {.fd = l->channel->fd, .events = POLLOUT};

    /* A socket with room for anything has room for these few bytes: this does not wait. */
    if (poll(&p, 1, 0) == 1 && p.revents == POLLOUT)
        send_ping(l, NATIVE_PONG, 0, NULL);
}

/* ---- in ------------------------------------------------------------------------------------- */

static int broken_off(struct link *l, ssize_t n, struct err *e)
{
    int ret = channel_why(l->channel, e);

    if (ret)
        return ret;
    if (n == 0 || n == -EPIPE)
        return err_set(e, -EPIPE, STAGE, "%s closed the connection", l->channel->peer);
    return err_set_errno(e, (int)n, STAGE, "reading from %s", l->channel->peer);
}

/* Reads what is there towards `want` bytes of the record. 1: all there, 0: not yet, -errno. */
static int read_towards(struct link *l, uint8_t *at, size_t want, struct err *e)
{
    struct iovec iov = {.iov_base = at, .iov_len = want - l->got};
    ssize_t n;

    if (l->got == want)
        return 1;
    n = l->channel->ops->readv(l->channel, &iov, 1);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0)
        return broken_off(l, n, e);
    count(l, (size_t)n);
    l->got += (size_t)n;
    l->heard_ns = clock_now_ns();
    return l->got == want;
}

/* What a destination says is never longer: who asks is made to hold no more than that. */
#define ANSWER_MAX (1U << 20)

static size_t longest(const struct link *l)
{
    size_t max = native_type_max(l->header.type);

    return l->asks && max > ANSWER_MAX ? ANSWER_MAX : max;
}

static int begin_body(struct link *l, struct err *e)
{
    uint64_t padded;
    int ret;

    ret = record_header_decode(l->head, UINT32_MAX, &l->header, e);
    if (ret)
        return ret;
    if (l->header.length > longest(l))
        return err_set(e, -EPROTO, STAGE, "a %s record of %llu bytes is longer than any may be",
                       native_type_name(l->header.type), (unsigned long long)l->header.length);
    padded = record_padded(l->header.length);
    l->body.len = 0;
    l->body.max = native_type_max(NATIVE_STATE);
    if (buf_reserve(&l->body, (size_t)padded + 1))
        return err_set(e, -ENOMEM, STAGE, "no memory for a record of %llu bytes",
                       (unsigned long long)padded);
    return 0;
}

/* 1: a whole record is there, 0: not yet. */
static int read_record(struct link *l, struct err *e)
{
    int ret;

    if (l->garbled)
        return err_set(e, -EPROTO, STAGE, "nothing that %s says can be understood any more",
                       l->channel->peer);
    if (l->got < RECORD_HEADER_SIZE) {
        ret = read_towards(l, l->head + l->got, RECORD_HEADER_SIZE, e);
        if (ret <= 0)
            return ret;
        ret = begin_body(l, e);
        l->garbled = ret;
        if (ret)
            return ret;
    }
    return read_towards(l, l->body.data + (l->got - RECORD_HEADER_SIZE),
                        RECORD_HEADER_SIZE + (size_t)record_padded(l->header.length), e);
}

static int hear_ping(struct link *l, const struct link_record *rec, struct err *e)
{
    uint64_t stamp, now = clock_now_ns();
    int ret = native_ping_decode(rec->body, rec->len, &stamp, e);

    if (ret)
        return ret;
    if (rec->type == NATIVE_PING) {
        ret = send_ping(l, NATIVE_PONG, stamp, e);
        /* It may have gone, but not without a last word. */
        return ret && link_has_input(l) ? 0 : ret;
    }
    l->asking = false;
    if (stamp && stamp < now && (!l->rtt_ns || now - stamp < l->rtt_ns))
        l->rtt_ns = now - stamp;
    return 0;
}

/* 1: for the caller, 0: dealt with here. */
static int take_record(struct link *l, struct link_record *rec, struct err *e)
{
    int ret;

    l->got = 0;
    rec->type = l->header.type;
    rec->body = l->body.data;
    if (!native_type_known(rec->type)) {
        if (l->header.flags & RECORD_OPTIONAL)
            return record_check_unknown(&l->header, l->body.data, e);
        return err_set(e, -EPROTO, STAGE, "unknown record type 0x%x from %s", rec->type,
                       l->channel->peer);
    }
    ret = record_check(&l->header, l->body.data, &rec->len, e);
    if (ret)
        return ret;
    if (rec->type == NATIVE_PING || rec->type == NATIVE_PONG)
        return hear_ping(l, rec, e);
    return 1;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static uint64_t limit_ns(const struct link *l)
{
    return l->timeout_ms * NS_PER_MS;
}

/* When the keep-alive wants something next; 0: never. */
static uint64_t duty_ns(const struct link *l)
{
    if (!l->timeout_ms)
        return 0;
    if (!l->asks)
        return l->heard_ns + limit_ns(l);
    return l->asked_ns + (l->asking ? limit_ns(l) : limit_ns(l) / ASKS_PER_LIMIT);
}

static int do_duty(struct link *l, struct err *e)
{
    if (duty_ns(l) == 0 || clock_now_ns() < duty_ns(l))
        return 0;
    if (l->asks && !l->asking)
        return link_ping(l, e);
    return err_set(e, -ETIMEDOUT, STAGE, "%s has been silent for %u ms (link-timeout)",
                   l->channel->peer, l->timeout_ms);
}

/* Waits for the link or the bell; bytes may be there that the descriptor does not know of. */
static int wait_either(struct link *l, struct pollfd *p, uint64_t deadline)
{
    if (!l->channel->more)
        return wait_poll(p, 2, deadline);
    poll(p, 2, 0);
    return 0;
}

int link_wait(struct link *l, uint64_t deadline_ns, struct link_record *rec, struct err *e)
{
    struct pollfd p[2] = {
        {.fd = l->channel->fd, .events = POLLIN},
        {.fd = l->bell->fd,    .events = POLLIN}
    };
    int ret;

    for (;;) {
        if (stopped(l))
            return err_set(e, -ECANCELED, STAGE, "canceled");
        if (atomic_exchange(&l->rung, false))
            return 0;
        ret = wait_either(l, p, wait_earlier(deadline_ns, duty_ns(l)));
        if (!ret && p[1].revents) {
            bell_clear(l->bell);
            return 0;
        }
        if (!ret) {
            ret = read_record(l, e);
            if (ret > 0)
                ret = take_record(l, rec, e);
            if (ret)
                return ret;
        }
        if (deadline_ns && clock_now_ns() >= deadline_ns) /* also of a peer that never pauses */
            return -ETIME;
        ret = do_duty(l, e);
        if (ret)
            return ret;
    }
}

bool link_has_input(const struct link *l)
{
    struct pollfd p = {.fd = l->channel ? l->channel->fd : -1, .events = POLLIN};

    return (l->channel && l->channel->more) || poll(&p, 1, 0) == 1;
}

bool link_is_cut(int code, const struct err *e)
{
    static const char *const stages[] = {STAGE, "channel", "connect", "tls"};

    if (code == -EPROTO || code == -ENOMEM || code == -ECANCELED || code == -EINVAL ||
        code == -EMSGSIZE || code == -EBADMSG)
        return false;
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (!strcmp(e->stage, stages[i]))
            return true;
    return false;
}

void link_farewell(struct link *l, uint32_t patience_ms)
{
    uint64_t deadline = clock_now_ns() + patience_ms * NS_PER_MS;
    struct pollfd p = {.fd = l->channel ? l->channel->fd : -1, .events = POLLIN};
    uint8_t waste[4096];
    struct iovec iov = {.iov_base = waste, .iov_len = sizeof(waste)};

    while (l->channel && (l->channel->more || !wait_poll(&p, 1, deadline))) {
        ssize_t n = l->channel->ops->readv(l->channel, &iov, 1);

        if (n <= 0 && n != -EAGAIN)
            break;
        if (clock_now_ns() >= deadline)
            break;
    }
}
