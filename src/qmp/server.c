#include "qmp/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "qmp/conn.h"

#define STAGE           "qmp"
#define ACCEPT_RETRY_NS NS_PER_S /* after running out of descriptors */

struct server_listener {
    struct qmp_server *server;
    int fd;
    struct loop_fd *watch;
    struct qmp_address address;
    bool unlink_path;
};

struct qmp_server {
    struct qmp_server_config config;
    struct server_listener listeners[QMP_LISTENERS_MAX];
    size_t nlisteners;
    struct qmp_conn *clients[QMP_CLIENTS_MAX];
    uint32_t nclients;
    uint64_t next_id;
    char *greeting; /* one line */
    struct loop_timer *accept_retry;
};

static char *make_line(json_t *msg)
{
    char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
    struct buf line;

    json_decref(msg);
    buf_init(&line, 0);
    if (text && buf_printf(&line, "%s\r\n", text))
        buf_fini(&line);
    free(text);
    return (char *)line.data;
}

/* Clients */

static void on_closed(void *opaque, struct qmp_conn *c)
{
    struct qmp_server *s = opaque;

    for (uint32_t i = 0; i < s->nclients; i++) {
        if (s->clients[i] != c)
            continue;
        memmove(s->clients + i, s->clients + i + 1, (s->nclients - i - 1) * sizeof(s->clients[0]));
        s->nclients--;
        break;
    }
    qmp_conn_free(c);
}

int qmp_server_adopt(struct qmp_server *s, int fd, struct err *e)
{
    const struct qmp_conn_config config = {
        .loop = s->config.loop,
        .table = &s->config.table,
        .max_message = s->config.max_message,
        .max_output = s->config.max_output,
        .id = s->next_id,
        .closed = on_closed,
        .opaque = s,
    };
    struct qmp_conn *c;
    int ret;

    if (s->nclients >= s->config.max_clients)
        return err_set(e, -EUSERS, STAGE, "%u clients are connected, that is all there may be",
                       s->nclients);
    ret = qmp_conn_new(&config, fd, &c);
    if (ret)
        return err_set_errno(e, ret, STAGE, "cannot serve a new client");
    s->next_id++;
    s->clients[s->nclients++] = c;
    qmp_conn_send(c, s->greeting, strlen(s->greeting));
    return 0;
}

uint32_t qmp_server_clients(const struct qmp_server *s)
{
    return s->nclients;
}

/* Listeners */

static void watch_listeners(struct qmp_server *s, uint32_t events)
{
    for (size_t i = 0; i < s->nlisteners; i++)
        loop_fd_mod(s->listeners[i].watch, events);
}

static void retry_accept(void *opaque)
{
    watch_listeners(opaque, EPOLLIN);
}

static void on_connection(void *opaque, uint32_t events)
{
    struct server_listener *l = opaque;
    struct qmp_server *s = l->server;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct err e = ERR_INIT;
    int one = 1;

    if (fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
            return; /* it went away again */
        log_warn("qmp", "cannot accept a client: %s; trying again in a second", strerror(errno));
        watch_listeners(s, 0);
        loop_timer_set(s->accept_retry, clock_now_ns() + ACCEPT_RETRY_NS);
        return;
    }
    /* Fails on unix sockets, which need it not. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (qmp_server_adopt(s, fd, &e)) {
        log_warn("qmp", "client refused: %s", e.text);
        close(fd);
    }
}

static int add_listener(struct qmp_server *s, int fd, const struct qmp_address *a, struct err *e)
{
    struct server_listener *l = &s->listeners[s->nlisteners];

    *l = (struct server_listener){.server = s, .fd = fd};
    l->watch = loop_fd_add(s->config.loop, fd, EPOLLIN, on_connection, l);
    if (!l->watch)
        return err_set_errno(e, -errno, STAGE, "cannot watch a listening socket");
    if (a) {
        l->address = *a;
        l->unlink_path = a->kind == QMP_ADDRESS_UNIX;
    }
    s->nlisteners++;
    return 0;
}

static int check_room(const struct qmp_server *s, struct err *e)
{
    if (s->nlisteners < QMP_LISTENERS_MAX)
        return 0;
    return err_set(e, -ENOSPC, STAGE, "at most %d QMP sockets can be listened on",
                   QMP_LISTENERS_MAX);
}

int qmp_server_listen(struct qmp_server *s, const struct qmp_address *a, struct err *e)
{
    struct qmp_address bound;
    int fd, ret = check_room(s, e);

    if (ret)
        return ret;
    ret = qmp_address_listen(a, &fd, &bound, e);
    if (ret)
        return ret;
    ret = add_listener(s, fd, &bound, e);
    if (ret) {
        close(fd);
        if (a->kind == QMP_ADDRESS_UNIX)
            unlink(a->path);
    }
    return ret;
}

int qmp_server_listen_fd(struct qmp_server *s, int fd, struct err *e)
{
    int ret = check_room(s, e);

    return ret ? ret : add_listener(s, fd, NULL, e);
}

const struct qmp_address *qmp_server_address(const struct qmp_server *s, size_t i)
{
    return i < s->nlisteners ? &s->listeners[i].address : NULL;
}

/* Events */

void qmp_server_event(struct qmp_server *s, const char *name, json_t *data)
{
    uint64_t now_us = clock_realtime_ns() / NS_PER_US;
    json_t *stamp = json_pack("{s:I,s:I}", "seconds", (json_int_t)(now_us / 1000000),
                              "microseconds", (json_int_t)(now_us % 1000000));
    char *line =
        make_line(json_pack("{s:s,s:o*,s:o}", "event", name, "data", data, "timestamp", stamp));

    if (!line) {
        log_error("qmp", "no memory for event %s: not sent", name);
        return;
    }
    /* Backwards, since a client that is dropped leaves the array. */
    for (uint32_t i = s->nclients; i > 0; i--)
        qmp_conn_send(s->clients[i - 1], line, strlen(line));
    free(line);
}

/* Life */

static void apply_defaults(struct qmp_server_config *c)
{
    if (!c->max_message)
        c->max_message = QMP_MESSAGE_MAX;
    if (!c->max_output)
        c->max_output = QMP_OUTPUT_MAX;
    if (!c->max_clients || c->max_clients > QMP_CLIENTS_MAX)
        c->max_clients = QMP_CLIENTS_MAX;
}

int qmp_server_new(const struct qmp_server_config *config, struct qmp_server **out, struct err *e)
{
    struct qmp_server *s = calloc(1, sizeof(*s));

    if (!s)
        return err_set(e, -ENOMEM, STAGE, "no memory");
    s->config = *config;
    apply_defaults(&s->config);
    s->next_id = 1;
    s->greeting =
        make_line(json_pack("{s:{s:O,s:[]}}", "QMP", "version", config->version, "capabilities"));
    s->accept_retry = loop_timer_new(config->loop, retry_accept, s);
    if (!s->greeting || !s->accept_retry) {
        qmp_server_free(s);
        return err_set(e, -ENOMEM, STAGE, "no memory");
    }
    *out = s;
    return 0;
}

void qmp_server_free(struct qmp_server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->nlisteners; i++) {
        loop_fd_del(s->listeners[i].watch);
        close(s->listeners[i].fd);
        if (s->listeners[i].unlink_path)
            unlink(s->listeners[i].address.path);
    }
    for (uint32_t i = 0; i < s->nclients; i++)
        qmp_conn_free(s->clients[i]);
    loop_timer_free(s->accept_retry);
    free(s->greeting);
    free(s);
}
