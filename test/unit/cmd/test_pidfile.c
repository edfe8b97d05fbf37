#include "cmd/vmm/pidfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/godwit-pid-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/pid", dir);
    return 0;
}

static int remove_dir(void **state)
{
    return rmdir(dir);
}

static long read_pid(void)
{
    FILE *f = fopen(path, "r");
    long pid = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld\n", &pid), 1);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    return pid;
}

static void test_one_owner(void **state)
{
    struct pidfile a = PIDFILE_INIT, b = PIDFILE_INIT;
    struct err e;

    assert_int_equal(pidfile_open(&a, path, &e), 0);
    assert_int_equal(read_pid(), getpid());
    assert_int_equal(pidfile_open(&b, path, &e), -EBUSY);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(read_pid(), getpid());
    pidfile_close(&b);
    pidfile_close(&a);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_stale_file_is_taken_over(void **state)
{
    struct pidfile p = PIDFILE_INIT;
    FILE *f = fopen(path, "w");

    fputs("123456789012345\n", f);
    fclose(f);
    assert_int_equal(pidfile_open(&p, path, NULL), 0);
    assert_int_equal(read_pid(), getpid());
    pidfile_close(&p);
    pidfile_close(&p); /* twice does no harm */
}

static void test_no_directory(void **state)
{
    struct pidfile p = PIDFILE_INIT;
    struct err e;

    assert_int_equal(pidfile_open(&p, "/no/such/directory/pid", &e), -ENOENT);
    assert_non_null(strstr(e.text, "/no/such/directory/pid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_owner),
        cmocka_unit_test(test_a_stale_file_is_taken_over),
        cmocka_unit_test(test_no_directory),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
