/* Zeros are zeros, and no bit anywhere in a page escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "godwit/migrate.h"
#include "migrate/zero.h"

/* There are other bytes around it: what lies outside does not count. */
static void check_every_bit(uint8_t *page)
{
    assert_false(zero_page(page));
    memset(page, 0, GODWIT_PAGE_SIZE);
    assert_true(zero_page(page));
    for (size_t bit = 0; bit < 8 * GODWIT_PAGE_SIZE; bit++) {
        page[bit / 8] = (uint8_t)(1U << bit % 8);
        assert_false(zero_page(page));
        page[bit / 8] = 0;
    }
    assert_true(zero_page(page));
    memset(page, 0xff, GODWIT_PAGE_SIZE);
}

static void test_every_bit(void **state)
{
    uint8_t *all = aligned_alloc(GODWIT_PAGE_SIZE, 3 * GODWIT_PAGE_SIZE);

    assert_non_null(all);
    memset(all, 0xff, 3 * GODWIT_PAGE_SIZE);
    check_every_bit(all + GODWIT_PAGE_SIZE);
    check_every_bit(all + GODWIT_PAGE_SIZE + 1);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_bit)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
