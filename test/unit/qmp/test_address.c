#include "qmp/address.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/godwit-qmp-XXXXXX";

static int make_dir(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return rmdir(dir);
}

static void test_parse(void **state)
{
    struct qmp_address a;

    assert_int_equal(qmp_address_parse("unix:/run/x,y", &a, NULL), 0);
    assert_int_equal(a.kind, QMP_ADDRESS_UNIX);
    assert_string_equal(a.path, "/run/x,y");
    assert_int_equal(qmp_address_parse("tcp:127.0.0.1:4444", &a, NULL), 0);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 4444);
    assert_int_equal(qmp_address_parse("tcp:127.9.9.9:0", &a, NULL), 0);
    assert_int_equal(qmp_address_parse("tcp:localhost:1", &a, NULL), 0);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(qmp_address_parse("tcp:[::1]:65535", &a, NULL), 0);
    assert_string_equal(a.host, "::1");
    assert_int_equal(a.port, 65535);
}

static void test_parse_refuses(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"unix:",                   "empty"             },
        {"tcp:127.0.0.1",           "port"              },
        {"tcp:127.0.0.1:",          "port"              },
        {"tcp:127.0.0.1:65536",     "port"              },
        {"tcp:127.0.0.1:-1",        "port"              },
        {"tcp:127.0.0.1: 1",        "port"              },
        {"tcp::4444",               "loopback"          },
        {"tcp:0.0.0.0:1",           "loopback"          },
        {"tcp:192.168.0.1:4444",    "shell"             },
        {"tcp:[::]:1",              "loopback"          },
        {"tcp:[::ffff:10.0.0.1]:1", "loopback"          },
        {"tcp:example.org:1",       "loopback"          },
        {"vsock:1:2",               "allowed: unix:PATH"},
        {"",                        "allowed: unix:PATH"},
    };
    char path[200];
    struct qmp_address a;
    struct err e;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(qmp_address_parse(cases[i].text, &a, &e), -EINVAL);
        assert_non_null(strstr(e.text, cases[i].says));
    }
    memset(path, 'x', sizeof(path));
    memcpy(path, "unix:", 5);
    path[5 + 108] = '\0';
    assert_int_equal(qmp_address_parse(path, &a, &e), -EINVAL);
    path[5 + 107] = '\0';
    assert_int_equal(qmp_address_parse(path, &a, &e), 0);
}

static void in_dir(struct qmp_address *a, const char *name)
{
    *a = (struct qmp_address){.kind = QMP_ADDRESS_UNIX};
    snprintf(a->path, sizeof(a->path), "%s/%s", dir, name);
}

static void test_unix_socket_is_private_and_not_stolen(void **state)
{
    struct qmp_address a;
    struct stat st;
    struct err e;
    int fd, second;

    in_dir(&a, "sock");
    assert_int_equal(qmp_address_listen(&a, &fd, NULL, &e), 0);
    assert_int_equal(stat(a.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(qmp_address_listen(&a, &second, NULL, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "in use"));
    assert_int_equal(qmp_address_connect(&a, &second, &e), 0);
    close(second);
    close(fd);
    /* Its owner is gone: the path is free to take. */
    assert_int_equal(qmp_address_connect(&a, &second, &e), -ECONNREFUSED);
    assert_int_equal(qmp_address_listen(&a, &fd, NULL, &e), 0);
    close(fd);
    unlink(a.path);
}

static void test_other_files_are_left_alone(void **state)
{
    struct qmp_address a;
    struct err e;
    int fd;

    in_dir(&a, "file");
    fd = open(a.path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(qmp_address_listen(&a, &fd, NULL, &e), -EADDRINUSE);
    assert_int_equal(access(a.path, F_OK), 0);
    unlink(a.path);
    in_dir(&a, "no/such");
    assert_int_equal(qmp_address_listen(&a, &fd, NULL, &e), -ENOENT);
}

static void test_tcp(void **state)
{
    struct qmp_address a, bound;
    int fd, client;

    assert_int_equal(qmp_address_parse("tcp:127.0.0.1:0", &a, NULL), 0);
    assert_int_equal(qmp_address_listen(&a, &fd, &bound, NULL), 0);
    assert_int_not_equal(bound.port, 0);
    assert_int_equal(qmp_address_connect(&bound, &client, NULL), 0);
    close(client);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_unix_socket_is_private_and_not_stolen),
        cmocka_unit_test(test_other_files_are_left_alone),
        cmocka_unit_test(test_tcp),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
