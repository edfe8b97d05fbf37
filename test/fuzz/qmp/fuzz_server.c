/* A whole server, and a client that sends the input and reads to the end: whatever it says, the
 * server ends the connection in order after the client has shut down its side. */
#include "fuzz.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qmp/server.h"

struct client {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    const uint8_t *data;
    size_t left;
};

static int run_fd(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    struct qmp_server **server = opaque;

    qmp_server_event(*server, "STOP", NULL);
    return qmp_call_take_fd(call) < 0 ? 0 : -EBUSY;
}

static void on_client(void *opaque, uint32_t events)
{
    struct client *c = opaque;
    char answers[4096];
    ssize_t n;

    n = send(c->fd, c->data, c->left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        c->data += n;
        c->left -= (size_t)n;
    }
    if (c->left == 0) {
        shutdown(c->fd, SHUT_WR);
        loop_fd_mod(c->watch, EPOLLIN);
    }
    /* The server may close with input unread: too large a message. */
    n = recv(c->fd, answers, sizeof(answers), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        loop_quit(c->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct qmp_command command = {"take", run_fd, NULL};
    struct client c = {.loop = loop_new(), .data = data, .left = size};
    struct qmp_server *server = NULL;
    struct qmp_server_config config = {
        .loop = c.loop,
        .table = {&command, 1, &server},
        .version = json_object(),
        .max_message = 256,
        .max_output = 4096
    };
    int pair[2];

    FUZZ_CHECK(c.loop && !qmp_server_new(&config, &server, NULL));
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    FUZZ_CHECK(!qmp_server_adopt(server, pair[0], NULL));
    c.fd = pair[1];
    c.watch = loop_fd_add(c.loop, c.fd, EPOLLIN | EPOLLOUT, on_client, &c);
    FUZZ_CHECK(c.watch && !loop_run(c.loop));
    loop_fd_del(c.watch);
    close(c.fd);
    qmp_server_free(server);
    loop_free(c.loop);
    json_decref(config.version);
    return 0;
}
