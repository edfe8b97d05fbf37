/* A stream of records: what passes every check must be exactly what record_append writes. */
#include "fuzz.h"

#include <string.h>

#include "wire/record.h"

#define RECORD_MAX 65536

/* One record at data; its whole size, 0 when it is refused or cut short. */
static size_t one(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct record_header h;
    size_t body_len, total;
    struct buf again;

    if (size < RECORD_HEADER_SIZE)
        return 0;
    if (record_header_decode(data, RECORD_MAX, &h, &e)) {
        FUZZ_CHECK(e.code && e.text[0]);
        return 0;
    }
    FUZZ_CHECK(h.length <= RECORD_MAX && record_padded(h.length) >= h.length);
    total = RECORD_HEADER_SIZE + (size_t)record_padded(h.length);
    if (total > size || record_check(&h, data + RECORD_HEADER_SIZE, &body_len, &e))
        return total <= size ? total : 0;
    buf_init(&again, 0);
    FUZZ_CHECK(!record_append(&again, h.type, h.flags, data + RECORD_HEADER_SIZE, body_len));
    FUZZ_CHECK(again.len == total && !memcmp(again.data, data, total));
    buf_fini(&again);
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;

    for (; (n = one(data, size)) > 0; data += n, size -= n)
        ;
    return 0;
}
