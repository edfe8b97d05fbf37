#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

#define PATIENCE_MS 20000

static int run_echo(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    *ret = json_incref(json_object_get(args, "value"));
    return 0;
}

static int run_getfd(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    struct rig *r = opaque;

    r->taken_fd = qmp_call_take_fd(call);
    return r->taken_fd < 0 ? err_set(e, -EINVAL, "test", "no descriptor came along") : 0;
}

static int run_nothing(void *opaque, struct qmp_call *call, json_t *args, json_t **ret,
                       struct err *e)
{
    return 0;
}

/* An event out of a command, as stop makes one. */
static int run_stop(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    struct rig *r = opaque;

    qmp_server_event(r->server, "STOP", NULL);
    return 0;
}

static const struct qmp_arg echo_args[] = {
    {"value", QMP_TYPE_ANY, true},
    {0  }
};
static const struct qmp_command commands[] = {
    {"echo",             run_echo,    echo_args},
    {"getfd",            run_getfd,   NULL     },
    {"qmp_capabilities", run_nothing, NULL     },
    {"stop",             run_stop,    NULL     },
};

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void *run_loop(void *arg)
{
    struct rig *r = arg;

    loop_run(r->loop);
    return NULL;
}

void rig_start(struct rig *r, size_t max_message, size_t max_output)
{
    json_t *version = json_pack("{s:{s:i,s:i,s:i},s:s}", "StratoVirt", "micro", 1, "minor", 0,
                                "major", 0, "package", "");
    struct qmp_server_config config = {
        .table = {commands, sizeof(commands) / sizeof(commands[0]), r},
        .version = version,
        .max_message = max_message,
        .max_output = max_output,
    };

    r->fds_before = count_fds();
    r->taken_fd = -1;
    r->loop = config.loop = loop_new();
    assert_non_null(r->loop);
    assert_int_equal(qmp_server_new(&config, &r->server, NULL), 0);
    json_decref(version);
    assert_int_equal(pthread_create(&r->thread, NULL, run_loop, r), 0);
}

void rig_stop(struct rig *r)
{
    loop_quit(r->loop);
    pthread_join(r->thread, NULL);
    qmp_server_free(r->server);
    loop_free(r->loop);
    assert_int_equal(count_fds(), r->fds_before);
}

/* What the test's thread wants done on the loop's. */
struct errand {
    struct rig *rig;
    int fd, ret;
    const char *name;
    json_t *data;
    uint32_t clients;
};

static void adopt_on_loop(void *opaque)
{
    struct errand *x = opaque;

    x->ret = qmp_server_adopt(x->rig->server, x->fd, NULL);
}

static void event_on_loop(void *opaque)
{
    struct errand *x = opaque;

    qmp_server_event(x->rig->server, x->name, x->data);
}

static void clients_on_loop(void *opaque)
{
    struct errand *x = opaque;

    x->clients = qmp_server_clients(x->rig->server);
}

int rig_adopt(struct rig *r, int *client)
{
    struct errand x = {.rig = r};
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    x.fd = pair[0];
    assert_int_equal(loop_call(r->loop, adopt_on_loop, &x), 0);
    if (x.ret) {
        close(pair[0]);
        close(pair[1]);
        return x.ret;
    }
    *client = pair[1];
    return 0;
}

int rig_connect(struct rig *r)
{
    int fd;

    assert_int_equal(rig_adopt(r, &fd), 0);
    client_expect(fd, RIG_GREETING);
    return fd;
}

void rig_event(struct rig *r, const char *name, json_t *data)
{
    struct errand x = {.rig = r, .name = name, .data = data};

    assert_int_equal(loop_call(r->loop, event_on_loop, &x), 0);
}

uint32_t rig_clients(struct rig *r)
{
    struct errand x = {.rig = r};

    assert_int_equal(loop_call(r->loop, clients_on_loop, &x), 0);
    return x.clients;
}

void rig_expect_clients(struct rig *r, uint32_t n)
{
    uint64_t deadline = clock_now_ns() + PATIENCE_MS * NS_PER_MS;

    while (rig_clients(r) != n && clock_now_ns() < deadline)
        clock_sleep_ns(NS_PER_MS);
    assert_int_equal(rig_clients(r), n);
}

void client_send(int fd, const char *text)
{
    size_t len = strlen(text);

    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

const char *client_line(int fd)
{
    static char line[1 << 16];
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (size_t n = 0; n < sizeof(line); n++) {
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        if (recv(fd, line + n, 1, 0) <= 0)
            return NULL;
        if (line[n] != '\n')
            continue;
        assert_true(n > 0 && line[n - 1] == '\r');
        line[n - 1] = '\0';
        return line;
    }
    fail_msg("a line without end");
    return NULL;
}

void client_expect(int fd, const char *line)
{
    const char *got = client_line(fd);

    assert_non_null(got);
    assert_string_equal(got, line);
}

void client_expect_end(int fd)
{
    assert_null(client_line(fd));
}
