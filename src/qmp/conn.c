#include "qmp/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "qmp/scanner.h"
#include "qmp/server.h"

#define READ_CHUNK    16384
#define CHUNKS_A_TURN 8          /* then the loop's other watches have theirs */
#define QUIET_ABOVE   (1U << 16) /* unread output from which on no more input is taken */

struct qmp_conn {
    struct qmp_conn_config config;
    int fd;
    struct loop_fd *watch;
    uint32_t events;
    struct buf in, out;
    size_t scanned; /* bytes of `in` the scanner has seen */
    struct qmp_scanner scanner;
    int fds[QMP_FDS_MAX];
    size_t nfds;
    bool busy;    /* inside this client's own handler: closing waits */
    bool closing; /* no more input; ends when the output is written */
    bool dead;
};

static void on_ready(void *opaque, uint32_t events);

static void close_fds(struct qmp_conn *c)
{
    while (c->nfds > 0)
        close(c->fds[--c->nfds]);
}

static void flush(struct qmp_conn *c)
{
    size_t done = 0;
    ssize_t n;

    while (done < c->out.len) {
        n = send(c->fd, c->out.data + done, c->out.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            c->dead = true;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    buf_consume(&c->out, done);
}

int qmp_conn_new(const struct qmp_conn_config *config, int fd, struct qmp_conn **out)
{
    struct qmp_conn *c = calloc(1, sizeof(*c));
    int ret;

    if (!c)
        return -ENOMEM;
    c->config = *config;
    c->fd = fd;
    c->events = EPOLLIN;
    c->watch = loop_fd_add(config->loop, fd, c->events, on_ready, c);
    if (!c->watch) {
        ret = -errno;
        free(c);
        return ret;
    }
    /* One chunk more than a message: what is read is looked at before more is read. */
    buf_init(&c->in, config->max_message + READ_CHUNK);
    buf_init(&c->out, config->max_output);
    *out = c;
    return 0;
}

void qmp_conn_free(struct qmp_conn *c)
{
    if (!c->dead)
        flush(c);
    loop_fd_del(c->watch);
    close(c->fd);
    close_fds(c);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

static void kill_conn(struct qmp_conn *c)
{
    c->dead = true;
    if (!c->busy)
        c->config.closed(c->config.opaque, c);
}

/* Output */

/* Input is taken while the output is being read; a finished client only has output left. */
static void update_watch(struct qmp_conn *c)
{
    uint32_t events = c->out.len ? EPOLLOUT : 0;

    if (!c->closing && c->out.len <= QUIET_ABOVE)
        events |= EPOLLIN;
    if (events == c->events)
        return;
    c->events = events;
    if (loop_fd_mod(c->watch, events))
        c->dead = true;
}

static void enqueue(struct qmp_conn *c, const char *line, size_t len)
{
    if (c->dead)
        return;
    flush(c);
    if (buf_append(&c->out, line, len)) {
        log_warn("qmp", "client %llu does not read: dropped with %zu bytes waiting for it",
                 (unsigned long long)c->config.id, c->out.len);
        c->dead = true;
        return;
    }
    flush(c);
}

void qmp_conn_send(struct qmp_conn *c, const char *line, size_t len)
{
    enqueue(c, line, len);
    if (c->busy)
        return;
    if (!c->dead)
        update_watch(c);
    if (c->dead)
        kill_conn(c);
}

static void reply(struct qmp_conn *c, json_t *msg)
{
    char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
    struct buf line;

    buf_init(&line, 0);
    if (!text || buf_printf(&line, "%s\r\n", text)) {
        log_error("qmp", "no memory for an answer: client %llu dropped",
                  (unsigned long long)c->config.id);
        c->dead = true;
    } else {
        enqueue(c, (char *)line.data, line.len);
    }
    buf_fini(&line);
    free(text);
    json_decref(msg);
}

static void reply_error(struct qmp_conn *c, const char *desc)
{
    reply(c, qmp_error_reply(QMP_GENERIC_ERROR, desc, NULL));
}

/* Input */

static void handle_message(struct qmp_conn *c, const uint8_t *text, size_t len)
{
    struct qmp_call call = {.client = c->config.id, .fds = c->fds, .nfds = c->nfds};
    json_error_t je;
    json_t *request = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, &je);
    char desc[sizeof(je.text) + 32];

    if (!request) {
        snprintf(desc, sizeof(desc), "JSON parse error: %s", je.text);
        reply_error(c, desc);
        return;
    }
    reply(c, qmp_execute(c->config.table, request, &call));
    c->nfds = call.nfds;
    json_decref(request);
}

/* Answers the whole messages in the input, until the client should read its answers first. */
static void handle_input(struct qmp_conn *c)
{
    size_t start = 0, used = 0;
    enum qmp_scan found;

    if (c->in.len == 0)
        return;
    while (!c->dead && !c->closing && c->out.len <= QUIET_ABOVE) {
        found =
            qmp_scanner_next(&c->scanner, c->in.data + start, c->scanned, c->in.len - start, &used);
        if (found == QMP_SCAN_MORE)
            c->scanned = used = c->in.len - start;
        if (found == QMP_SCAN_GARBAGE)
            reply_error(c, "JSON parse error: the input up to the next newline is ignored");
        if (found != QMP_SCAN_BLANK && used > c->config.max_message) {
            reply_error(c, "JSON parse error: the message is too large");
            c->closing = true;
        }
        if (found == QMP_SCAN_MORE || c->closing)
            break;
        if (found == QMP_SCAN_VALUE)
            handle_message(c, c->in.data + start, used);
        start += used;
        c->scanned = 0;
    }
    buf_consume(&c->in, start);
}

/* Keeps what fits; a client that passes more descriptors than any command takes is at fault. */
static void take_fds(struct qmp_conn *c, struct msghdr *msg)
{
    struct cmsghdr *m;
    size_t n;
    int fd;

    for (m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
            continue;
        n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            memcpy(&fd, CMSG_DATA(m) + i * sizeof(int), sizeof(fd));
            if (c->nfds < QMP_FDS_MAX)
                c->fds[c->nfds++] = fd;
            else
                close(fd);
        }
    }
}

/* Reads one chunk: 1, 0 when there is none now, or -1 at the end. */
static int read_chunk(struct qmp_conn *c)
{
    union {
        char bytes[CMSG_SPACE(QMP_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_len = READ_CHUNK};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    if (buf_reserve(&c->in, READ_CHUNK))
        return -1;
    iov.iov_base = c->in.data + c->in.len;
    do {
        n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    take_fds(c, &msg);
    c->in.len += (size_t)n;
    return n > 0 ? 1 : -1;
}

static void read_input(struct qmp_conn *c)
{
    int got = 1;

    handle_input(c); /* left over from when the output was full */
    for (int i = 0; i < CHUNKS_A_TURN && got > 0; i++) {
        if (c->dead || c->closing || c->out.len > QUIET_ABOVE)
            return;
        got = read_chunk(c);
        handle_input(c);
        if (qmp_scanner_idle(&c->scanner) && c->in.len == 0)
            close_fds(c);
    }
    /* A client may shut down its side and wait for the answers. */
    if (got < 0 && c->out.len <= QUIET_ABOVE)
        c->closing = true;
}

static void on_ready(void *opaque, uint32_t events)
{
    struct qmp_conn *c = opaque;

    c->busy = true;
    flush(c);
    if (!c->dead && !c->closing && c->out.len <= QUIET_ABOVE)
        read_input(c);
    /* Both directions are shut: nobody reads what is left. */
    if (events & (EPOLLERR | EPOLLHUP) && (c->closing || events & EPOLLERR))
        c->dead = true;
    if (c->closing && c->out.len == 0)
        c->dead = true;
    c->busy = false;
    if (!c->dead)
        update_watch(c);
    if (c->dead)
        kill_conn(c);
}
