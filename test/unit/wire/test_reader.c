#include "wire/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t counting[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                   0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};

static void numbers_are_little_endian(void **state)
{
    struct reader r;

    reader_init(&r, counting, sizeof(counting));
    assert_int_equal(reader_u8(&r), 0x01);
    assert_int_equal(reader_u16(&r), 0x0302);
    assert_int_equal(reader_u32(&r), 0x07060504);
    assert_true(reader_u64(&r) == 0x0f0e0d0c0b0a0908);
    assert_int_equal(reader_left(&r), 0);
    assert_true(reader_done(&r));
}

static void one_byte_short_fails_every_width(void **state)
{
    static const size_t widths[] = {1, 2, 4, 8};

    for (size_t i = 0; i < 4; i++) {
        struct reader r;
        uint64_t v;

        reader_init(&r, counting, widths[i] - 1);
        v = widths[i] == 1   ? reader_u8(&r)
            : widths[i] == 2 ? reader_u16(&r)
            : widths[i] == 4 ? reader_u32(&r)
                             : reader_u64(&r);
        assert_true(v == 0);
        assert_true(r.failed);
        assert_false(reader_done(&r));
    }
}

static void an_error_sticks(void **state)
{
    uint8_t out[4] = {1, 1, 1, 1};
    struct reader r;
    char text[8];

    reader_init(&r, counting, sizeof(counting));
    assert_null(reader_view(&r, sizeof(counting) + 1));
    assert_int_equal(reader_u8(&r), 0); /* though there is a byte */
    assert_null(reader_view(&r, 0));
    reader_bytes(&r, out, sizeof(out));
    for (size_t i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], 0);
    reader_string(&r, text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(reader_left(&r), 0);
}

static void lengths_that_wrap_are_refused(void **state)
{
    struct reader r;

    reader_init(&r, counting, sizeof(counting));
    reader_u8(&r);
    assert_null(reader_view(&r, SIZE_MAX));
    assert_true(r.failed);
    reader_init(&r, counting, sizeof(counting));
    reader_u8(&r);
    assert_null(reader_view(&r, SIZE_MAX - 0));
    assert_int_equal(r.pos, 1);
}

static void views_lie_inside(void **state)
{
    struct reader r;

    reader_init(&r, counting, sizeof(counting));
    reader_u8(&r);
    assert_ptr_equal(reader_view(&r, 3), counting + 1);
    assert_ptr_equal(reader_view(&r, 11), counting + 4);
    assert_non_null(reader_view(&r, 0)); /* nothing, at the very end, is no error */
    assert_true(reader_done(&r));
}

static void nothing_at_all_can_be_read(void **state)
{
    struct reader r;

    reader_init(&r, NULL, 0);
    assert_true(reader_done(&r));
    reader_bytes(&r, NULL, 0);
    assert_false(r.failed);
    reader_u8(&r);
    assert_true(r.failed);
}

static void strings_fit_exactly_or_fail(void **state)
{
    static const uint8_t wire[] = {5, 0, 'a', 'b', 'c', 'd', 'e', 'x'};
    struct reader r;
    char text[6] = "?????";

    reader_init(&r, wire, sizeof(wire));
    reader_string(&r, text, 6);
    assert_string_equal(text, "abcde");
    assert_int_equal(reader_left(&r), 1);
    reader_init(&r, wire, sizeof(wire));
    memset(text, '?', sizeof(text));
    reader_string(&r, text, 5);
    assert_true(r.failed);
    assert_string_equal(text, "");
    reader_init(&r, wire, sizeof(wire));
    reader_string(&r, NULL, 0);
    assert_true(r.failed);
}

static void strings_with_nul_or_cut_short_fail(void **state)
{
    static const uint8_t nul[] = {3, 0, 'a', 0, 'c'}, cut[] = {3, 0, 'a', 'b'};
    struct reader r;
    char text[8];

    reader_init(&r, nul, sizeof(nul));
    reader_string(&r, text, sizeof(text));
    assert_true(r.failed);
    assert_string_equal(text, "");
    reader_init(&r, cut, sizeof(cut));
    reader_string(&r, text, sizeof(text));
    assert_true(r.failed);
    reader_init(&r, (const uint8_t[]){0, 0}, 2);
    reader_string(&r, text, 1);
    assert_true(reader_done(&r));
    assert_string_equal(text, "");
}

static void alignment_counts_from_the_start(void **state)
{
    struct reader r;

    reader_init(&r, counting + 1, 12);
    reader_align(&r, 8);
    assert_int_equal(r.pos, 0);
    reader_u8(&r);
    reader_align(&r, 8);
    assert_int_equal(r.pos, 8);
    reader_u8(&r);
    reader_align(&r, 8); /* to 16, past the 12 there are */
    assert_true(r.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(one_byte_short_fails_every_width),
        cmocka_unit_test(an_error_sticks),
        cmocka_unit_test(lengths_that_wrap_are_refused),
        cmocka_unit_test(views_lie_inside),
        cmocka_unit_test(nothing_at_all_can_be_read),
        cmocka_unit_test(strings_fit_exactly_or_fail),
        cmocka_unit_test(strings_with_nul_or_cut_short_fail),
        cmocka_unit_test(alignment_counts_from_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
