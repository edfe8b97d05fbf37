#include "cmd/vmm/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"",        "",       0},
        {"kernel",  "kernel", 0},
        {"kernel",  "",       6},
        {"",        "qmp",    3},
        {"kernl",   "kernel", 1},
        {"kerneel", "kernel", 1},
        {"kornel",  "kernel", 1},
        {"kenrel",  "kernel", 1},
        {"ca",      "abc",    3},
        {"abc",     "xyz",    3},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(suggest_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(suggest_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
}

static void test_long_words_are_unlike_anything(void **state)
{
    char word[65];

    memset(word, 'x', 64);
    word[64] = '\0';
    assert_true(suggest_distance(word, word) == SIZE_MAX);
    word[63] = '\0';
    assert_int_equal(suggest_distance(word, word), 0);
}

static void test_limit_grows_with_the_word(void **state)
{
    assert_int_equal(suggest_limit("m"), 1);
    assert_int_equal(suggest_limit("kernel"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_long_words_are_unlike_anything),
        cmocka_unit_test(test_limit_grows_with_the_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
