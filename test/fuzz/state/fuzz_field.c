/*
 * A section from a stranger, printed, skipped and decoded into a table with every kind of field.
 * What decodes must keep its counters inside its arrays, and encode and decode again to the same.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "state/field.h"

struct inner {
    uint16_t a;
    uint8_t b[6];
};

struct outer {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint64_t array[4];
    uint8_t blob[16];
    uint32_t used; /* of var and pairs */
    uint32_t var[5];
    struct inner pairs[3];
    struct inner one[1];
    uint32_t newer;
};

static const struct field inner_fields[] = {
    FIELD(struct inner, FIELD_U16, a),
    FIELD_ARRAY(struct inner, FIELD_U8, b),
};
static STATE_DESC(inner_desc, "inner", 1, struct inner, inner_fields);

static const struct field outer_fields[] = {
    FIELD(struct outer, FIELD_U8, u8),
    FIELD(struct outer, FIELD_U16, u16),
    FIELD(struct outer, FIELD_U32, u32),
    FIELD(struct outer, FIELD_U64, u64),
    FIELD_ARRAY(struct outer, FIELD_U64, array),
    FIELD_BLOB(struct outer, blob),
    FIELD_VARRAY(struct outer, FIELD_U32, var, used),
    {.name = "pairs",
                                          .type = FIELD_STRUCT,
                                          .offset = offsetof(struct outer, pairs),
                                          .count = 3,
                                          .size = sizeof(struct inner),
                                          .len_offset = offsetof(struct outer, used),
                                          .since = 1,
                                          .sub = &inner_desc},
    FIELD_STRUCTS(struct outer, one, &inner_desc),
    {.name = "newer",
                                          .type = FIELD_U32,
                                          .offset = offsetof(struct outer,               newer),
                                          .count = 1,
                                          .size = 4,
                                          .len_offset = -1,
                                          .since = 2,
                                          .wire_flags = FIELD_OPTIONAL},
};
static STATE_DESC(outer_desc, "outer", 2, struct outer, outer_fields);

static void print_and_skip(const struct state_section *s, struct reader r)
{
    struct err e = ERR_INIT;
    struct reader skip = r;
    struct buf text;
    int printed, skipped;

    buf_init(&text, 8 << 20);
    printed = state_print(s, &r, &text, &e);
    skipped = state_print(s, &skip, NULL, &e);
    FUZZ_CHECK(printed == -EMSGSIZE || (printed == skipped && r.pos == skip.pos));
    buf_fini(&text);
}

static void decode(const struct state_section *s, struct reader r)
{
    struct err e = ERR_INIT;
    struct state_section again_s;
    struct outer state, again;
    struct reader again_r;
    struct buf bytes;

    memset(&state, 0xaa, sizeof(state));
    if (state_decode(&outer_desc, s, &r, &state, &e)) {
        FUZZ_CHECK(e.code && e.text[0]);
        return;
    }
    FUZZ_CHECK(state.used <= 3);
    buf_init(&bytes, 0);
    FUZZ_CHECK(!state_encode(&outer_desc, s->instance, &state, &bytes));
    reader_init(&again_r, bytes.data, bytes.len);
    FUZZ_CHECK(!state_section_next(&again_r, &again_s, NULL));
    FUZZ_CHECK(!state_decode(&outer_desc, &again_s, &again_r, &again, NULL));
    FUZZ_CHECK(reader_done(&again_r) && !memcmp(&state, &again, sizeof(state)));
    buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state_section s;
    struct reader r;

    reader_init(&r, data, size);
    if (state_section_next(&r, &s, NULL))
        return 0;
    print_and_skip(&s, r);
    decode(&s, r);
    return 0;
}
