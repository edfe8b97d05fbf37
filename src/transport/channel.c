#include "transport/channel.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>

#include "base/clock.h"

#define STAGE "channel"

/* poll() counts milliseconds in an int; longer waits take several. */
#define POLL_MAX_NS (3600 * NS_PER_S)

/* Drops what was moved (and empty pieces) from the front of iov; pieces left. */
static int advance(struct iovec **iov, int n, size_t moved)
{
    while (n > 0 && moved >= (*iov)->iov_len) {
        moved -= (*iov)->iov_len;
        (*iov)++;
        n--;
    }
    if (n > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + moved;
        (*iov)->iov_len -= moved;
    }
    return n;
}

static int describe(struct channel *c, ssize_t ret, const char *verb, uint64_t bytes, struct err *e)
{
    int code = channel_why(c, e);

    if (code)
        return code;
    if (ret == 0 || ret == -EPIPE)
        return err_set(e, -EPIPE, STAGE,
                       "%s %s: the peer closed the connection after %" PRIu64 " bytes", verb,
                       c->peer, bytes);
    if (ret == -ETIMEDOUT)
        return err_set(e, -ETIMEDOUT, STAGE,
                       "%s %s: no byte moved for %u ms, after %" PRIu64 " bytes", verb, c->peer,
                       c->timeout_ms, bytes);
    if (ret == -ECANCELED)
        return err_set(e, -ECANCELED, STAGE, "%s %s: canceled", verb, c->peer);
    return err_set_errno(e, (int)ret, STAGE, "%s %s, after %" PRIu64 " bytes", verb, c->peer,
                         bytes);
}

/* Waits until the channel is ready (or broken: the next call tells how). 0, -ETIMEDOUT, -errno. */
static int wait_ready(struct channel *c, short events)
{
    uint64_t began = clock_now_ns(), deadline = began + c->timeout_ms * NS_PER_MS;
    struct pollfd p = {.fd = c->fd, .events = events};
    int timeout = -1, n;

    for (;;) {
        if (c->timeout_ms) {
            uint64_t now = clock_now_ns();

            if (now >= deadline)
                return -ETIMEDOUT;
            timeout = deadline - now > POLL_MAX_NS
                          ? (int)(POLL_MAX_NS / NS_PER_MS)
                          : (int)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
        }
        n = poll(&p, 1, timeout);
        if (n > 0) {
            c->waited_ns += clock_now_ns() - began;
            return 0;
        }
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

int channel_readv(struct channel *c, struct iovec *iov, int n, struct err *e)
{
    n = advance(&iov, n, 0);
    while (n > 0) {
        ssize_t ret = c->ops->readv(c, iov, n < IOV_MAX ? n : IOV_MAX);

        if (ret == -EAGAIN) {
            ret = wait_ready(c, POLLIN);
            if (!ret)
                continue;
        }
        if (ret <= 0)
            return describe(c, ret, "reading from", c->bytes_in, e);
        c->bytes_in += (uint64_t)ret;
        n = advance(&iov, n, (size_t)ret);
    }
    return 0;
}

int channel_writev(struct channel *c, struct iovec *iov, int n, struct err *e)
{
    n = advance(&iov, n, 0);
    while (n > 0) {
        ssize_t ret = c->ops->writev(c, iov, n < IOV_MAX ? n : IOV_MAX);

        if (ret == -EAGAIN) {
            ret = wait_ready(c, POLLOUT);
            if (!ret)
                continue;
        }
        if (ret < 0)
            return describe(c, ret, "writing to", c->bytes_out, e);
        c->bytes_out += (uint64_t)ret;
        n = advance(&iov, n, (size_t)ret);
    }
    return 0;
}

int channel_read(struct channel *c, void *buf, size_t len, struct err *e)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return channel_readv(c, &iov, 1, e);
}

int channel_write(struct channel *c, const void *buf, size_t len, struct err *e)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};

    return channel_writev(c, &iov, 1, e);
}

int channel_send_fds(struct channel *c, const void *buf, size_t len, const int *fds, unsigned n,
                     struct err *e)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    ssize_t ret = c->ops->send_fds ? -EAGAIN : -ENOTSUP;

    while (ret == -EAGAIN) {
        ret = c->ops->send_fds(c, &iov, 1, fds, n);
        if (ret == -EAGAIN && wait_ready(c, POLLOUT))
            ret = -ETIMEDOUT;
    }
    if (ret == -ENOTSUP)
        return err_set(e, -ENOTSUP, STAGE, "%s: descriptors cannot be sent there", c->peer);
    if (ret < 0)
        return describe(c, ret, "writing to", c->bytes_out, e);
    c->bytes_out += (uint64_t)ret;
    return channel_write(c, (const uint8_t *)buf + ret, len - (size_t)ret, e);
}

unsigned channel_take_fds(struct channel *c, int *fds, unsigned max)
{
    return c->ops->take_fds ? c->ops->take_fds(c, fds, max) : 0;
}

bool channel_is_own(const struct channel *c)
{
    return c->ops->is_own && c->ops->is_own(c);
}

void channel_set_timeout(struct channel *c, uint32_t timeout_ms)
{
    c->timeout_ms = timeout_ms;
    if (c->ops->set_timeout)
        c->ops->set_timeout(c);
}

void channel_shutdown(struct channel *c)
{
    c->ops->shutdown(c);
}

int channel_why(struct channel *c, struct err *e)
{
    return c->ops->why ? c->ops->why(c, e) : 0;
}

void channel_free(struct channel *c)
{
    if (c)
        c->ops->free(c);
}
