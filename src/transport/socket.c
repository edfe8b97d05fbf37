/*
 * Channels over connected stream sockets.  No system call blocks; who finds that nothing can move
 * waits in poll() (channel.c), which shutdown(2) from another thread ends at once: cancelling needs
 * no descriptor of its own, and a wait has an exact bound.
 */
#include "transport/channel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* TCP tunes its buffers itself; a UNIX socket keeps what it was given.  Measured with 64 KiB to 1
 * MiB a write: the default of 208 KiB makes the ends take turns, above 1 MiB what is queued falls
 * out of the cache before it is read; 512 KiB costs the least CPU a byte. */
#define UNIX_BUFFER (512 << 10)

#define KEEPALIVE_PROBES 3

struct socket_channel {
    struct channel base;
    atomic_bool cancelled;
    int fds[CHANNEL_FDS_MAX]; /* came with what was read, not yet taken: the reader's */
    unsigned nfds;
};

static struct socket_channel *to_socket(struct channel *c)
{
    return (struct socket_channel *)c; /* base comes first */
}
_Static_assert(offsetof(struct socket_channel, base) == 0, "to_socket casts");

/* The buffer that descriptors travel in, aligned as its header wants. */
union socket_rights {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

static ssize_t socket_move(struct channel *c, struct msghdr *msg, short events)
{
    struct socket_channel *s = to_socket(c);
    ssize_t moved;

    do {
        if (atomic_load(&s->cancelled))
            return -ECANCELED;
        if (events == POLLIN)
            moved = recvmsg(c->fd, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        else
            moved = sendmsg(c->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (moved < 0)
            moved = -errno;
        /* What shutdown() does to a call in progress looks like the peer's doing otherwise. */
        if (moved <= 0 && atomic_load(&s->cancelled))
            return -ECANCELED;
    } while (moved == -EINTR);
    return moved;
}

static struct msghdr message(const struct iovec *iov, int n)
{
    return (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
}

static ssize_t socket_readv(struct channel *c, const struct iovec *iov, int n)
{
    struct msghdr msg = message(iov, n);

    return socket_move(c, &msg, POLLIN);
}

static ssize_t socket_writev(struct channel *c, const struct iovec *iov, int n)
{
    struct msghdr msg = message(iov, n);

    return socket_move(c, &msg, POLLOUT);
}

/* ---- descriptors over UNIX sockets ---------------------------------------------------------- */

/* Keeps what came as long as there is room. */
static void keep_fds(struct socket_channel *s, struct msghdr *msg)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (s->nfds < CHANNEL_FDS_MAX)
                s->fds[s->nfds++] = fd;
            else
                close(fd);
        }
    }
}

static ssize_t unix_readv(struct channel *c, const struct iovec *iov, int n)
{
    struct msghdr msg = message(iov, n);
    union socket_rights rights;
    ssize_t moved;

    msg.msg_control = &rights;
    msg.msg_controllen = sizeof(rights);
    moved = socket_move(c, &msg, POLLIN);
    if (moved > 0 && msg.msg_controllen)
        keep_fds(to_socket(c), &msg);
    return moved;
}

static ssize_t unix_send_fds(struct channel *c, const struct iovec *iov, int n, const int *fds,
                             unsigned nfds)
{
    struct msghdr msg = message(iov, n);
    union socket_rights rights;

    if (nfds == 0 || nfds > CHANNEL_FDS_MAX)
        return -EINVAL;
    memset(&rights, 0, sizeof(rights));
    msg.msg_control = &rights;
    msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
    rights.header.cmsg_level = SOL_SOCKET;
    rights.header.cmsg_type = SCM_RIGHTS;
    rights.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
    memcpy(CMSG_DATA(&rights.header), fds, nfds * sizeof(int));
    return socket_move(c, &msg, POLLOUT);
}

static unsigned unix_take_fds(struct channel *c, int *fds, unsigned max)
{
    struct socket_channel *s = to_socket(c);
    unsigned n = s->nfds < max ? s->nfds : max;

    if (n)
        memcpy(fds, s->fds, n * sizeof(int));
    while (s->nfds > n)
        close(s->fds[--s->nfds]);
    s->nfds = 0;
    return n;
}

static bool unix_is_own(const struct channel *c)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return !getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.uid == geteuid();
}

static void socket_shutdown(struct channel *c)
{
    struct socket_channel *s = to_socket(c);

    atomic_store(&s->cancelled, true);
    shutdown(c->fd, SHUT_RDWR);
}

static void socket_free(struct channel *c)
{
    unix_take_fds(c, NULL, 0);
    close(c->fd);
    free(c);
}

/* Best effort: a socket that will not take an option still carries bytes. */
static void set_int(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

/* An idle connection to a dead peer breaks after about timeout_ms: one idle span, then probes. */
static void tcp_set_timeout(struct channel *c)
{
    int fd = c->fd;
    uint32_t span = c->timeout_ms / (1000 * (KEEPALIVE_PROBES + 1));

    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, c->timeout_ms > INT32_MAX ? 0 : (int)c->timeout_ms);
    if (!c->timeout_ms)
        return;
    span = span < 1 ? 1 : span > 32767 ? 32767 : span;
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)span);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)span);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static void tcp_prepare(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void unix_prepare(int fd)
{
    int size = UNIX_BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size))) /* needs CAP_NET_ADMIN */
        set_int(fd, SOL_SOCKET, SO_SNDBUF, size); /* up to net.core.wmem_max */
}

static const struct channel_ops tcp_ops = {
    .name = "tcp",
    .readv = socket_readv,
    .writev = socket_writev,
    .set_timeout = tcp_set_timeout,
    .shutdown = socket_shutdown,
    .free = socket_free,
};

static const struct channel_ops unix_ops = {
    .name = "unix",
    .readv = unix_readv,
    .writev = socket_writev,
    .send_fds = unix_send_fds,
    .take_fds = unix_take_fds,
    .is_own = unix_is_own,
    .shutdown = socket_shutdown,
    .free = socket_free,
};

/* Whoever is at the other end passes bytes on, not descriptors. */
static const struct channel_ops relayed_ops = {
    .name = "unix",
    .readv = socket_readv,
    .writev = socket_writev,
    .shutdown = socket_shutdown,
    .free = socket_free,
};

struct channel *channel_from_relay(int fd, const char *peer)
{
    struct channel *c = channel_from_fd(fd, peer);

    if (c)
        c->ops = &relayed_ops;
    return c;
}

struct channel *channel_from_fd(int fd, const char *peer)
{
    struct socket_channel *s = calloc(1, sizeof(*s));
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(name);
    int saved;

    if (!s || getsockname(fd, (struct sockaddr *)&name, &len)) {
        saved = errno;
        free(s);
        close(fd);
        errno = saved;
        return NULL;
    }
    s->base.fd = fd;
    s->base.ops = name.ss_family == AF_UNIX ? &unix_ops : &tcp_ops;
    snprintf(s->base.peer, sizeof(s->base.peer), "%s", peer);
    if (name.ss_family == AF_UNIX)
        unix_prepare(fd);
    else
        tcp_prepare(fd);
    return &s->base;
}
