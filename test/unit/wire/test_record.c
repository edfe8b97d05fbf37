#include "wire/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/crc.h"

#define MAX 4096

static void padding_goes_to_eight(void **state)
{
    assert_true(record_padded(0) == 0);
    assert_true(record_padded(1) == 8);
    assert_true(record_padded(8) == 8);
    assert_true(record_padded(UINT32_MAX) == 1ULL << 32);
}

/* Spelled out: the frame is a contract with readers that others write. */
static void a_record_has_this_frame(void **state)
{
    uint8_t expected[32] = {0x34, 0x12, 0, 0, 0x01, 0,   0,   0x80, 9,   0,  0,
                            0,    0,    0, 0, 0,    'h', 'e', 'l',  'l', 'o'};
    uint32_t crc = crc32c(0, expected, 21);
    struct buf b;

    for (int i = 0; i < 4; i++)
        expected[21 + i] = (uint8_t)(crc >> (8 * i));
    buf_init(&b, 0);
    assert_int_equal(record_append(&b, 0x1234, RECORD_OPTIONAL, "hello", 5), 0);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    buf_fini(&b);
}

static void every_length_comes_back(void **state)
{
    uint8_t body[40];
    struct buf b;

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i + 1);
    for (size_t len = 0; len <= sizeof(body); len++) {
        struct record_header h;
        struct err e = ERR_INIT;
        size_t got;

        buf_init(&b, 0);
        buf_append(&b, "xyz", 3); /* padding must not depend on where in the buffer it stands */
        assert_int_equal(record_append(&b, 7, 0, body, len), 0);
        assert_int_equal(record_header_decode(b.data + 3, MAX, &h, &e), 0);
        assert_int_equal(h.type, 7);
        assert_int_equal(h.flags, RECORD_CRC);
        assert_true(b.len == 3 + RECORD_HEADER_SIZE + record_padded(h.length));
        assert_int_equal(record_check(&h, b.data + 3 + RECORD_HEADER_SIZE, &got, &e), 0);
        assert_int_equal(got, len);
        assert_memory_equal(b.data + 3 + RECORD_HEADER_SIZE, body, len);
        buf_fini(&b);
    }
}

/* Any single flipped bit of a record is noticed somewhere. */
static void every_flipped_bit_is_found(void **state)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(record_append(&b, 3, 0, "eleven byte", 11), 0);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        struct record_header h;
        struct err e = ERR_INIT;
        size_t got;
        int ret;

        b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ret = record_header_decode(b.data, b.len - RECORD_HEADER_SIZE, &h, &e);
        if (!ret && record_padded(h.length) + RECORD_HEADER_SIZE != b.len)
            ret = -EPROTO; /* the next header would be read out of this record */
        if (!ret)
            ret = record_check(&h, b.data + RECORD_HEADER_SIZE, &got, &e);
        assert_int_not_equal(ret, 0);
        b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    buf_fini(&b);
}

static int decode(uint32_t type, uint32_t flags, uint64_t length, uint64_t max)
{
    struct record_header h = {.type = type, .flags = flags, .length = length}, out;
    uint8_t bytes[RECORD_HEADER_SIZE];
    struct err e = ERR_INIT;
    int ret;

    record_header_encode(&h, bytes);
    ret = record_header_decode(bytes, max, &out, &e);
    assert_int_equal(e.code, ret);
    if (!ret)
        assert_memory_equal(&h, &out, sizeof(h));
    return ret;
}

static void hostile_headers_are_refused(void **state)
{
    assert_int_equal(decode(1, 0, MAX, MAX), 0);
    assert_int_equal(decode(1, 0, MAX + 1, MAX), -EPROTO);
    assert_int_equal(decode(1, 0, UINT64_MAX, MAX), -EPROTO);
    /* even where the caller allows all: its padded size would wrap to 0 */
    assert_int_equal(decode(1, 0, UINT64_MAX, UINT64_MAX), -EPROTO);
    assert_int_equal(decode(1, 0, UINT64_MAX - 6, UINT64_MAX), -EPROTO);
    assert_int_equal(decode(1, RECORD_CRC, 3, MAX), -EPROTO);
    assert_int_equal(decode(1, RECORD_CRC, 4, MAX), 0);
    assert_int_equal(decode(1, RECORD_OPTIONAL, 0, MAX), 0);
    for (int bit = 1; bit < 31; bit++)
        assert_int_equal(decode(1, 1U << bit, 8, MAX), -EPROTO);
}

static void a_record_without_checksum_is_not_checked_as_good(void **state)
{
    struct record_header h = {.type = 1, .flags = 0, .length = 8};
    uint8_t body[8] = {0};
    size_t got = 99;

    assert_int_equal(record_check(&h, body, &got, NULL), -EPROTO);
}

/* What is skipped may be a record of a known type whose type was damaged. */
static void a_damaged_record_is_not_skipped(void **state)
{
    const uint8_t *body;
    struct record_header h;
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(record_append(&b, 0x1234, RECORD_OPTIONAL, "hello", 5), 0);
    body = b.data + RECORD_HEADER_SIZE;
    assert_int_equal(record_header_decode(b.data, MAX, &h, NULL), 0);
    assert_int_equal(record_check_unknown(&h, body, NULL), 0);
    h.type ^= 1;
    assert_int_equal(record_check_unknown(&h, body, NULL), -EBADMSG);
    h.flags &= ~RECORD_CRC; /* of another kind: it has its own */
    assert_int_equal(record_check_unknown(&h, body, NULL), 0);
    buf_fini(&b);
}

static void a_full_buffer_gets_no_half_record(void **state)
{
    struct buf b;

    buf_init(&b, 31); /* the record takes 32 */
    assert_int_equal(record_append(&b, 1, 0, "hello", 5), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    assert_int_equal(record_append(&b, 1, 0, "hello", SIZE_MAX - 4), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_goes_to_eight),
        cmocka_unit_test(a_record_has_this_frame),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(a_record_without_checksum_is_not_checked_as_good),
        cmocka_unit_test(a_damaged_record_is_not_skipped),
        cmocka_unit_test(a_full_buffer_gets_no_half_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
