#include "state/field.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/writer.h"

struct inner {
    uint16_t a;
    uint8_t b[3];
};

struct device {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint32_t array[4];
    uint8_t blob[5];
    uint32_t nmsrs;
    uint64_t msrs[3];
    struct inner inner[2];
    uint16_t later;
};

static const struct field inner_fields[] = {
    FIELD(struct inner, FIELD_U16, a),
    FIELD_ARRAY(struct inner, FIELD_U8, b),
};
static STATE_DESC(inner_desc, "inner", 1, struct inner, inner_fields);

static const struct field device_fields[] = {
    FIELD(struct device, FIELD_U8, u8),
    FIELD(struct device, FIELD_U16, u16),
    FIELD(struct device, FIELD_U32, u32),
    FIELD(struct device, FIELD_U64, u64),
    FIELD_ARRAY(struct device, FIELD_U32, array),
    FIELD_BLOB(struct device, blob),
    FIELD_VARRAY(struct device, FIELD_U64, msrs, nmsrs),
    FIELD_STRUCTS(struct device, inner, &inner_desc),
};
static STATE_DESC(device_desc, "device", 1, struct device, device_fields);

static const struct device sample = {
    .u8 = 0x12,
    .u16 = 0x3456,
    .u32 = 0x789abcde,
    .u64 = 0x123456789abcdef0,
    .array = {1,           2, 3, 0xffffffff},
    .blob = {9, 8,  7, 6, 5},
    .nmsrs = 2,
    .msrs = {0xc0000080,          7        },
    .inner = {{.a = 1, .b = {1, 2, 3}},          {.a = 2, .b = {4, 5, 6}}          },
};

/* A stranger's section, written by hand: the head, then fields through put(). */
struct stranger {
    struct buf buf;
    struct writer w;
    size_t nfields_at;
    uint32_t nfields;
};

static void stranger_begin(struct stranger *s, const char *name, uint32_t version)
{
    memset(s, 0, sizeof(*s));
    buf_init(&s->buf, 0);
    writer_init(&s->w, &s->buf);
    writer_string(&s->w, name);
    writer_u32(&s->w, version);
    writer_u32(&s->w, 5);
    s->nfields_at = writer_len(&s->w);
    writer_u32(&s->w, 0);
}

static void head(struct stranger *s, const char *name, uint8_t type, uint32_t count)
{
    writer_string(&s->w, name);
    writer_u8(&s->w, type);
    writer_bytes(&s->w, "\0\0\0", 3);
    writer_u32(&s->w, count);
    writer_patch_u32(&s->w, s->nfields_at, ++s->nfields);
}

/* Decodes it all; the error's text stays in e. The buffer is freed. */
static int stranger_decode(struct stranger *s, const struct state_desc *d, void *out, struct err *e)
{
    struct state_section section;
    uint8_t *exact = malloc(s->buf.len); /* so that a sanitizer sees what is read past it */
    struct reader r;
    int ret;

    memcpy(exact, s->buf.data, s->buf.len);
    reader_init(&r, exact, s->buf.len);
    *e = (struct err)ERR_INIT;
    ret = state_section_next(&r, &section, e);
    if (!ret)
        ret = state_decode(d, &section, &r, out, e);
    assert_int_equal(e->code, ret);
    if (!ret)
        assert_true(reader_done(&r));
    free(exact);
    buf_fini(&s->buf);
    return ret;
}

static void assert_says(const struct err *e, const char *text)
{
    if (!strstr(e->text, text))
        fail_msg("'%s' does not say '%s'", e->text, text);
}

static void what_goes_in_comes_out(void **state)
{
    struct state_section s;
    struct device got;
    struct reader r;
    struct buf b;

    buf_init(&b, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(state_encode(&device_desc, i, &sample, &b), 0);
    reader_init(&r, b.data, b.len);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(state_section_next(&r, &s, NULL), 0);
        assert_string_equal(s.name, "device");
        assert_int_equal(s.version, 1);
        assert_int_equal(s.instance, i);
        memset(&got, 0xee, sizeof(got));
        assert_int_equal(state_decode(&device_desc, &s, &r, &got, NULL), 0);
        assert_int_equal(got.u8, sample.u8);
        assert_int_equal(got.u16, sample.u16);
        assert_int_equal(got.u32, sample.u32);
        assert_true(got.u64 == sample.u64);
        assert_memory_equal(got.array, sample.array, sizeof(got.array));
        assert_memory_equal(got.blob, sample.blob, sizeof(got.blob));
        assert_int_equal(got.nmsrs, 2);
        assert_memory_equal(got.msrs, sample.msrs, sizeof(got.msrs));
        assert_int_equal(got.inner[1].a, 2);
        assert_memory_equal(got.inner[1].b, sample.inner[1].b, 3);
        assert_int_equal(got.later, 0);
    }
    assert_true(reader_done(&r));
    buf_fini(&b);
}

/* The bytes are a contract: this is doc/spec's description of a section, spelled out. */
static void the_encoding_is_as_documented(void **state)
{
    static const struct field fields[] = {FIELD(struct inner, FIELD_U16, a),
                                          FIELD_BLOB(struct inner, b)};
    static STATE_DESC(desc, "ab", 3, struct inner, fields);
    static const uint8_t expected[] = {
        2, 0, 'a', 'b', 3, 0, 0, 0, 7, 0, 0, 0,    2,    0,
        0, 0,                                               /* name, version, instance, nfields */
        1, 0, 'a', 2,   0, 0, 0, 1, 0, 0, 0, 0x22, 0x11,    /* a: u16, one value */
        1, 0, 'b', 5,   0, 0, 0, 3, 0, 0, 0, 1,    2,    3, /* b: three bytes */
    };
    const struct inner value = {
        .a = 0x1122, .b = {1, 2, 3}
    };
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(state_encode(&desc, 7, &value, &b), 0);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    buf_fini(&b);
}

static void every_cut_is_refused(void **state)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(state_encode(&device_desc, 0, &sample, &b), 0);
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *exact = malloc(len ? len : 1);
        struct state_section s;
        struct err e = ERR_INIT;
        struct device got;
        struct reader r;
        int ret;

        memcpy(exact, b.data, len);
        reader_init(&r, exact, len);
        ret = state_section_next(&r, &s, &e);
        if (!ret)
            ret = state_decode(&device_desc, &s, &r, &got, &e);
        assert_int_equal(ret, -EPROTO);
        assert_int_not_equal(e.text[0], 0);
        free(exact);
    }
    buf_fini(&b);
}

/* Versions */

static const struct field newer_fields[] = {
    FIELD(struct device, FIELD_U8, u8),
    {.name = "later",
                                   .type = FIELD_U16,
                                   .offset = offsetof(struct device, later),
                                   .count = 1,
                                   .size = 2,
                                   .len_offset = -1,
                                   .since = 2},
};
static STATE_DESC(newer_desc, "device", 2, struct device, newer_fields);
static STATE_DESC(older_desc, "device", 1, struct device, device_fields);

static void a_newer_reader_gives_what_is_newer_its_default(void **state)
{
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 1);
    head(&s, "u8", FIELD_U8, 1);
    writer_u8(&s.w, 0x55);
    assert_int_equal(stranger_decode(&s, &newer_desc, &got, &e), 0);
    assert_int_equal(got.u8, 0x55);
    assert_int_equal(got.later, 0);
}

static void a_sender_that_should_have_it_must_send_it(void **state)
{
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 2);
    head(&s, "u8", FIELD_U8, 1);
    writer_u8(&s.w, 0x55);
    assert_int_equal(stranger_decode(&s, &newer_desc, &got, &e), -EPROTO);
    assert_says(&e, "device[5]");
    assert_says(&e, "'later' is missing");
    assert_int_equal(got.u8, 0); /* nothing half-read is left */
}

static void an_older_reader_refuses_what_it_would_lose(void **state)
{
    struct device value = {.u8 = 1, .later = 2}, got;
    struct err e = ERR_INIT;
    struct stranger s;

    stranger_begin(&s, "x", 1);
    s.buf.len = 0;
    assert_int_equal(state_encode(&newer_desc, 0, &value, &s.buf), 0);
    assert_int_equal(stranger_decode(&s, &older_desc, &got, &e), -EPROTO);
    assert_says(&e, "'later' is unknown here");
}

static void what_is_optional_may_be_ignored_whatever_its_shape(void **state)
{
    static const struct field fields[] = {FIELD(struct device, FIELD_U8, u8)};
    static STATE_DESC(desc, "device", 1, struct device, fields);
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 9);
    head(&s, "hints", FIELD_U64 | FIELD_OPTIONAL, 2);
    writer_u64(&s.w, 1);
    writer_u64(&s.w, 2);
    head(&s, "tree", FIELD_STRUCT | FIELD_OPTIONAL, 2);
    writer_u32(&s.w, 1); /* version */
    writer_u32(&s.w, 1); /* [0]: one field */
    writer_string(&s.w, "leaf");
    writer_bytes(&s.w, "\x01\0\0\0\x01\0\0\0\x07", 9);
    writer_u32(&s.w, 0); /* [1]: none */
    head(&s, "u8", FIELD_U8, 1);
    writer_u8(&s.w, 3);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), 0);
    assert_int_equal(got.u8, 3);
}

static void shorter_arrays_are_taken_and_longer_refused(void **state)
{
    static const struct field fields[] = {FIELD_ARRAY(struct device, FIELD_U32, array)};
    static STATE_DESC(desc, "device", 1, struct device, fields);
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 1);
    head(&s, "array", FIELD_U32, 2);
    writer_u32(&s.w, 11);
    writer_u32(&s.w, 22);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), 0);
    assert_memory_equal(got.array, ((uint32_t[]){11, 22, 0, 0}), 16);
    stranger_begin(&s, "device", 1);
    head(&s, "array", FIELD_U32, 5);
    for (uint32_t i = 0; i < 5; i++)
        writer_u32(&s.w, i);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), -EPROTO);
    assert_says(&e, "5 values");
    stranger_begin(&s, "device", 1);
    head(&s, "array", FIELD_U32, 0);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), -EPROTO);
}

struct sized {
    uint32_t nbytes, nstructs;
    uint8_t bytes[8];
    struct inner structs[4];
    struct inner one;
};

static void counted_structs_and_bytes_come_back(void **state)
{
    static const struct field fields[] = {
        FIELD_VBLOB(struct sized, bytes, nbytes),
        FIELD_VSTRUCTS(struct sized, structs, &inner_desc, nstructs),
        FIELD_ONE(struct sized, one, &inner_desc),
    };
    static STATE_DESC(desc, "sized", 1, struct sized, fields);
    const struct sized value = {
        .nbytes = 3,
        .nstructs = 2,
        .bytes = {1,  2, 3, 99},
        .structs = {{.a = 5}, {.a = 6, .b = {7, 8, 9}}, {.a = 99}},
        .one = {.a = 4 }
    };
    struct stranger s = {.nfields = 0};
    struct sized got;
    struct err e;

    assert_int_equal(state_encode(&desc, 0, &value, &s.buf), 0);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), 0);
    assert_int_equal(got.nbytes, 3);
    assert_memory_equal(got.bytes, ((uint8_t[]){1, 2, 3, 0}), 4); /* only what is in use travels */
    assert_int_equal(got.nstructs, 2);
    assert_int_equal(got.structs[0].a, 5);
    assert_memory_equal(got.structs[1].b, ((uint8_t[]){7, 8, 9}), 3);
    assert_int_equal(got.structs[2].a, 0);
    assert_int_equal(got.one.a, 4);
}

/* Hostile senders */

static const struct field var_fields[] = {
    FIELD_VARRAY(struct device, FIELD_U64, msrs, nmsrs),
};
static STATE_DESC(var_desc, "device", 1, struct device, var_fields);

static void a_count_cannot_pass_its_array(void **state)
{
    static const uint32_t counts[] = {4, 0x20000000, 0x80000000, UINT32_MAX};
    struct stranger s;
    struct device got;
    struct err e;

    for (size_t i = 0; i < 4; i++) {
        stranger_begin(&s, "device", 1);
        head(&s, "msrs", FIELD_U64, counts[i]);
        for (int j = 0; j < 8; j++)
            writer_u64(&s.w, 1);
        assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
        assert_int_equal(got.nmsrs, 0);
    }
    stranger_begin(&s, "device", 1);
    head(&s, "msrs", FIELD_U64, 0);
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), 0);
}

static void a_field_must_not_come_twice(void **state)
{
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 1);
    for (int i = 0; i < 2; i++) {
        head(&s, "msrs", FIELD_U64, 1);
        writer_u64(&s.w, 1);
    }
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
    assert_says(&e, "twice");
}

static void arrays_that_share_a_counter_must_agree(void **state)
{
    struct pair {
        uint32_t used;
        uint32_t index[8];
        uint64_t value[2];
    } got;
    static const struct field fields[] = {
        FIELD_VARRAY(struct pair, FIELD_U32, index, used),
        FIELD_VARRAY(struct pair, FIELD_U64, value, used),
    };
    static STATE_DESC(desc, "pair", 1, struct pair, fields);
    struct stranger s;
    struct err e;

    for (int order = 0; order < 2; order++) {
        stranger_begin(&s, "pair", 1);
        for (int i = 0; i < 2; i++) {
            if (i == order) {
                head(&s, "index", FIELD_U32, 8);
                for (uint32_t j = 0; j < 8; j++)
                    writer_u32(&s.w, j);
            } else {
                head(&s, "value", FIELD_U64, 1);
                writer_u64(&s.w, 1);
            }
        }
        assert_int_equal(stranger_decode(&s, &desc, &got, &e), -EPROTO);
        assert_says(&e, "another count");
    }
}

static void types_must_match_and_exist(void **state)
{
    static const uint8_t bad[] = {0, 7, 0x7f, FIELD_U8 | 0x40};
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "device", 1);
    head(&s, "msrs", FIELD_U32, 1);
    writer_u32(&s.w, 1);
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
    assert_says(&e, "comes as u32, this version has it as u64");
    for (size_t i = 0; i < sizeof(bad); i++) {
        stranger_begin(&s, "device", 1);
        head(&s, "msrs", bad[i], 1);
        writer_u64(&s.w, 1);
        assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
    }
}

static void names_cannot_carry_terminal_codes(void **state)
{
    static const char *const bad[] = {
        "",        "a b",  "a\nb",
        "\x1b[2J", "\xff", "0123456789012345678901234567890123456789012345678901234567890123"};
    struct state_section section;
    struct stranger s;
    struct device got;
    struct reader r;
    struct err e;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        stranger_begin(&s, "device", 1);
        head(&s, bad[i], FIELD_U8 | FIELD_OPTIONAL, 1);
        writer_u8(&s.w, 1);
        assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
        stranger_begin(&s, bad[i], 1);
        reader_init(&r, s.buf.data, s.buf.len);
        assert_int_equal(state_section_next(&r, &section, &e), -EPROTO);
        buf_fini(&s.buf);
    }
}

static void another_devices_section_is_refused(void **state)
{
    struct stranger s;
    struct device got;
    struct err e;

    stranger_begin(&s, "serial", 1);
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
    assert_says(&e, "serial[5] came where device was due");
    stranger_begin(&s, "device", 0);
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
    stranger_begin(&s, "device", 1);
    writer_patch_u32(&s.w, s.nfields_at, UINT32_MAX);
    assert_int_equal(stranger_decode(&s, &var_desc, &got, &e), -EPROTO);
}

/* A struct of version 0 would have every field "newer than the sender", so that none is required.
 */
static void structs_of_version_zero_are_refused(void **state)
{
    static const struct field fields[] = {FIELD_STRUCTS(struct device, inner, &inner_desc)};
    static STATE_DESC(desc, "device", 1, struct device, fields);
    struct stranger s;
    struct device got;
    struct err e;

    for (uint32_t version = 0; version < 2; version++) {
        stranger_begin(&s, "device", 1);
        head(&s, "inner", FIELD_STRUCT, 2);
        writer_u32(&s.w, version);
        writer_u32(&s.w, 0);
        writer_u32(&s.w, 0);
        assert_int_equal(stranger_decode(&s, &desc, &got, &e), -EPROTO);
    }
}

static void build_nest(struct stranger *s, int depth)
{
    stranger_begin(s, "device", 1);
    head(s, "nest", FIELD_STRUCT | FIELD_OPTIONAL, 1);
    for (int i = 1; i < depth; i++) {
        writer_u32(&s->w, 1);
        writer_u32(&s->w, 1);
        writer_string(&s->w, "nest");
        writer_bytes(&s->w, "\x86\0\0\0\x01\0\0\0", 8);
    }
    writer_u32(&s->w, 1);
    writer_u32(&s->w, 0);
}

static void nesting_ends(void **state)
{
    static const struct state_desc none = {
        .name = "device", .version = 1, .size = sizeof(struct device)};
    struct stranger s;
    struct device got;
    struct err e;

    build_nest(&s, STATE_DEPTH_MAX);
    assert_int_equal(stranger_decode(&s, &none, &got, &e), 0);
    build_nest(&s, STATE_DEPTH_MAX + 1);
    assert_int_equal(stranger_decode(&s, &none, &got, &e), -EPROTO);
    build_nest(&s, 100000); /* would be the end of the stack */
    assert_int_equal(stranger_decode(&s, &none, &got, &e), -EPROTO);
    assert_says(&e, "nest deeper than 8");
}

/* Our own mistakes: a table that contradicts itself is refused before it touches memory. */

static int encode_one(struct field f)
{
    struct state_desc d = {
        .name = "device", .version = 1, .size = sizeof(struct device), .fields = &f, .nfields = 1};
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = state_encode(&d, 0, &sample, &b);
    if (ret)
        assert_int_equal(b.len, 0);
    buf_fini(&b);
    return ret;
}

static void tables_that_contradict_themselves_are_refused(void **state)
{
    const struct field good = FIELD(struct device, FIELD_U32, u32);
    struct field f;

    assert_int_equal(encode_one(good), 0);
    f = (struct field)FIELD(struct device, FIELD_U64, u32);
    assert_int_equal(encode_one(f), -EINVAL); /* u64 of a uint32_t */
    f = good, f.offset = sizeof(struct device) - 3;
    assert_int_equal(encode_one(f), -EINVAL);
    f = good, f.count = UINT32_MAX;
    assert_int_equal(encode_one(f), -EINVAL);
    f = good, f.name = "";
    assert_int_equal(encode_one(f), -EINVAL);
    f = good, f.since = 2; /* newer than the table */
    assert_int_equal(encode_one(f), -EINVAL);
    f = good, f.type = FIELD_STRUCT;
    assert_int_equal(encode_one(f), -EINVAL);
    f = good, f.len_offset = sizeof(struct device) - 2;
    assert_int_equal(encode_one(f), -EINVAL);
}

static void a_counter_in_the_table_is_refused(void **state)
{
    static const struct field fields[] = {
        FIELD_VARRAY(struct device, FIELD_U64, msrs, nmsrs),
        FIELD(struct device, FIELD_U32, nmsrs),
    };
    static STATE_DESC(desc, "device", 1, struct device, fields);
    struct stranger s;
    struct device got;
    struct err e;
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(state_encode(&desc, 0, &sample, &b), -EINVAL);
    buf_fini(&b);
    stranger_begin(&s, "device", 1);
    assert_int_equal(stranger_decode(&s, &desc, &got, &e), -EINVAL);
}

static void a_used_count_above_the_array_is_refused(void **state)
{
    struct device value = sample;
    struct buf b;

    value.nmsrs = 4;
    buf_init(&b, 0);
    assert_int_equal(state_encode(&device_desc, 0, &value, &b), -EINVAL);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    buf_init(&b, 100);
    buf_append(&b, "before", 6);
    assert_int_equal(state_encode(&device_desc, 0, &sample, &b), -ENOMEM);
    assert_int_equal(b.len, 6);
    buf_fini(&b);
}

/* Printing */

static void prints_every_field_by_name(void **state)
{
    static const char expected[] = "  u8 = 0x12\n"
                                   "  u16 = 0x3456\n"
                                   "  u32 = 0x789abcde\n"
                                   "  u64 = 0x123456789abcdef0\n"
                                   "  array = 0x1 0x2 0x3 0xffffffff\n"
                                   "  blob = 5 bytes\n"
                                   "    0908070605\n"
                                   "  msrs = 0xc0000080 0x7\n"
                                   "  inner = 2 of version 1\n"
                                   "  [0]\n"
                                   "    a = 0x1\n"
                                   "    b = 0x1 0x2 0x3\n"
                                   "  [1]\n"
                                   "    a = 0x2\n"
                                   "    b = 0x4 0x5 0x6\n";
    struct state_section s;
    struct buf b, text;
    struct reader r;

    buf_init(&b, 0);
    buf_init(&text, 0);
    assert_int_equal(state_encode(&device_desc, 0, &sample, &b), 0);
    reader_init(&r, b.data, b.len);
    assert_int_equal(state_section_next(&r, &s, NULL), 0);
    assert_int_equal(state_print(&s, &r, &text, NULL), 0);
    assert_true(reader_done(&r));
    assert_int_equal(buf_append(&text, "", 1), 0);
    assert_string_equal((char *)text.data, expected);
    reader_init(&r, b.data, b.len);
    state_section_next(&r, &s, NULL);
    assert_int_equal(state_print(&s, &r, NULL, NULL), 0); /* skips */
    assert_true(reader_done(&r));
    buf_fini(&text);
    buf_fini(&b);
}

static void printing_respects_the_buffers_limit(void **state)
{
    struct err e = ERR_INIT;
    struct state_section s;
    struct buf b, text;
    struct reader r;

    buf_init(&b, 0);
    buf_init(&text, 40);
    assert_int_equal(state_encode(&device_desc, 0, &sample, &b), 0);
    reader_init(&r, b.data, b.len);
    state_section_next(&r, &s, NULL);
    assert_int_equal(state_print(&s, &r, &text, &e), -EMSGSIZE);
    assert_int_equal(e.code, -EMSGSIZE);
    buf_fini(&text);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(the_encoding_is_as_documented),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(a_newer_reader_gives_what_is_newer_its_default),
        cmocka_unit_test(a_sender_that_should_have_it_must_send_it),
        cmocka_unit_test(an_older_reader_refuses_what_it_would_lose),
        cmocka_unit_test(what_is_optional_may_be_ignored_whatever_its_shape),
        cmocka_unit_test(shorter_arrays_are_taken_and_longer_refused),
        cmocka_unit_test(counted_structs_and_bytes_come_back),
        cmocka_unit_test(a_count_cannot_pass_its_array),
        cmocka_unit_test(a_field_must_not_come_twice),
        cmocka_unit_test(arrays_that_share_a_counter_must_agree),
        cmocka_unit_test(types_must_match_and_exist),
        cmocka_unit_test(names_cannot_carry_terminal_codes),
        cmocka_unit_test(another_devices_section_is_refused),
        cmocka_unit_test(structs_of_version_zero_are_refused),
        cmocka_unit_test(nesting_ends),
        cmocka_unit_test(tables_that_contradict_themselves_are_refused),
        cmocka_unit_test(a_counter_in_the_table_is_refused),
        cmocka_unit_test(a_used_count_above_the_array_is_refused),
        cmocka_unit_test(prints_every_field_by_name),
        cmocka_unit_test(printing_respects_the_buffers_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
