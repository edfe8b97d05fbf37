#include "qmp/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STAGE   "qmp"
#define ALLOWED "allowed: unix:PATH, or tcp:HOST:PORT with a loopback HOST"
#define BACKLOG 16

union any_addr {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
};

static int parse_unix(const char *path, struct qmp_address *a, struct err *e)
{
    if (!path[0])
        return err_set(e, -EINVAL, STAGE, "the path in \"unix:\" is empty (%s)", ALLOWED);
    if (strlen(path) >= sizeof(a->path))
        return err_set(e, -EINVAL, STAGE,
                       "\"%s\" is too long: a unix socket's path has at most %zu bytes", path,
                       sizeof(a->path) - 1);
    a->kind = QMP_ADDRESS_UNIX;
    snprintf(a->path, sizeof(a->path), "%s", path);
    return 0;
}

static bool is_loopback(const char *host)
{
    struct in_addr in4;
    struct in6_addr in6;

    if (inet_pton(AF_INET, host, &in4) == 1)
        return (ntohl(in4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}

static int parse_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long v;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    v = strtoul(text, &end, 10);
    if (*end || errno || v > UINT16_MAX)
        return -EINVAL;
    *port = (uint16_t)v;
    return 0;
}

/* HOST:PORT, the last colon parts them; an IPv6 host may stand in brackets. */
static int parse_tcp(const char *text, struct qmp_address *a, struct err *e)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t len;

    if (!colon || parse_port(colon + 1, &a->port))
        return err_set(e, -EINVAL, STAGE, "\"tcp:%s\" has no port from 0 to 65535 (%s)", text,
                       ALLOWED);
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        host++;
        len -= 2;
    }
    a->kind = QMP_ADDRESS_TCP;
    if (len < sizeof(a->host))
        snprintf(a->host, sizeof(a->host), "%.*s", (int)len, host);
    if (!strcmp(a->host, "localhost"))
        strcpy(a->host, "127.0.0.1");
    if (!is_loopback(a->host))
        return err_set(e, -EINVAL, STAGE,
                       "\"%.*s\" is not a loopback address: QMP is equal to a shell and has no "
                       "password (allowed: 127.0.0.1, [::1], localhost)",
                       (int)len, host);
    return 0;
}

int qmp_address_parse(const char *text, struct qmp_address *a, struct err *e)
{
    memset(a, 0, sizeof(*a));
    if (!strncmp(text, "unix:", 5))
        return parse_unix(text + 5, a, e);
    if (!strncmp(text, "tcp:", 4))
        return parse_tcp(text + 4, a, e);
    return err_set(e, -EINVAL, STAGE, "\"%s\" is not an address of a QMP socket (%s)", text,
                   ALLOWED);
}

static socklen_t to_sockaddr(const struct qmp_address *a, union any_addr *s)
{
    memset(s, 0, sizeof(*s));
    if (a->kind == QMP_ADDRESS_UNIX) {
        s->un.sun_family = AF_UNIX;
        memcpy(s->un.sun_path, a->path, sizeof(s->un.sun_path));
        return sizeof(s->un);
    }
    if (inet_pton(AF_INET, a->host, &s->in4.sin_addr) == 1) {
        s->in4.sin_family = AF_INET;
        s->in4.sin_port = htons(a->port);
        return sizeof(s->in4);
    }
    inet_pton(AF_INET6, a->host, &s->in6.sin6_addr);
    s->in6.sin6_family = AF_INET6;
    s->in6.sin6_port = htons(a->port);
    return sizeof(s->in6);
}

static const char *label(const struct qmp_address *a)
{
    return a->kind == QMP_ADDRESS_UNIX ? a->path : a->host;
}

int qmp_address_connect(const struct qmp_address *a, int *out, struct err *e)
{
    union any_addr s;
    socklen_t len = to_sockaddr(a, &s);
    int fd = socket(s.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ret;

    if (fd < 0)
        return err_set_errno(e, -errno, STAGE, "no socket for %s", label(a));
    do {
        ret = connect(fd, &s.any, len) ? -errno : 0;
    } while (ret == -EINTR);
    if (ret) {
        close(fd);
        return err_set_errno(e, ret, STAGE, "cannot connect to %s", label(a));
    }
    *out = fd;
    return 0;
}

/* Makes way for a new socket at a path: only a socket nobody listens on is removed. */
static int clear_stale(const struct qmp_address *a, struct err *e)
{
    struct stat st;
    int fd, ret;

    if (lstat(a->path, &st))
        return errno == ENOENT ? 0 : err_set_errno(e, -errno, STAGE, "cannot look at %s", a->path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, -EADDRINUSE, STAGE,
                       "%s exists and is no socket; remove it or choose another path", a->path);
    ret = qmp_address_connect(a, &fd, NULL);
    if (!ret) {
        close(fd);
        return err_set(e, -EADDRINUSE, STAGE,
                       "%s is in use: another process listens on it; choose another path", a->path);
    }
    if (ret != -ECONNREFUSED)
        return err_set_errno(e, ret, STAGE, "%s exists and cannot be tried", a->path);
    if (unlink(a->path) && errno != ENOENT)
        return err_set_errno(e, -errno, STAGE, "cannot remove the stale socket %s", a->path);
    return 0;
}

/* Between bind and listen nobody can connect, so that the mode is in force for everyone. */
static int bind_and_listen(int fd, const struct qmp_address *a)
{
    union any_addr s;
    socklen_t len = to_sockaddr(a, &s);
    int one = 1;

    if (a->kind == QMP_ADDRESS_TCP && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
        return -errno;
    if (bind(fd, &s.any, len))
        return -errno;
    if (a->kind == QMP_ADDRESS_UNIX && chmod(a->path, 0600))
        return -errno;
    return listen(fd, BACKLOG) ? -errno : 0;
}

static void learn_port(int fd, struct qmp_address *bound)
{
    union any_addr s;
    socklen_t len = sizeof(s);

    if (bound->kind != QMP_ADDRESS_TCP || getsockname(fd, &s.any, &len))
        return;
    bound->port = ntohs(s.any.sa_family == AF_INET ? s.in4.sin_port : s.in6.sin6_port);
}

int qmp_address_listen(const struct qmp_address *a, int *out, struct qmp_address *bound,
                       struct err *e)
{
    int family = a->kind == QMP_ADDRESS_UNIX ? AF_UNIX : strchr(a->host, ':') ? AF_INET6 : AF_INET;
    int fd, ret;

    if (a->kind == QMP_ADDRESS_UNIX) {
        ret = clear_stale(a, e);
        if (ret)
            return ret;
    }
    fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(e, -errno, STAGE, "no socket for %s", label(a));
    ret = bind_and_listen(fd, a);
    if (ret) {
        close(fd);
        return err_set_errno(e, ret, STAGE, "cannot listen on %s", label(a));
    }
    if (bound) {
        *bound = *a;
        learn_port(fd, bound);
    }
    *out = fd;
    return 0;
}
