/* address_connect: sockets that connect within a bound and can be called off. */
#include "transport/address.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/resolve.h"

#define STAGE         "connect"
#define UNIX_RETRY_MS 5

/* How long to wait, and who may say stop. */
struct bound {
    uint64_t deadline_ns; /* 0: for ever */
    const atomic_bool *cancel;
};

static int bound_check(const struct bound *b)
{
    if (b->cancel && atomic_load(b->cancel))
        return -ECANCELED;
    return b->deadline_ns && clock_now_ns() >= b->deadline_ns ? -ETIMEDOUT : 0;
}

/* Milliseconds to the deadline or to the next look at the flag. */
static int bound_step(const struct bound *b)
{
    uint64_t now = clock_now_ns(), left;

    if (!b->deadline_ns)
        return CANCEL_POLL_MS;
    left = b->deadline_ns > now ? (b->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    return left < CANCEL_POLL_MS ? (int)left : CANCEL_POLL_MS;
}

static int wait_connected(int fd, const struct bound *b)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int ret, n, error = 0;

    for (;;) {
        ret = bound_check(b);
        if (ret)
            return ret;
        n = poll(&p, 1, bound_step(b));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) ? -errno : -error;
    }
}

/* A port nobody listens on may be the very one the kernel picks for our end: TCP then connects the
 * socket to itself. */
static bool is_self(int fd)
{
    struct sockaddr_storage us, them;
    socklen_t us_len = sizeof(us), them_len = sizeof(them);

    memset(&us, 0, sizeof(us));
    memset(&them, 0, sizeof(them));
    return !getsockname(fd, (struct sockaddr *)&us, &us_len) &&
           !getpeername(fd, (struct sockaddr *)&them, &them_len) && us_len == them_len &&
           !memcmp(&us, &them, us_len);
}

/* A connected descriptor or -errno. */
static int tcp_try(const struct addrinfo *ai, const struct bound *b)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret;

    if (fd < 0)
        return -errno;
    ret = connect(fd, ai->ai_addr, ai->ai_addrlen) ? -errno : 0;
    if (ret == -EINPROGRESS || ret == -EINTR)
        ret = wait_connected(fd, b);
    if (!ret && is_self(fd))
        ret = -ECONNREFUSED;
    if (!ret)
        return fd;
    close(fd);
    return ret;
}

/* Every address gets an equal share of the time that is left, so that one that swallows packets
 * does not use up what a later one needs. */
static int tcp_connect(const struct address *a, const struct bound *b, struct err *e)
{
    struct addrinfo *list = NULL, *ai;
    uint64_t n = 0;
    int ret;

    ret = resolve(a, b->deadline_ns, b->cancel, &list, e);
    if (ret)
        return ret;
    for (ai = list; ai; ai = ai->ai_next)
        n++;
    ret = -EHOSTUNREACH;
    for (ai = list; ai; ai = ai->ai_next, n--) {
        struct bound share = *b;
        uint64_t now = clock_now_ns();

        if (b->deadline_ns > now)
            share.deadline_ns = now + (b->deadline_ns - now) / n;
        ret = tcp_try(ai, &share);
        if (ret >= 0 || ret == -ECANCELED)
            break;
    }
    freeaddrinfo(list);
    return ret >= 0 ? ret : err_set_errno(e, ret, STAGE, "host '%s' port %u", a->host, a->port);
}

/* A UNIX socket connects at once or finds the listener's queue full, which cannot be polled for. */
static int unix_connect(const struct address *a, const struct bound *b, struct err *e)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int ret, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set_errno(e, -errno, STAGE, "unix socket");
    memcpy(sun.sun_path, a->path, sizeof(sun.sun_path));
    for (;;) {
        ret = bound_check(b);
        if (ret || !connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
            break;
        ret = -errno;
        if (ret != -EAGAIN && ret != -EINTR)
            break;
        clock_sleep_ns(UNIX_RETRY_MS * NS_PER_MS);
    }
    if (!ret)
        return fd;
    close(fd);
    return err_set_errno(e, ret, STAGE, "unix socket '%s'", a->path);
}

int address_connect(const struct address *a, uint32_t timeout_ms, const atomic_bool *cancel,
                    struct channel **out, struct err *e)
{
    struct bound b = {.cancel = cancel};
    char peer[384];
    int fd;

    if (timeout_ms)
        b.deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
    if (a->kind == ADDRESS_TCP && (!a->host[0] || !a->port))
        return err_set(e, -EINVAL, STAGE, "an address to connect to needs a host and a port");
    if (cancel && atomic_load(cancel))
        return err_set(e, -ECANCELED, STAGE, "canceled");
    fd = a->kind == ADDRESS_UNIX ? unix_connect(a, &b, e) : tcp_connect(a, &b, e);
    if (fd < 0)
        return fd;
    address_format(a, peer, sizeof(peer));
    *out = channel_from_fd(fd, peer);
    return *out ? 0 : err_set_errno(e, -errno, STAGE, "%s", peer);
}
