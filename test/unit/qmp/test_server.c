#include "qmp/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "rig.h"

#define ECHO(v)       "{\"execute\":\"echo\",\"arguments\":{\"value\":" v "}}"
#define RETURN(v)     "{\"return\":" v "}"
#define GENERIC(desc) "{\"error\":{\"class\":\"GenericError\",\"desc\":\"" desc "\"}}"
#define NO_JSON       GENERIC("JSON parse error: the input up to the next newline is ignored")

static void test_greeting_and_commands_without_capabilities(void **state)
{
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    client_send(fd, ECHO("[1,null]"));
    client_expect(fd, RETURN("[1,null]"));
    client_send(fd, "{\"execute\":\"qmp_capabilities\",\"id\":\"a\"}\n");
    client_expect(fd, "{\"return\":{},\"id\":\"a\"}");
    client_send(fd, "{\"execute\":\"fly\"}");
    client_expect(fd, "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command fly has "
                      "not been found\"}}");
    close(fd);
    rig_expect_clients(&r, 0);
    rig_stop(&r);
}

static void test_pieces_and_pipelines(void **state)
{
    static const char text[] = " " ECHO("\"}{\"") ECHO("2") "\n\n" ECHO("3");
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send(fd, (char[]){text[i], '\0'});
        if (i % 16 == 0)
            clock_sleep_ns(NS_PER_MS); /* let the server see the piece alone */
    }
    client_expect(fd, RETURN("\"}{\""));
    client_expect(fd, RETURN("2"));
    client_expect(fd, RETURN("3"));
    client_send(fd, text);
    client_expect(fd, RETURN("\"}{\""));
    client_expect(fd, RETURN("2"));
    client_expect(fd, RETURN("3"));
    close(fd);
    rig_stop(&r);
}

static void test_garbage_is_answered_and_survived(void **state)
{
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    client_send(fd, "GET / HTTP/1.1\r\n");
    client_expect(fd, NO_JSON);
    client_send(fd, "\xff\xfe\x01{\n" ECHO("1"));
    client_expect(fd, NO_JSON);
    client_expect(fd, RETURN("1"));
    client_send(fd, "{\"execute\" \"echo\"}");
    assert_non_null(strstr(client_line(fd), "JSON parse error: "));
    client_send(fd, "{\"execute\":\"echo\",\"execute\":\"echo\"}");
    assert_non_null(strstr(client_line(fd), "JSON parse error: "));
    client_send(fd, "{\"execute\":\"\xc3\"}");
    assert_non_null(strstr(client_line(fd), "JSON parse error: "));
    client_send(fd, "[" ECHO("2") "]");
    client_expect(fd, GENERIC("QMP input must be a JSON object"));
    client_send(fd, ECHO("3"));
    client_expect(fd, RETURN("3"));
    close(fd);
    rig_stop(&r);
}

static void test_a_message_too_large_ends_the_client(void **state)
{
    char big[4096];
    struct rig r;
    int fd, other;

    rig_start(&r, 1000, 0);
    fd = rig_connect(&r);
    other = rig_connect(&r);
    /* Whole, but too large; and without an end. */
    memset(big, ' ', sizeof(big));
    strcpy(big + 1100, ECHO("1"));
    client_send(fd, big); /* blanks count for nothing */
    client_expect(fd, RETURN("1"));
    memset(big, 'x', sizeof(big));
    memcpy(big, "{\"", 2);
    strcpy(big + 1100, "\"}");
    client_send(fd, big);
    client_expect(fd, GENERIC("JSON parse error: the message is too large"));
    client_expect_end(fd);
    big[1100] = '\0';
    client_send(other, big);
    client_expect(other, GENERIC("JSON parse error: the message is too large"));
    client_expect_end(other);
    rig_expect_clients(&r, 0);
    close(fd);
    close(other);
    rig_stop(&r);
}

static void test_many_clients_get_their_own_answers_and_all_events(void **state)
{
    int fd[QMP_CLIENTS_MAX], extra;
    char text[128];
    struct rig r;

    rig_start(&r, 0, 0);
    for (int i = 0; i < QMP_CLIENTS_MAX; i++)
        fd[i] = rig_connect(&r);
    assert_int_equal(rig_adopt(&r, &extra), -EUSERS);
    for (int i = 0; i < QMP_CLIENTS_MAX; i++) {
        snprintf(text, sizeof(text), "{\"execute\":\"echo\",\"arguments\":{\"value\":%d}}", i);
        client_send(fd[i], text);
    }
    for (int i = 0; i < QMP_CLIENTS_MAX; i++) {
        snprintf(text, sizeof(text), RETURN("%d"), i);
        client_expect(fd[i], text);
    }
    rig_event(&r, "RESUME", NULL);
    for (int i = 0; i < QMP_CLIENTS_MAX; i++)
        assert_non_null(strstr(client_line(fd[i]), "\"event\":\"RESUME\""));
    for (int i = 0; i < QMP_CLIENTS_MAX; i++)
        close(fd[i]);
    rig_expect_clients(&r, 0);
    rig_stop(&r);
}

static void test_event_form(void **state)
{
    uint64_t before = clock_realtime_ns() / NS_PER_S, seconds;
    json_t *event, *stamp;
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    rig_event(&r, "MIGRATION", json_pack("{s:s}", "status", "active"));
    event = json_loads(client_line(fd), 0, NULL);
    stamp = json_object_get(event, "timestamp");
    seconds = (uint64_t)json_integer_value(json_object_get(stamp, "seconds"));
    assert_int_equal(json_object_size(event), 3);
    assert_in_range(seconds, before, before + 60);
    assert_in_range(json_integer_value(json_object_get(stamp, "microseconds")), 0, 999999);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(event, "data"), "status")), "active");
    json_decref(event);
    rig_event(&r, "STOP", NULL);
    event = json_loads(client_line(fd), 0, NULL);
    assert_int_equal(json_object_size(event), 2);
    json_decref(event);
    close(fd);
    rig_stop(&r);
}

static void test_a_command_may_send_events(void **state)
{
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    client_send(fd, "{\"execute\":\"stop\"}");
    assert_non_null(strstr(client_line(fd), "\"event\":\"STOP\""));
    client_expect(fd, RETURN("{}"));
    close(fd);
    rig_stop(&r);
}

/* A client that reads nothing is dropped once its events pass the bound; the others live on. */
static void test_slow_client_is_dropped(void **state)
{
    struct rig r;
    int slow, quick;
    char *pad = malloc(8192);

    memset(pad, 'x', 8191);
    pad[8191] = '\0';
    rig_start(&r, 0, 64 << 10);
    slow = rig_connect(&r);
    quick = rig_connect(&r);
    for (int i = 0; i < 2000 && rig_clients(&r) == 2; i++) {
        rig_event(&r, "NOISE", json_pack("{s:s}", "pad", pad));
        assert_non_null(strstr(client_line(quick), "NOISE"));
    }
    assert_int_equal(rig_clients(&r), 1);
    client_send(quick, ECHO("1"));
    client_expect(quick, RETURN("1"));
    free(pad);
    close(slow);
    close(quick);
    rig_stop(&r);
}

/* A client that asks and asks and does not read is not read from, and loses nothing. */
static void test_unread_answers_hold_back_the_commands(void **state)
{
    struct pollfd p = {.events = POLLOUT};
    int fd, sent = 0;
    struct rig r;
    ssize_t n;

    rig_start(&r, 0, 0);
    p.fd = fd = rig_connect(&r);
    while (poll(&p, 1, 300) == 1) {
        n = send(fd, ECHO("1"), strlen(ECHO("1")), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            continue;
        assert_int_equal(n, strlen(ECHO("1")));
        sent++;
    }
    assert_true(sent > 1000);
    assert_int_equal(rig_clients(&r), 1);
    for (int i = 0; i < sent; i++)
        client_expect(fd, RETURN("1"));
    close(fd);
    rig_stop(&r);
}

static void test_half_closed_client_gets_its_answers(void **state)
{
    struct rig r;
    int fd;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    client_send(fd, ECHO("1") ECHO("2"));
    shutdown(fd, SHUT_WR);
    client_expect(fd, RETURN("1"));
    client_expect(fd, RETURN("2"));
    client_expect_end(fd);
    close(fd);
    rig_stop(&r);
}

static void send_with_fds(int sock, const char *text, const int *fds, size_t n)
{
    union {
        char bytes[CMSG_SPACE(32 * sizeof(int))];
        struct cmsghdr header;
    } control = {
        .header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}
    };
    struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(n * sizeof(int))};

    control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
    assert_int_equal(sendmsg(sock, &msg, 0), strlen(text));
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    assert_int_equal(fstat(a, &sa), 0);
    assert_int_equal(fstat(b, &sb), 0);
    return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void test_descriptors_reach_their_command(void **state)
{
    int fd, pipes[2];
    struct rig r;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    /* Behind another command in the same stream. */
    client_send(fd, ECHO("1"));
    send_with_fds(fd, "{\"execute\":\"getfd\"}", pipes, 1);
    client_expect(fd, RETURN("1"));
    client_expect(fd, RETURN("{}"));
    assert_true(same_file(r.taken_fd, pipes[0]));
    assert_true(fcntl(r.taken_fd, F_GETFD) & FD_CLOEXEC);
    close(r.taken_fd);
    /* In pieces: the descriptor with the first. */
    send_with_fds(fd, "{\"execute\"", pipes, 1);
    clock_sleep_ns(20 * NS_PER_MS);
    client_send(fd, ":\"getfd\"}");
    client_expect(fd, RETURN("{}"));
    close(r.taken_fd);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    rig_stop(&r); /* and counts descriptors */
}

static void test_descriptors_nobody_takes_are_closed(void **state)
{
    int fd, pipes[2], many[20];
    struct rig r;
    char byte;

    rig_start(&r, 0, 0);
    fd = rig_connect(&r);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    send_with_fds(fd, ECHO("1"), &pipes[1], 1);
    client_expect(fd, RETURN("1"));
    /* It does not wait for a later command. */
    client_send(fd, "{\"execute\":\"getfd\"}");
    client_expect(fd, GENERIC("no descriptor came along"));
    for (size_t i = 0; i < 20; i++)
        many[i] = pipes[1];
    send_with_fds(fd, ECHO("2"), many, 20);
    client_expect(fd, RETURN("2"));
    send_with_fds(fd, "{\"half\"", many, 20); /* and dies with the client */
    close(fd);
    rig_expect_clients(&r, 0);
    close(pipes[1]);
    /* No writer is left anywhere. */
    assert_int_equal(read(pipes[0], &byte, 1), 0);
    close(pipes[0]);
    rig_stop(&r);
}

struct listen_errand {
    struct rig *rig;
    const char *address;
    int ret;
};

static void listen_on_loop(void *opaque)
{
    struct listen_errand *x = opaque;
    struct qmp_address a;

    assert_int_equal(qmp_address_parse(x->address, &a, NULL), 0);
    x->ret = qmp_server_listen(x->rig->server, &a, NULL);
}

static void test_listeners(void **state)
{
    char dir[] = "/tmp/godwit-qmp-XXXXXX", unix_address[64];
    struct listen_errand x;
    struct rig r;
    int fd[3];

    assert_non_null(mkdtemp(dir));
    snprintf(unix_address, sizeof(unix_address), "unix:%s/qmp", dir);
    rig_start(&r, 0, 0);
    x = (struct listen_errand){&r, unix_address, -1};
    loop_call(r.loop, listen_on_loop, &x);
    assert_int_equal(x.ret, 0);
    x = (struct listen_errand){&r, "tcp:127.0.0.1:0", -1};
    loop_call(r.loop, listen_on_loop, &x);
    assert_int_equal(x.ret, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(qmp_address_connect(qmp_server_address(r.server, i > 0), &fd[i], NULL), 0);
        client_expect(fd[i], RIG_GREETING);
        client_send(fd[i], ECHO("0"));
        client_expect(fd[i], RETURN("0"));
    }
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    rig_stop(&r);
    assert_int_equal(access(unix_address + 5, F_OK), -1); /* the server's to remove */
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting_and_commands_without_capabilities),
        cmocka_unit_test(test_pieces_and_pipelines),
        cmocka_unit_test(test_garbage_is_answered_and_survived),
        cmocka_unit_test(test_a_message_too_large_ends_the_client),
        cmocka_unit_test(test_many_clients_get_their_own_answers_and_all_events),
        cmocka_unit_test(test_event_form),
        cmocka_unit_test(test_a_command_may_send_events),
        cmocka_unit_test(test_slow_client_is_dropped),
        cmocka_unit_test(test_unread_answers_hold_back_the_commands),
        cmocka_unit_test(test_half_closed_client_gets_its_answers),
        cmocka_unit_test(test_descriptors_reach_their_command),
        cmocka_unit_test(test_descriptors_nobody_takes_are_closed),
        cmocka_unit_test(test_listeners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
