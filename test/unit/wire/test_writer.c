#include "wire/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/reader.h"

static void bytes_come_out_little_endian(void **state)
{
    static const uint8_t expected[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e, 0x0d,
                                       0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x02, 0x00, 'h',  'i'};
    struct writer w;
    struct buf b;

    buf_init(&b, 0);
    writer_init(&w, &b);
    writer_u8(&w, 0x01);
    writer_u16(&w, 0x0203);
    writer_u32(&w, 0x04050607);
    writer_u64(&w, 0x08090a0b0c0d0e0f);
    writer_string(&w, "hi");
    assert_false(w.failed);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    buf_fini(&b);
}

/* Positions count from where this writer began, not from the buffer's start. */
static void patches_and_aligns_from_its_start(void **state)
{
    struct writer w;
    struct reader r;
    struct buf b;

    buf_init(&b, 0);
    buf_append(&b, "abc", 3);
    writer_init(&w, &b);
    writer_u32(&w, 0);
    writer_u64(&w, 0);
    writer_u8(&w, 7);
    writer_align(&w, 8);
    writer_align(&w, 8);
    assert_int_equal(writer_len(&w), 16);
    writer_patch_u32(&w, 0, 0x11223344);
    writer_patch_u64(&w, 4, 0x5566778899aabbcc);
    assert_false(w.failed);
    assert_memory_equal(b.data, "abc", 3);
    reader_init(&r, b.data + 3, b.len - 3);
    assert_int_equal(reader_u32(&r), 0x11223344);
    assert_true(reader_u64(&r) == 0x5566778899aabbcc);
    assert_int_equal(reader_u32(&r), 7); /* the byte and three of padding */
    buf_fini(&b);
}

static void a_patch_outside_fails(void **state)
{
    struct writer w;
    struct buf b;

    buf_init(&b, 0);
    buf_append(&b, "before", 6);
    for (size_t at = 1; at < 9; at++) {
        writer_init(&w, &b);
        writer_u32(&w, 0);
        writer_patch_u32(&w, at == 8 ? SIZE_MAX : at, 1);
        assert_true(w.failed);
    }
    writer_init(&w, &b);
    writer_u32(&w, 0);
    writer_patch_u64(&w, 0, 1);
    assert_true(w.failed);
    buf_fini(&b);
}

static void the_buffers_limit_sticks(void **state)
{
    struct writer w;
    struct buf b;

    buf_init(&b, 6);
    writer_init(&w, &b);
    writer_u32(&w, 1);
    writer_u32(&w, 2);
    assert_true(w.failed);
    assert_int_equal(b.len, 4);
    writer_u8(&w, 3); /* would fit, and would tear the message */
    assert_int_equal(b.len, 4);
    buf_fini(&b);
    buf_init(&b, 6);
    writer_init(&w, &b);
    writer_u32(&w, 1);
    writer_align(&w, 8);
    writer_align(&w, 16);
    assert_true(w.failed);
    buf_fini(&b);
}

static void strings_of_65536_bytes_fail(void **state)
{
    char *text = malloc(65537);
    struct writer w;
    struct buf b;

    memset(text, 'x', 65536);
    text[65536] = '\0';
    buf_init(&b, 0);
    writer_init(&w, &b);
    writer_string(&w, text + 1);
    assert_false(w.failed);
    assert_int_equal(b.len, 2 + 65535);
    writer_string(&w, text);
    assert_true(w.failed);
    assert_int_equal(b.len, 2 + 65535);
    buf_fini(&b);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_little_endian),
        cmocka_unit_test(patches_and_aligns_from_its_start),
        cmocka_unit_test(a_patch_outside_fails),
        cmocka_unit_test(the_buffers_limit_sticks),
        cmocka_unit_test(strings_of_65536_bytes_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
