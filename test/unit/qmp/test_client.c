#include "qmp/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "rig.h"

#define TIMEOUT_MS 20000

static struct qmp_client *connect_to(struct rig *r)
{
    struct qmp_client *c;
    struct err e = ERR_INIT;
    int fd;

    assert_int_equal(rig_adopt(r, &fd), 0);
    assert_int_equal(qmp_client_adopt(fd, TIMEOUT_MS, &c, &e), 0);
    return c;
}

static void test_commands(void **state)
{
    struct qmp_client *c;
    struct err e = ERR_INIT;
    struct rig r;
    json_t *ret;

    rig_start(&r, 0, 0);
    c = connect_to(&r);
    assert_non_null(json_object_get(qmp_client_greeting(c), "QMP"));
    assert_int_equal(qmp_client_command(c, "echo", json_pack("{s:s}", "value", "hi"), -1, &ret, &e),
                     0);
    assert_string_equal(json_string_value(ret), "hi");
    json_decref(ret);
    assert_int_equal(qmp_client_command(c, "echo", NULL, -1, &ret, &e), -EREMOTEIO);
    assert_string_equal(e.stage, "GenericError");
    assert_string_equal(e.text, "Parameter 'value' is missing");
    assert_int_equal(qmp_client_command(c, "getfd", NULL, STDIN_FILENO, NULL, &e), 0);
    assert_true(r.taken_fd >= 0);
    close(r.taken_fd);
    qmp_client_free(c);
    rig_expect_clients(&r, 0);
    rig_stop(&r);
}

static void test_events_wait_for_their_reader(void **state)
{
    struct qmp_client *c;
    struct err e = ERR_INIT;
    json_t *event;
    struct rig r;

    rig_start(&r, 0, 0);
    c = connect_to(&r);
    /* One before the answer, one after it. */
    assert_int_equal(qmp_client_command(c, "stop", NULL, -1, NULL, &e), 0);
    rig_event(&r, "RESUME", NULL);
    assert_int_equal(qmp_client_event(c, TIMEOUT_MS, &event, &e), 0);
    assert_string_equal(json_string_value(json_object_get(event, "event")), "STOP");
    json_decref(event);
    assert_int_equal(qmp_client_event(c, TIMEOUT_MS, &event, &e), 0);
    assert_string_equal(json_string_value(json_object_get(event, "event")), "RESUME");
    json_decref(event);
    assert_int_equal(qmp_client_event(c, 10, &event, &e), -ETIMEDOUT);
    qmp_client_free(c);
    rig_stop(&r);
}

/* What a peer that is no QMP server says first, and what becomes of it. */
static void check_greeting(const char *says, int expected)
{
    struct qmp_client *c;
    struct err e = ERR_INIT;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    client_send(pair[1], says);
    if (expected == -ECONNRESET)
        shutdown(pair[1], SHUT_WR);
    assert_int_equal(qmp_client_adopt(pair[0], 50, &c, &e), expected);
    assert_true(e.text[0]);
    close(pair[0]); /* not taken over */
    close(pair[1]);
}

static void test_strange_servers(void **state)
{
    check_greeting("SSH-2.0-x\n", -EPROTO);
    check_greeting("{\"hello\":1}", -EPROTO);
    check_greeting("[]", -EPROTO);
    check_greeting("{1}", -EPROTO);
    check_greeting("{\"QMP\":", -ECONNRESET);
    check_greeting("{\"QMP\":", -ETIMEDOUT);
    check_greeting("{\"QMP\":{}} {\"return\":{},\"id\":99}", -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_events_wait_for_their_reader),
        cmocka_unit_test(test_strange_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
