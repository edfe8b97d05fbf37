/* Channels over a UNIX pair and over TCP on loopback: every test runs on both. */
#include "transport/channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

struct fixture {
    bool tcp;
    int fd[2];
    struct channel *c[2];
};

static int tcp_pair(int fd[2])
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int ret, listener = socket(AF_INET, SOCK_STREAM, 0);

    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    ret = bind(listener, (struct sockaddr *)&sin, sizeof(sin)) || listen(listener, 1) ||
          getsockname(listener, (struct sockaddr *)&sin, &len) ||
          connect(fd[0], (struct sockaddr *)&sin, sizeof(sin));
    fd[1] = accept(listener, NULL, NULL);
    close(listener);
    return ret || fd[1] < 0;
}

static int setup(void **state, bool tcp)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->tcp = tcp;
    *state = f;
    if (tcp ? tcp_pair(f->fd) : socketpair(AF_UNIX, SOCK_STREAM, 0, f->fd))
        return -1;
    for (int i = 0; i < 2; i++) {
        f->c[i] = channel_from_fd(f->fd[i], i ? "right" : "left");
        channel_set_timeout(f->c[i], 10000);
    }
    return 0;
}

static int setup_unix(void **state)
{
    return setup(state, false);
}

static int setup_tcp(void **state)
{
    return setup(state, true);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    channel_free(f->c[0]);
    channel_free(f->c[1]);
    free(f);
    return 0;
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static void the_transport_is_named(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(f->c[0]->ops->name, f->tcp ? "tcp" : "unix");
    assert_string_equal(f->c[0]->peer, "left");
}

#define BIG    (8U << 20)
#define PIECES 3000 /* more than one system call takes (IOV_MAX) */

static void *write_in_pieces(void *opaque)
{
    struct fixture *f = opaque;
    struct iovec *iov = calloc(PIECES, sizeof(*iov));
    uint8_t *data = malloc(BIG);
    size_t at = 0;

    for (size_t i = 0; i < BIG; i++)
        data[i] = pattern(i);
    for (size_t i = 0; i < PIECES; i++) {
        /* pieces of very different lengths, some of them empty */
        size_t len = i == PIECES - 1 ? BIG - at : i % 5 * (i % 997);

        iov[i] = (struct iovec){.iov_base = data + at, .iov_len = len};
        at += len;
    }
    assert_int_equal(channel_writev(f->c[0], iov, PIECES, NULL), 0);
    assert_int_equal(f->c[0]->bytes_out, BIG);
    free(iov);
    free(data);
    return NULL;
}

static void much_arrives_whole_and_in_order(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = calloc(1, BIG);
    struct iovec iov[3] = {
        {.iov_base = data,     .iov_len = 1          },
        {.iov_base = NULL,     .iov_len = 0          },
        {.iov_base = data + 1, .iov_len = BIG / 2 - 1}
    };
    pthread_t thread;

    pthread_create(&thread, NULL, write_in_pieces, f);
    assert_int_equal(channel_readv(f->c[1], iov, 3, NULL), 0);
    assert_int_equal(channel_read(f->c[1], data + BIG / 2, BIG / 2, NULL), 0);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < BIG; i++)
        if (data[i] != pattern(i))
            fail_msg("byte %zu is wrong", i);
    assert_int_equal(f->c[1]->bytes_in, BIG);
    free(data);
}

static void nothing_is_nothing(void **state)
{
    struct fixture *f = *state;
    struct iovec iov[2] = {{.iov_len = 0}, {.iov_len = 0}};

    assert_int_equal(channel_read(f->c[0], NULL, 0, NULL), 0);
    assert_int_equal(channel_write(f->c[0], NULL, 0, NULL), 0);
    assert_int_equal(channel_readv(f->c[0], iov, 2, NULL), 0);
    assert_int_equal(channel_writev(f->c[0], iov, 0, NULL), 0);
}

static void both_directions_at_once(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    uint8_t *data = malloc(BIG);

    pthread_create(&thread, NULL, write_in_pieces, f);
    for (int i = 0; i < 100; i++) {
        uint8_t got;

        assert_int_equal(channel_write(f->c[1], &(uint8_t){(uint8_t)i}, 1, NULL), 0);
        assert_int_equal(channel_read(f->c[0], &got, 1, NULL), 0);
        assert_int_equal(got, i);
    }
    assert_int_equal(channel_read(f->c[1], data, BIG, NULL), 0);
    pthread_join(thread, NULL);
    free(data);
}

/* Bounds */

static void a_silent_peer_times_out(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    uint64_t start = clock_now_ns(), took;
    char byte;

    channel_set_timeout(f->c[0], 60);
    assert_int_equal(channel_read(f->c[0], &byte, 1, &e), -ETIMEDOUT);
    took = clock_now_ns() - start;
    assert_true(took >= 60 * NS_PER_MS && took < 5 * NS_PER_S);
    assert_int_equal(e.code, -ETIMEDOUT);
    assert_string_equal(e.stage, "channel");
    assert_non_null(strstr(e.text, "left"));
    assert_non_null(strstr(e.text, "60 ms"));
}

static void a_peer_that_does_not_read_times_out(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    uint8_t *data = calloc(1, BIG);
    int ret;

    channel_set_timeout(f->c[0], 60);
    do
        ret = channel_write(f->c[0], data, BIG, &e);
    while (!ret);
    assert_int_equal(ret, -ETIMEDOUT);
    assert_non_null(strstr(e.text, "writing to left"));
    free(data);
}

/* A byte now and then, for longer than the timeout: slow is not silent. */
static void *trickle(void *opaque)
{
    struct fixture *f = opaque;

    for (int i = 0; i < 8; i++) {
        clock_sleep_ns(90 * NS_PER_MS);
        assert_int_equal(channel_write(f->c[1], "x", 1, NULL), 0);
    }
    return NULL;
}

static void a_slow_peer_does_not_time_out(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    char bytes[8];

    channel_set_timeout(f->c[0], 600);
    pthread_create(&thread, NULL, trickle, f);
    assert_int_equal(channel_read(f->c[0], bytes, sizeof(bytes), NULL), 0);
    pthread_join(thread, NULL);
    assert_memory_equal(bytes, "xxxxxxxx", 8);
}

/* The peer leaves */

static void an_end_is_told_with_its_place(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char bytes[10];

    assert_int_equal(channel_write(f->c[1], "seven..", 7, NULL), 0);
    channel_free(f->c[1]);
    f->c[1] = NULL;
    assert_int_equal(channel_read(f->c[0], bytes, 3, &e), 0);
    assert_int_equal(channel_read(f->c[0], bytes, 10, &e), -EPIPE);
    assert_non_null(strstr(e.text, "closed the connection after 7 bytes"));
}

/* No SIGPIPE: it would end the whole monitor. */
static void writing_to_a_closed_peer_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    int ret = 0;

    channel_free(f->c[1]);
    f->c[1] = NULL;
    for (int i = 0; i < 1000 && !ret; i++) {
        ret = channel_write(f->c[0], "x", 1, &e);
        clock_sleep_ns(NS_PER_MS);
    }
    assert_true(ret == -EPIPE || ret == -ECONNRESET);
}

static void a_reset_is_told(void **state)
{
    struct fixture *f = *state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct err e = ERR_INIT;
    char byte;

    if (!f->tcp)
        return; /* UNIX sockets know no such thing */
    setsockopt(f->fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    channel_free(f->c[1]);
    f->c[1] = NULL;
    assert_int_equal(channel_read(f->c[0], &byte, 1, &e), -ECONNRESET);
    assert_non_null(strstr(e.text, "reset by peer"));
}

/* Canceling */

struct blocked {
    struct channel *c;
    bool writes;
    uint8_t *data;
    atomic_int ret;
};

static void *block(void *opaque)
{
    struct blocked *b = opaque;
    int ret;

    do
        ret = b->writes ? channel_write(b->c, b->data, BIG, NULL)
                        : channel_read(b->c, b->data, BIG, NULL);
    while (!ret);
    atomic_store(&b->ret, ret);
    return NULL;
}

static void check_cancel(struct fixture *f, bool writes)
{
    struct blocked b = {.c = f->c[0], .writes = writes, .data = calloc(1, BIG)};
    struct err e = ERR_INIT;
    uint64_t start;
    pthread_t thread;

    channel_set_timeout(f->c[0], 0); /* for ever, but for the cancel */
    pthread_create(&thread, NULL, block, &b);
    clock_sleep_ns(30 * NS_PER_MS);
    assert_int_equal(atomic_load(&b.ret), 0);
    start = clock_now_ns();
    channel_shutdown(f->c[0]);
    pthread_join(thread, NULL);
    assert_true(clock_now_ns() - start < 2 * NS_PER_S);
    assert_int_equal(atomic_load(&b.ret), -ECANCELED);
    assert_int_equal(channel_read(f->c[0], b.data, 1, &e), -ECANCELED);
    assert_int_equal(channel_write(f->c[0], b.data, 1, &e), -ECANCELED);
    assert_non_null(strstr(e.text, "canceled"));
    channel_shutdown(f->c[0]);
    free(b.data);
}

static void a_blocked_reader_is_canceled(void **state)
{
    check_cancel(*state, false);
}

static void a_blocked_writer_is_canceled(void **state)
{
    check_cancel(*state, true);
}

/* What arrived before the cancel is not delivered after it: the caller has given up. */
static void after_a_cancel_nothing_is_read(void **state)
{
    struct fixture *f = *state;
    char byte;

    assert_int_equal(channel_write(f->c[1], "x", 1, NULL), 0);
    channel_shutdown(f->c[0]);
    assert_int_equal(channel_read(f->c[0], &byte, 1, NULL), -ECANCELED);
}

/* Interruptions */

static void on_signal(int number)
{
}

struct pest {
    pthread_t victims[2];
    atomic_bool stop;
};

static void *pester(void *opaque)
{
    struct pest *p = opaque;

    while (!atomic_load(&p->stop)) {
        pthread_kill(p->victims[0], SIGUSR1);
        pthread_kill(p->victims[1], SIGUSR1);
        clock_sleep_ns(200 * NS_PER_US);
    }
    return NULL;
}

static void signals_neither_tear_nor_stop_a_transfer(void **state)
{
    struct fixture *f = *state;
    struct sigaction sa = {.sa_handler = on_signal}, old;
    struct pest p = {.victims = {pthread_self()}};
    uint8_t *data = malloc(BIG);
    pthread_t pest;

    sigaction(SIGUSR1, &sa, &old);
    pthread_create(&p.victims[1], NULL, write_in_pieces, f);
    pthread_create(&pest, NULL, pester, &p);
    assert_int_equal(channel_read(f->c[1], data, BIG, NULL), 0);
    atomic_store(&p.stop, true);
    pthread_join(pest, NULL);
    pthread_join(p.victims[1], NULL);
    sigaction(SIGUSR1, &old, NULL);
    for (size_t i = 0; i < BIG; i++)
        if (data[i] != pattern(i))
            fail_msg("byte %zu is wrong", i);
    free(data);
}

/* A timeout that every signal would start anew never ends. */
static void signals_do_not_stretch_a_timeout(void **state)
{
    struct fixture *f = *state;
    struct sigaction sa = {.sa_handler = on_signal}, old;
    struct pest p = {
        .victims = {pthread_self(), pthread_self()}
    };
    uint64_t start = clock_now_ns();
    pthread_t pest;
    char byte;

    sigaction(SIGUSR1, &sa, &old);
    pthread_create(&pest, NULL, pester, &p);
    channel_set_timeout(f->c[0], 60);
    assert_int_equal(channel_read(f->c[0], &byte, 1, NULL), -ETIMEDOUT);
    assert_true(clock_now_ns() - start < 5 * NS_PER_S);
    atomic_store(&p.stop, true);
    pthread_join(pest, NULL);
    sigaction(SIGUSR1, &old, NULL);
}

/* Making and options */

static int option(int fd, int level, int name)
{
    socklen_t len = sizeof(int);
    int value = -1;

    getsockopt(fd, level, name, &value, &len);
    return value;
}

static void tcp_is_set_up_for_control_and_bulk(void **state)
{
    struct fixture *f = *state;
    int fd = f->fd[0];

    if (!f->tcp) {
        assert_true(option(fd, SOL_SOCKET, SO_SNDBUF) >= 212992);
        return;
    }
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    channel_set_timeout(f->c[0], 8000);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 8000);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) +
                         option(fd, IPPROTO_TCP, TCP_KEEPINTVL) *
                             option(fd, IPPROTO_TCP, TCP_KEEPCNT),
                     8);
    channel_set_timeout(f->c[0], UINT32_MAX);
    channel_set_timeout(f->c[0], 0);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

static void what_is_no_socket_is_refused_and_closed(void **state)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    errno = 0;
    assert_null(channel_from_fd(fd[0], "pipe"));
    assert_int_equal(errno, ENOTSOCK);
    assert_int_equal(close(fd[0]), -1);
    close(fd[1]);
    channel_free(NULL);
}

#define BOTH(f)                                                                                    \
    {#f " (unix)", f, setup_unix, teardown, NULL},                                                 \
    {                                                                                              \
#f " (tcp)", f, setup_tcp, teardown, NULL                                                  \
    }

/* Eight descriptors at once, then more than are kept: they arrive in order, and none stays open. */
static void descriptors_travel_on_one_host(void **state)
{
    struct fixture *f = *state;
    int fds[2 * CHANNEL_FDS_MAX], got[CHANNEL_FDS_MAX], pipes[2];
    struct err e = ERR_INIT;
    char byte = 'x';

    assert_int_equal(pipe(pipes), 0);
    for (unsigned i = 0; i < CHANNEL_FDS_MAX; i++)
        fds[i] = pipes[i % 2];
    if (f->tcp) {
        assert_int_equal(channel_send_fds(f->c[0], "hello", 5, fds, 1, &e), -ENOTSUP);
        close(pipes[0]);
        close(pipes[1]);
        return;
    }
    for (int round = 0; round < 2; round++)
        assert_int_equal(channel_send_fds(f->c[0], "hello", 5, fds, CHANNEL_FDS_MAX, &e), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(channel_read(f->c[1], &byte, 1, &e), 0);
        assert_int_equal(byte, "hello"[i % 5]);
    }
    assert_int_equal(channel_take_fds(f->c[1], got, 2), 2);
    assert_int_equal(channel_take_fds(f->c[1], got + 2, 2), 0);
    assert_int_equal(write(got[1], "y", 1), 1);
    close(pipes[1]);
    close(got[1]);
    assert_int_equal(read(got[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(read(pipes[0], &byte, 1), 0); /* every other copy of the end to write was closed */
    close(got[0]);
    close(pipes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(the_transport_is_named),
        BOTH(much_arrives_whole_and_in_order),
        BOTH(nothing_is_nothing),
        BOTH(both_directions_at_once),
        BOTH(a_silent_peer_times_out),
        BOTH(a_peer_that_does_not_read_times_out),
        BOTH(a_slow_peer_does_not_time_out),
        BOTH(an_end_is_told_with_its_place),
        BOTH(writing_to_a_closed_peer_is_an_error),
        BOTH(a_reset_is_told),
        BOTH(a_blocked_reader_is_canceled),
        BOTH(a_blocked_writer_is_canceled),
        BOTH(after_a_cancel_nothing_is_read),
        BOTH(signals_neither_tear_nor_stop_a_transfer),
        BOTH(signals_do_not_stretch_a_timeout),
        BOTH(tcp_is_set_up_for_control_and_bulk),
        BOTH(descriptors_travel_on_one_host),
        cmocka_unit_test(what_is_no_socket_is_refused_and_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
