#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void appends_and_grows(void **state)
{
    struct buf b;

    buf_init(&b, 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_append(&b, &(uint8_t){(uint8_t)i}, 1), 0);
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    assert_true(b.cap < 4 * b.len);
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void stops_exactly_at_max(void **state)
{
    uint8_t bytes[100] = {0};
    struct buf b;

    buf_init(&b, 100);
    assert_int_equal(buf_append(&b, bytes, 60), 0);
    assert_int_equal(buf_append(&b, bytes, 41), -EMSGSIZE);
    assert_int_equal(b.len, 60);
    assert_int_equal(buf_append(&b, bytes, 40), 0);
    assert_int_equal(buf_append(&b, bytes, 1), -EMSGSIZE);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_true(b.cap <= 100);
    buf_fini(&b);
}

static void survives_lengths_that_wrap(void **state)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 2), -EMSGSIZE);
    assert_int_equal(buf_reserve(&b, (size_t)BUF_MAX_DEFAULT - 2), -EMSGSIZE);
    buf_fini(&b);
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 2), -EMSGSIZE);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), -ENOMEM);
    assert_memory_equal(b.data, "abc", 3);
    buf_fini(&b);
}

static void prints_over_the_edge(void **state)
{
    char expected[3000] = "";
    struct buf b;

    buf_init(&b, 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(buf_printf(&b, "%03d-", i), 0);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%03d-", i);
    }
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.data, expected, b.len);
    buf_fini(&b);
    buf_init(&b, 4);
    assert_int_equal(buf_printf(&b, "%s", "toolong"), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_printf(&b, "%s", "fits"), 0); /* no room for a terminator is needed */
    assert_memory_equal(b.data, "fits", 4);
    buf_fini(&b);
}

static void consumes_from_the_front(void **state)
{
    struct buf b;

    buf_init(&b, 0);
    buf_append(&b, "0123456789", 10);
    buf_consume(&b, 4);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "456789", 6);
    buf_consume(&b, 6);
    assert_int_equal(b.len, 0);
    buf_consume(&b, 0);
    assert_int_equal(buf_append(&b, "again", 5), 0);
    assert_memory_equal(b.data, "again", 5);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_grows),          cmocka_unit_test(stops_exactly_at_max),
        cmocka_unit_test(survives_lengths_that_wrap), cmocka_unit_test(prints_over_the_edge),
        cmocka_unit_test(consumes_from_the_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
