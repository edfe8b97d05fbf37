/* The first bytes are a program of reads, the rest what is read; the cursor must stay inside. */
#include "fuzz.h"

#include <string.h>

#include "wire/reader.h"

static void step(struct reader *r, uint8_t op, uint8_t arg)
{
    size_t left = reader_left(r);
    const uint8_t *p;
    char text[80];
    uint8_t bytes[256];

    switch (op % 8) {
    case 0:
        reader_u8(r);
        break;
    case 1:
        reader_u16(r);
        break;
    case 2:
        reader_u32(r);
        break;
    case 3:
        reader_u64(r);
        break;
    case 4:
        memset(bytes, 0xaa, sizeof(bytes));
        reader_bytes(r, bytes, arg);
        for (size_t i = 0; r->failed && i < arg; i++)
            FUZZ_CHECK(bytes[i] == 0);
        break;
    case 5:
        p = reader_view(r, arg);
        FUZZ_CHECK(p ? p >= r->data && p + arg <= r->data + r->len : r->failed);
        break;
    case 6:
        memset(text, 'x', sizeof(text));
        reader_string(r, text, 1 + arg % sizeof(text));
        FUZZ_CHECK(strlen(text) <= arg % sizeof(text));
        break;
    default:
        reader_align(r, (size_t)1 << arg % 13);
        FUZZ_CHECK(r->failed || r->pos % ((size_t)1 << arg % 13) == 0);
        break;
    }
    FUZZ_CHECK(r->pos <= r->len && reader_left(r) <= left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t ops = size ? data[0] % 32U * 2 : 0;
    struct reader r;
    bool failed;

    if (size < 1 + ops)
        return 0;
    reader_init(&r, data + 1 + ops, size - 1 - ops);
    for (size_t i = 0; i < ops; i += 2) {
        failed = r.failed;
        step(&r, data[1 + i], data[2 + i]);
        FUZZ_CHECK(!failed || r.failed); /* errors stick */
    }
    FUZZ_CHECK(!r.failed || !reader_done(&r));
    return 0;
}
