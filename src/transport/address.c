#include "transport/address.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define STAGE         "address"
#define UNIX_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)
#define ALLOWED                                                                                    \
    "allowed are tcp:HOST:PORT, tcp:[IPV6]:PORT, unix:PATH, fd:NUMBER and "                        \
    "file:PATH"

static int refuse(const char *uri, const char *why, struct err *e)
{
    return err_set(e, -EINVAL, STAGE, "address '%.160s': %s; " ALLOWED, uri, why);
}

static bool parse_port(const char *s, uint16_t *port)
{
    unsigned value = 0;
    size_t len = 0;

    for (; s[len] >= '0' && s[len] <= '9' && len < 6; len++)
        value = value * 10 + (unsigned)(s[len] - '0');
    if (len == 0 || s[len] || value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* What a host name, an IPv4 or (with ':') an IPv6 address may hold; a scope follows '%'. */
static bool host_ok(const char *s, size_t len, bool brackets)
{
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '.' || c == '-' || c == '_' || (brackets && (c == ':' || c == '%'));

        if (!ok)
            return false;
    }
    return true;
}

static int parse_tcp(const char *uri, const char *s, struct address *a, struct err *e)
{
    bool brackets = s[0] == '[';
    const char *host = brackets ? s + 1 : s;
    const char *end = brackets ? strchr(s, ']') : strrchr(s, ':');
    const char *colon = brackets && end ? end + 1 : end;
    size_t len;

    if (!end)
        return refuse(uri, brackets ? "the bracket is not closed" : "the port is missing", e);
    len = (size_t)(end - host);
    if (*colon != ':')
        return refuse(uri, "a port must follow the bracket", e);
    if (!parse_port(colon + 1, &a->port))
        return refuse(uri, "the port must be a number from 0 to 65535", e);
    if (!brackets && memchr(host, ':', len))
        return refuse(uri, "an IPv6 address must stand in brackets", e);
    if (len >= sizeof(a->host))
        return refuse(uri, "the host is longer than 255 characters", e);
    if (!host_ok(host, len, brackets) || (brackets && !memchr(host, ':', len)))
        return refuse(uri, "the host is neither a name nor an address", e);
    a->kind = ADDRESS_TCP;
    memcpy(a->host, host, len);
    return 0;
}

static int parse_unix(const char *uri, const char *s, struct address *a, struct err *e)
{
    size_t len = strlen(s);

    if (len == 0)
        return refuse(uri, "the path is missing", e);
    if (len >= UNIX_PATH_MAX)
        return refuse(uri, "the path is longer than the 107 bytes a socket can have", e);
    a->kind = ADDRESS_UNIX;
    memcpy(a->path, s, len);
    return 0;
}

static int parse_fd(const char *uri, const char *s, struct address *a, struct err *e)
{
    uint16_t fd;

    if (!parse_port(s, &fd) || fd <= STDERR_FILENO)
        return refuse(uri, "the descriptor must be a number from 3 to 65535", e);
    a->kind = ADDRESS_FD;
    a->fd = fd;
    return 0;
}

/* A comma begins the offset; a path may hold others before. */
static int parse_file(const char *uri, const char *s, struct address *a, struct err *e)
{
    const char *comma = strrchr(s, ',');
    size_t len = strlen(s);
    char *end;

    if (comma && !strncmp(comma, ",offset=", 8) && comma[8] >= '0' && comma[8] <= '9') {
        len = (size_t)(comma - s);
        errno = 0;
        a->offset = strtoull(comma + 8, &end, 0);
        if (*end || errno || a->offset > INT64_MAX)
            return refuse(uri, "the offset must be a number of bytes", e);
    }
    if (len == 0)
        return refuse(uri, "the path is missing", e);
    if (len >= sizeof(a->path))
        return refuse(uri, "the path is longer than 319 bytes", e);
    a->kind = ADDRESS_FILE;
    memcpy(a->path, s, len);
    return 0;
}

int address_parse(const char *uri, struct address *a, struct err *e)
{
    memset(a, 0, sizeof(*a));
    if (!strncmp(uri, "tcp:", 4))
        return parse_tcp(uri, uri + 4, a, e);
    if (!strncmp(uri, "unix:", 5))
        return parse_unix(uri, uri + 5, a, e);
    if (!strncmp(uri, "fd:", 3))
        return parse_fd(uri, uri + 3, a, e);
    if (!strncmp(uri, "file:", 5))
        return parse_file(uri, uri + 5, a, e);
    return refuse(uri, "it begins with none of tcp:, unix:, fd: and file:", e);
}

void address_format(const struct address *a, char *out, size_t cap)
{
    bool brackets = strchr(a->host, ':');

    if (a->kind == ADDRESS_UNIX)
        snprintf(out, cap, "unix:%s", a->path);
    else if (a->kind == ADDRESS_FILE && (a->offset || strstr(a->path, ",offset=")))
        snprintf(out, cap, "file:%s,offset=%" PRIu64, a->path, a->offset);
    else if (a->kind == ADDRESS_FILE)
        snprintf(out, cap, "file:%s", a->path);
    else if (a->kind == ADDRESS_FD)
        snprintf(out, cap, "fd:%d", a->fd);
    else
        snprintf(out, cap, "tcp:%s%s%s:%u", brackets ? "[" : "", a->host, brackets ? "]" : "",
                 a->port);
}
