#include "transport/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/mux.h"
#include "transport/resolve.h"
#include "transport/tls.h"

#define STAGE           "listen"
#define BACKLOG         128
#define RESOLVE_TIMEOUT (5 * NS_PER_S)

static int set_flag(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

/* A listening descriptor or -errno. */
static int bind_and_listen(const struct sockaddr *sa, socklen_t len, bool v6only)
{
    int ret = 0, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (sa->sa_family != AF_UNIX)
        ret = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!ret && sa->sa_family == AF_INET6)
        ret = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
    if (!ret && (bind(fd, sa, len) || listen(fd, BACKLOG)))
        ret = -errno;
    if (!ret)
        return fd;
    close(fd);
    return ret;
}

/* Both families on one socket; a host without IPv6 has IPv4 alone. */
static int listen_any(uint16_t port)
{
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = bind_and_listen((struct sockaddr *)&six, sizeof(six), false);

    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
        fd = bind_and_listen((struct sockaddr *)&four, sizeof(four), false);
    return fd;
}

static int listen_host(const struct addrinfo *list)
{
    static const int order[] = {AF_INET, AF_INET6};
    int fd = -EADDRNOTAVAIL;

    for (int i = 0; i < 2; i++) {
        for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
            if (ai->ai_family != order[i])
                continue;
            fd = bind_and_listen(ai->ai_addr, ai->ai_addrlen, true);
            if (fd >= 0)
                return fd;
        }
    }
    return fd;
}

static int learn_port(struct listener *l)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } name;
    socklen_t len = sizeof(name);

    if (getsockname(l->fd, (struct sockaddr *)&name, &len))
        return -errno;
    l->address.port =
        ntohs(name.any.ss_family == AF_INET6 ? name.six.sin6_port : name.four.sin_port);
    return 0;
}

static int tcp_listen(struct listener *l, struct err *e)
{
    const struct address *a = &l->address;
    struct addrinfo *list = NULL;
    int ret;

    if (a->host[0]) {
        ret = resolve(a, clock_now_ns() + RESOLVE_TIMEOUT, NULL, &list, e);
        if (ret)
            return ret;
        l->fd = listen_host(list);
        freeaddrinfo(list);
    } else {
        l->fd = listen_any(a->port);
    }
    ret = l->fd < 0 ? l->fd : learn_port(l);
    return ret ? err_set_errno(e, ret, STAGE, "host '%s' port %u", a->host, a->port) : 0;
}

static struct sockaddr_un unix_name(const struct address *a)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    memcpy(sun.sun_path, a->path, sizeof(sun.sun_path));
    return sun;
}

/* Does anyone still listen there? A full queue is someone too. */
static bool unix_is_stale(const struct address *a)
{
    struct sockaddr_un sun = unix_name(a);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale;

    if (fd < 0)
        return false;
    stale = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int unix_clear_path(const struct address *a, struct err *e)
{
    struct stat st;

    if (lstat(a->path, &st))
        return 0; /* bind tells what is wrong with the path, if anything is */
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, STAGE,
                       "'%s' exists and is not a socket: remove it or choose another path",
                       a->path);
    if (!unix_is_stale(a))
        return err_set(e, -EADDRINUSE, STAGE, "another process listens on '%s'", a->path);
    if (unlink(a->path))
        return err_set_errno(e, -errno, STAGE, "removing the stale socket '%s'", a->path);
    return 0;
}

static int unix_listen(struct listener *l, struct err *e)
{
    struct sockaddr_un sun = unix_name(&l->address);
    struct stat st;
    int ret = unix_clear_path(&l->address, e);

    if (ret)
        return ret;
    l->fd = bind_and_listen((struct sockaddr *)&sun, sizeof(sun), false);
    if (l->fd < 0)
        return err_set_errno(e, l->fd, STAGE, "unix socket '%s'", l->address.path);
    if (!lstat(l->address.path, &st)) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    return 0;
}

static int fd_listen(struct listener *l, struct err *e)
{
    char name[32];
    int ret;

    address_format(&l->address, name, sizeof(name));
    ret = mux_new(l->address.fd, l->address.fd, MUX_TAKES, name, &l->mux, e);
    if (!ret)
        l->fd = mux_fd(l->mux);
    return ret;
}

int listener_open(struct listener *l, const struct address *a, struct err *e)
{
    int ret;

    *l = (struct listener){.fd = -1, .address = *a};
    if (a->kind == ADDRESS_FD)
        return fd_listen(l, e);
    ret = a->kind == ADDRESS_UNIX ? unix_listen(l, e) : tcp_listen(l, e);
    if (ret) {
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
    }
    return ret;
}

/* The caller's address as a URI; a UNIX caller has none but the socket it came through. */
static void describe_peer(const struct listener *l, int fd, char *out, size_t cap)
{
    struct address a = {.kind = ADDRESS_TCP};
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    char port[8];

    if (l->address.kind == ADDRESS_TCP && !getpeername(fd, (struct sockaddr *)&name, &len) &&
        !getnameinfo((struct sockaddr *)&name, len, a.host, sizeof(a.host), port, sizeof(port),
                     NI_NUMERICHOST | NI_NUMERICSERV)) {
        sscanf(port, "%hu", &a.port);
        address_format(&a, out, cap);
    } else {
        address_format(&l->address, out, cap);
    }
}

/* Errors that tell of one caller, who is gone again, and not of the listener (accept(2)). */
static bool is_callers_error(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* A descriptor, -EAGAIN or another -errno. */
static int accept_within(int fd, uint32_t timeout_ms)
{
    uint64_t deadline = clock_now_ns() + timeout_ms * NS_PER_MS, now, left_ms;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int got;

    for (;;) {
        got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (got >= 0)
            return got;
        if (!is_callers_error(errno))
            return -errno;
        now = clock_now_ns();
        if (now >= deadline)
            return -EAGAIN;
        left_ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
        if (poll(&p, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) < 0 && errno != EINTR)
            return -errno;
    }
}

static int accept_socket(struct listener *l, uint32_t timeout_ms, struct channel **out,
                         struct err *e)
{
    int fd = accept_within(l->fd, timeout_ms);
    char name[384], peer[384];

    address_format(&l->address, name, sizeof(name));
    if (fd == -EAGAIN)
        return err_set(e, -EAGAIN, STAGE, "nobody connected to %s within %u ms", name, timeout_ms);
    if (fd < 0)
        return err_set_errno(e, fd, STAGE, "accepting on %s", name);
    describe_peer(l, fd, peer, sizeof(peer));
    *out = channel_from_fd(fd, peer);
    return *out ? 0 : err_set_errno(e, -errno, STAGE, "accepting on %s", name);
}

int listener_accept(struct listener *l, uint32_t timeout_ms, struct channel **out, struct err *e)
{
    struct channel *c;
    int ret = l->mux ? mux_accept(l->mux, timeout_ms, &c, e) : accept_socket(l, timeout_ms, &c, e);

    if (ret)
        return ret;
    if (l->tls)
        return channel_tls_server(c, l->tls, out, e);
    *out = c;
    return 0;
}

void listener_close(struct listener *l)
{
    struct stat st;

    if (l->fd < 0)
        return;
    if (l->mux) {
        mux_free(l->mux);
        l->mux = NULL;
        l->fd = -1;
        return;
    }
    if (l->address.kind == ADDRESS_UNIX && !lstat(l->address.path, &st) && st.st_dev == l->dev &&
        st.st_ino == l->ino)
        unlink(l->address.path);
    close(l->fd);
    l->fd = -1;
}
