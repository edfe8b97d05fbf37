#include "qmp/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "qmp/scanner.h"

#define STAGE       "qmp"
#define ANSWER_MAX  (64U << 20)
#define READ_CHUNK  16384
#define POLL_MAX_MS 3600000

struct qmp_client {
    int fd;
    uint32_t timeout_ms;
    uint64_t last_id;
    struct buf in;
    size_t scanned;
    struct qmp_scanner scanner;
    json_t *greeting;
    json_t *events; /* array, oldest first */
};

static uint64_t deadline_in(uint32_t timeout_ms)
{
    return clock_now_ns() + timeout_ms * NS_PER_MS;
}

static int wait_for(int fd, short what, uint64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = what};
    uint64_t now = clock_now_ns();
    uint64_t left_ms = deadline > now ? (deadline - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    int ret = poll(&p, 1, (int)(left_ms < POLL_MAX_MS ? left_ms : POLL_MAX_MS));

    if (ret < 0)
        return errno == EINTR ? 0 : -errno;
    if (ret == 0)
        return clock_now_ns() >= deadline ? -ETIMEDOUT : 0;
    return 1;
}

static int read_more(struct qmp_client *c, uint64_t deadline, struct err *e)
{
    ssize_t n;
    int ret;

    do {
        ret = wait_for(c->fd, POLLIN, deadline);
    } while (ret == 0);
    if (ret < 0)
        return err_set_errno(e, ret, STAGE, "no answer");
    ret = buf_reserve(&c->in, READ_CHUNK);
    if (ret)
        return err_set(e, ret, STAGE, "the answer is larger than %u MiB", ANSWER_MAX >> 20);
    n = recv(c->fd, c->in.data + c->in.len, READ_CHUNK, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN
                   ? 0
                   : err_set_errno(e, -errno, STAGE, "cannot read the answer");
    if (n == 0)
        return err_set(e, -ECONNRESET, STAGE, "the server closed the connection");
    c->in.len += (size_t)n;
    return 0;
}

static int parse(struct qmp_client *c, size_t len, json_t **msg, struct err *e)
{
    json_error_t je;
    json_t *v = json_loadb((const char *)c->in.data, len, JSON_REJECT_DUPLICATES, &je);

    buf_consume(&c->in, len);
    if (!v)
        return err_set(e, -EPROTO, STAGE, "the server does not speak QMP: %s", je.text);
    if (!json_is_object(v)) {
        json_decref(v);
        return err_set(e, -EPROTO, STAGE, "the server does not speak QMP: no object");
    }
    *msg = v;
    return 0;
}

/* The next message of any kind. */
static int next_message(struct qmp_client *c, uint64_t deadline, json_t **msg, struct err *e)
{
    size_t used;
    int ret = 0;

    while (!ret) {
        switch (qmp_scanner_next(&c->scanner, c->in.data, c->scanned, c->in.len, &used)) {
        case QMP_SCAN_MORE:
            c->scanned = c->in.len;
            ret = read_more(c, deadline, e);
            break;
        case QMP_SCAN_BLANK:
            c->scanned = 0;
            buf_consume(&c->in, used);
            break;
        case QMP_SCAN_VALUE:
            c->scanned = 0;
            return parse(c, used, msg, e);
        case QMP_SCAN_GARBAGE:
            ret = err_set(e, -EPROTO, STAGE, "the server does not speak QMP: no JSON");
            break;
        }
    }
    return ret;
}

static int keep_event(struct qmp_client *c, json_t *event)
{
    if (json_array_size(c->events) >= QMP_CLIENT_EVENTS_MAX)
        json_array_remove(c->events, 0);
    return json_array_append_new(c->events, event) ? -ENOMEM : 0;
}

/* Sends all of it; the descriptor goes with the first byte. */
static int send_text(struct qmp_client *c, const char *text, int fd, uint64_t deadline)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {
        .header = {
                   .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}
    };
    struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;
    int ret;

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
    }
    while (iov.iov_len > 0) {
        ret = wait_for(c->fd, POLLOUT, deadline);
        if (ret < 0)
            return ret;
        n = ret ? sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (n <= 0)
            continue;
        iov.iov_base = (char *)iov.iov_base + n;
        iov.iov_len -= (size_t)n;
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
    return 0;
}

static int take_answer(json_t *msg, const char *name, json_t **ret, struct err *e)
{
    json_t *error = json_object_get(msg, "error");
    json_t *value = json_object_get(msg, "return");
    const char *class = json_string_value(json_object_get(error, "class"));
    const char *desc = json_string_value(json_object_get(error, "desc"));

    if (error)
        return err_set(e, -EREMOTEIO, class ? class : STAGE, "%s", desc ? desc : "no reason given");
    if (!value)
        return err_set(e, -EPROTO, STAGE, "the answer to %s has neither return nor error", name);
    if (ret)
        *ret = json_incref(value);
    return 0;
}

/* Reads up to the answer with our id; answers to nothing we asked are a broken server's. */
static int await_answer(struct qmp_client *c, const char *name, uint64_t deadline, json_t **ret,
                        struct err *e)
{
    json_t *msg;
    int err;

    for (;;) {
        err = next_message(c, deadline, &msg, e);
        if (err)
            return err_prefix(e, "%s", name);
        if (!json_object_get(msg, "event"))
            break;
        if (keep_event(c, msg))
            return err_set(e, -ENOMEM, STAGE, "no memory");
    }
    if ((uint64_t)json_integer_value(json_object_get(msg, "id")) == c->last_id)
        err = take_answer(msg, name, ret, e);
    else
        err = err_set(e, -EPROTO, STAGE, "the answer to %s has another command's id", name);
    json_decref(msg);
    return err;
}

int qmp_client_command(struct qmp_client *c, const char *name, json_t *args, int fd, json_t **ret,
                       struct err *e)
{
    uint64_t deadline = deadline_in(c->timeout_ms);
    json_t *msg = json_pack("{s:s,s:o*,s:I}", "execute", name, "arguments", args, "id",
                            (json_int_t)++c->last_id);
    char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
    int err;

    json_decref(msg);
    if (!text)
        return err_set(e, -ENOMEM, STAGE, "no memory");
    err = send_text(c, text, fd, deadline);
    free(text);
    if (err)
        return err_set_errno(e, err, STAGE, "cannot send %s", name);
    return await_answer(c, name, deadline, ret, e);
}

int qmp_client_event(struct qmp_client *c, uint32_t timeout_ms, json_t **event, struct err *e)
{
    uint64_t deadline = deadline_in(timeout_ms);
    int ret;

    if (json_array_size(c->events) > 0) {
        *event = json_incref(json_array_get(c->events, 0));
        json_array_remove(c->events, 0);
        return 0;
    }
    ret = next_message(c, deadline, event, e);
    if (ret)
        return err_prefix(e, "waiting for an event");
    if (json_object_get(*event, "event"))
        return 0;
    json_decref(*event);
    return err_set(e, -EPROTO, STAGE, "an answer came to no command");
}

const json_t *qmp_client_greeting(const struct qmp_client *c)
{
    return c->greeting;
}

static int greet(struct qmp_client *c, struct err *e)
{
    int ret = next_message(c, deadline_in(c->timeout_ms), &c->greeting, e);

    if (ret)
        return err_prefix(e, "greeting");
    if (!json_object_get(c->greeting, "QMP"))
        return err_set(e, -EPROTO, STAGE, "the greeting is not QMP's");
    return qmp_client_command(c, "qmp_capabilities", NULL, -1, NULL, e);
}

int qmp_client_adopt(int fd, uint32_t timeout_ms, struct qmp_client **out, struct err *e)
{
    struct qmp_client *c = calloc(1, sizeof(*c));
    int ret;

    if (!c)
        return err_set(e, -ENOMEM, STAGE, "no memory");
    c->fd = fd;
    c->timeout_ms = timeout_ms;
    buf_init(&c->in, ANSWER_MAX);
    c->events = json_array();
    ret = c->events ? greet(c, e) : err_set(e, -ENOMEM, STAGE, "no memory");
    if (ret) {
        c->fd = -1;
        qmp_client_free(c);
        return ret;
    }
    *out = c;
    return 0;
}

int qmp_client_connect(const struct qmp_address *a, uint32_t timeout_ms, struct qmp_client **out,
                       struct err *e)
{
    int fd, ret = qmp_address_connect(a, &fd, e);

    if (ret)
        return ret;
    ret = qmp_client_adopt(fd, timeout_ms, out, e);
    if (ret)
        close(fd);
    return ret;
}

void qmp_client_free(struct qmp_client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    buf_fini(&c->in);
    json_decref(c->greeting);
    json_decref(c->events);
    free(c);
}
