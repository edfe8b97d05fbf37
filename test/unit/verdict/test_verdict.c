/* How a verdict reads. */
#include "verdict/verdict.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct verdict v;

static int clear(void **state)
{
    memset(&v, 0, sizeof(v));
    return 0;
}

static void test_yes(void **state)
{
    struct err e = ERR_INIT;
    struct buf out;

    buf_init(&out, 0);
    assert_int_equal(verdict_format(&v, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(verdict_error(&v, &e), 0);
    assert_int_equal(e.code, 0);
    buf_fini(&out);
}

static void test_every_refusal_is_named(void **state)
{
    static const char lines[] = "disk 'a' size: 1 MiB at the source, 2 MiB here: mend it\n"
                                "vcpus: 4 at the source, at most 2 here: go elsewhere\n";
    struct err e = ERR_INIT;
    struct buf out;

    verdict_add(&v, "1 MiB", "2 MiB", "mend it", "disk '%s' size", "a");
    verdict_add(&v, "4", "at most 2", "go elsewhere", "vcpus");
    buf_init(&out, 0);
    assert_int_equal(verdict_format(&v, &out), 0);
    assert_int_equal(out.len, strlen(lines));
    assert_memory_equal(out.data, lines, out.len);
    buf_fini(&out);
    assert_int_equal(verdict_error(&v, &e), -EINVAL);
    assert_string_equal(e.stage, "manifest");
    assert_string_equal(e.text, "disk 'a' size: 1 MiB at the source, 2 MiB here: mend it; vcpus: 4 "
                                "at the source, at most 2 here: go elsewhere");
}

static void test_what_does_not_fit_is_counted(void **state)
{
    struct err e = ERR_INIT;
    char name[32] = "msr 0: ";
    struct buf out;
    int named = 0;

    for (int i = 0; i < 200; i++)
        verdict_add(&v, "part of the machine", "cannot be written", "choose another", "msr %d", i);
    assert_int_equal(v.n, 200);
    assert_int_equal(v.nkept, VERDICT_ITEMS_MAX);
    assert_int_equal(verdict_error(&v, &e), -EINVAL);
    assert_non_null(strstr(e.text, "msr 0: "));
    while (strstr(e.text, name)) /* as many as there is room for, and the rest counted */
        snprintf(name, sizeof(name), "msr %d: ", ++named);
    assert_true(named >= 4 && named < 100);
    snprintf(name, sizeof(name), "; and %d more", 200 - named);
    assert_string_equal(e.text + strlen(e.text) - strlen(name), name);
    buf_init(&out, 0);
    assert_int_equal(verdict_format(&v, &out), 0);
    assert_memory_equal(out.data + out.len - 12, "and 72 more\n", 12);
    buf_fini(&out);
}

/* Values as long as they can be: cut, and the count still said. */
static void test_long_values(void **state)
{
    struct err e = ERR_INIT;
    char text[512];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    verdict_add(&v, text, text, text, "%s", text);
    verdict_add(&v, "a", "b", "c", "d");
    assert_int_equal(verdict_error(&v, &e), -EINVAL);
    assert_true(strlen(e.text) < ERR_TEXT_MAX);
    assert_non_null(strstr(e.text, "more") ? e.text : strstr(e.text, "; d: a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_yes, clear),
        cmocka_unit_test_setup(test_every_refusal_is_named, clear),
        cmocka_unit_test_setup(test_what_does_not_fit_is_counted, clear),
        cmocka_unit_test_setup(test_long_values, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
