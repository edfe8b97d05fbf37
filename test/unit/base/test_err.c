#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void fills_every_part(void **state)
{
    struct err e = ERR_INIT;

    assert_int_equal(err_set(&e, -EINVAL, "boot", "image '%s' has %d", "vmlinux", 7), -EINVAL);
    assert_int_equal(e.code, -EINVAL);
    assert_string_equal(e.stage, "boot");
    assert_string_equal(e.text, "image 'vmlinux' has 7");
}

static void takes_no_err(void **state)
{
    assert_int_equal(err_set(NULL, -EIO, "x", "%s", "y"), -EIO);
    assert_int_equal(err_set_errno(NULL, -EPERM, "x", "%s", "y"), -EPERM);
    assert_int_not_equal(err_prefix(NULL, "x"), 0);
}

static void appends_the_reason(void **state)
{
    struct err e = ERR_INIT;

    assert_int_equal(err_set_errno(&e, -ENOENT, "boot", "opening '%s'", "disk"), -ENOENT);
    assert_string_equal(e.text, "opening 'disk': No such file or directory");
}

static void prepends_context_twice(void **state)
{
    struct err e = ERR_INIT;

    err_set(&e, -EIO, "state", "cut short");
    assert_int_equal(err_prefix(&e, "vCPU %d", 3), -EIO);
    assert_int_equal(err_prefix(&e, "loading"), -EIO);
    assert_string_equal(e.text, "loading: vCPU 3: cut short");
    assert_string_equal(e.stage, "state");
}

static void cuts_what_is_too_long(void **state)
{
    struct err e = ERR_INIT;
    char longer[2000];

    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    err_set(&e, -EINVAL, longer, "%s", longer);
    assert_int_equal(strlen(e.stage), ERR_STAGE_MAX - 1);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_set_errno(&e, -EINVAL, "s", "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_set(&e, -EINVAL, "s", "short");
    err_prefix(&e, "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    err_set(&e, -EINVAL, "s", "%s", longer);
    err_prefix(&e, "context");
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(e.text, "context: aaa", 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_every_part),      cmocka_unit_test(takes_no_err),
        cmocka_unit_test(appends_the_reason),    cmocka_unit_test(prepends_context_twice),
        cmocka_unit_test(cuts_what_is_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
