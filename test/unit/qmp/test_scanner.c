#include "qmp/scanner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Runs text through a scanner, `step` more bytes visible each time, and writes what was found:
 * "v<value>" and "!" for garbage. */
static void scan(const char *text, size_t step, char *out, size_t cap)
{
    struct qmp_scanner s = {0};
    size_t len = strlen(text), start = 0, seen = 0, visible = 0, used, n = 0;

    out[0] = '\0';
    for (;;) {
        const uint8_t *data = (const uint8_t *)text + start;
        enum qmp_scan found = qmp_scanner_next(&s, data, seen, visible - start, &used);

        if (found == QMP_SCAN_MORE) {
            seen = visible - start;
            if (visible == len)
                return;
            visible = visible + step < len ? visible + step : len;
            continue;
        }
        if (found == QMP_SCAN_VALUE)
            n += (size_t)snprintf(out + n, cap - n, "v%.*s", (int)used, (const char *)data);
        if (found == QMP_SCAN_GARBAGE)
            n += (size_t)snprintf(out + n, cap - n, "!");
        start += used;
        seen = 0;
        assert_true(start <= visible);
    }
}

static void check(const char *text, const char *expected)
{
    char out[512];

    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        scan(text, step, out, sizeof(out));
        assert_string_equal(out, expected);
    }
}

static void test_values(void **state)
{
    check("{}", "v{}");
    check("  {\"a\": 1}\r\n {\"b\":[2,{}]}\n", "v{\"a\": 1}v{\"b\":[2,{}]}");
    check("{}{}[]", "v{}v{}v[]");
    check("", "");
    check(" \n\t ", "");
}

static void test_strings_hide_brackets(void **state)
{
    check("{\"}\":\"]\\\"}{\"}{}", "v{\"}\":\"]\\\"}{\"}v{}");
    check("{\"\\\\\":1}{}", "v{\"\\\\\":1}v{}");
    check("{\"\xc3\xa9\":1}", "v{\"\xc3\xa9\":1}");
}

static void test_garbage_ends_with_the_line(void **state)
{
    check("hello\n{}", "!v{}");
    check("hello {} {}\n{}", "!v{}");
    check("1\n2\n{}", "!!v{}");
    check("}\n{}", "!v{}");
    check("{]\n{}", "!v{}");
    check("[}\n{}", "!v{}");
    check("\xff\n{}", "!v{}");
    check("{\x01\n{}", "!v{}");
    check("{\xe9}\n{}", "!v{}");
    check("{\"open\n{}", "!v{}");
    check("never ends", "!");
}

static void test_depth_is_bounded(void **state)
{
    char text[2 * QMP_DEPTH_MAX + 16], out[512];

    memset(text, '[', QMP_DEPTH_MAX);
    memset(text + QMP_DEPTH_MAX, ']', QMP_DEPTH_MAX);
    text[2 * QMP_DEPTH_MAX] = '\0';
    scan(text, 1, out, sizeof(out));
    assert_int_equal(out[0], 'v');
    assert_string_equal(out + 1, text);
    memset(text, '[', QMP_DEPTH_MAX + 1);
    strcpy(text + QMP_DEPTH_MAX + 1, "\n{}");
    scan(text, 1, out, sizeof(out));
    assert_string_equal(out, "!v{}");
}

static void test_idle(void **state)
{
    struct qmp_scanner s = {0};
    size_t used;

    assert_true(qmp_scanner_idle(&s));
    assert_int_equal(qmp_scanner_next(&s, (const uint8_t *)"{\"", 0, 2, &used), QMP_SCAN_MORE);
    assert_false(qmp_scanner_idle(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_strings_hide_brackets),
        cmocka_unit_test(test_garbage_ends_with_the_line),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
