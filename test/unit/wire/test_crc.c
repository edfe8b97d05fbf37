#include "wire/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* RFC 3720 B.4, and the check value every CRC catalogue lists. */
static void matches_the_published_values(void **state)
{
    uint8_t bytes[32];

    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = 31 - i;
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5c);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *p, size_t len)
{
    crc = ~crc;
    while (len--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

/* Every length and alignment the vector code has a case for, and any cut into two calls. */
static void equals_the_slow_way_however_it_is_cut(void **state)
{
    static uint8_t bytes[5000];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + i / 7);
    for (size_t len = 0; len < 600; len++) {
        const uint8_t *p = bytes + len % 17;
        uint32_t whole = bit_by_bit(0, p, len);
        size_t cut = len * 2 / 3;

        assert_int_equal(crc32c(0, p, len), whole);
        assert_int_equal(crc32c(crc32c(0, p, cut), p + cut, len - cut), whole);
    }
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), bit_by_bit(0, bytes, sizeof(bytes)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_values),
        cmocka_unit_test(equals_the_slow_way_however_it_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
