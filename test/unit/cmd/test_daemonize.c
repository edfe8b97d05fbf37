#include "cmd/vmm/daemonize.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum what_happens { IS_READY, FAILS, CRASHES };

/* What a program does that is asked for -daemonize; never returns. `alive` stays open for as long
 * as the daemon lives. */
static void be_program(enum what_happens what, int alive)
{
    struct err e;
    int ready_fd;

    if (daemonize(&ready_fd, &e))
        _exit(9);
    if (what == CRASHES)
        abort();
    dprintf(STDERR_FILENO, "word %d\n", getpid() == getsid(0)); /* leads no session: no terminal */
    if (what == FAILS)
        _exit(7);
    if (write(ready_fd, "", 1) != 1)
        _exit(8);
    close(ready_fd);
    /* The caller goes now; later words must not end the daemon. */
    usleep(100000);
    dprintf(STDERR_FILENO, "lost\n");
    dprintf(alive, "end");
    _exit(0);
}

/* Runs it; what it said on stderr, its exit status, and what the daemon left. */
static int start(enum what_happens what, char *said, size_t cap, char *last, size_t last_cap)
{
    int errors[2], alive[2], status;
    ssize_t n, len = 0;
    pid_t pid;

    assert_int_equal(pipe(errors), 0);
    assert_int_equal(pipe(alive), 0);
    pid = fork();
    if (pid == 0) {
        dup2(errors[1], STDERR_FILENO);
        close(errors[0]);
        close(errors[1]);
        close(alive[0]);
        be_program(what, alive[1]);
    }
    close(errors[1]);
    close(alive[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    while ((n = read(errors[0], said + len, cap - 1 - (size_t)len)) > 0)
        len += n;
    said[len] = '\0';
    len = read(alive[0], last, last_cap - 1);
    last[len > 0 ? len : 0] = '\0';
    close(errors[0]);
    close(alive[0]);
    return WEXITSTATUS(status);
}

static void test_ready(void **state)
{
    char said[256], last[16];

    assert_int_equal(start(IS_READY, said, sizeof(said), last, sizeof(last)), 0);
    assert_string_equal(said, "word 0\n");
    assert_string_equal(last, "end");
}

static void test_failure_reaches_the_caller(void **state)
{
    char said[256], last[16];

    assert_int_equal(start(FAILS, said, sizeof(said), last, sizeof(last)), 1);
    assert_string_equal(said, "word 0\n");
}

static void test_crash_reaches_the_caller(void **state)
{
    char said[256], last[16];

    assert_int_equal(start(CRASHES, said, sizeof(said), last, sizeof(last)), 1);
    assert_string_equal(said, "godwit-vmm: the machine did not start\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_failure_reaches_the_caller),
        cmocka_unit_test(test_crash_reaches_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
