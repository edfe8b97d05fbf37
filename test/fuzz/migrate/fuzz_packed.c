/*
 * PACKED as a lane reads it: the record, its table, what is packed in it.  The input is one record;
 * its checksum is made right, or nothing behind it would ever be reached.  What unpacks is packed
 * again and must give the same pages, and so must the differences between them.
 */
#include "fuzz.h"

#include <string.h>

#include "migrate/delta.h"
#include "migrate/pack.h"
#include "stream/native/packed.h"
#include "wire/crc.h"

#define REGION_PAGES (1ULL << 20)
#define HEAD         (RECORD_HEADER_SIZE + NATIVE_PACKED_FIXED)

static uint8_t *block(size_t len)
{
    uint8_t *p = calloc(len ? len : 1, 1);

    FUZZ_CHECK(p);
    return p;
}

static void try_unpack(enum godwit_compression codec, const uint8_t *packed, size_t n,
                       uint32_t pages)
{
    size_t len = (size_t)pages * GODWIT_PAGE_SIZE, again;
    uint8_t *out = block(len), *in = block(n), *back = block(len);
    static uint8_t buffer[PACK_BOUND];
    struct packer *p;

    memcpy(in, packed, n);
    FUZZ_CHECK(packer_new(&p, NULL) == 0);
    if (!unpack(p, codec, in, n, out, len, NULL)) {
        again = pack(p, codec, 1, out, len, buffer, len);
        FUZZ_CHECK(again <= len);
        if (again) {
            FUZZ_CHECK(unpack(p, codec, buffer, again, back, len, NULL) == 0);
            FUZZ_CHECK(!memcmp(out, back, len));
        }
    }
    packer_free(p);
    free(out);
    free(in);
    free(back);
}

/* The difference that leads from `before` to `after` does, or there is none. */
static void check_difference(const uint8_t *before, const uint8_t *after)
{
    uint8_t out[DELTA_MAX], page[GODWIT_PAGE_SIZE];
    enum delta_result result;
    struct delta *d;
    size_t len;

    FUZZ_CHECK(delta_new(0, &d, NULL) == 0);
    FUZZ_CHECK(delta_encode(d, 0, 0, before, out, &len) == DELTA_MISS);
    result = delta_encode(d, 0, 0, after, out, &len);
    FUZZ_CHECK((result == DELTA_SAME) == !memcmp(before, after, sizeof(page)));
    if (result == DELTA_FOUND) {
        memcpy(page, before, sizeof(page));
        FUZZ_CHECK(delta_apply(page, out, len, NULL) == 0);
        FUZZ_CHECK(!memcmp(page, after, sizeof(page)));
    }
    delta_free(d);
}

static void try_differences(const uint8_t *packed, size_t n, uint32_t pages)
{
    uint8_t *page = block(GODWIT_PAGE_SIZE), *before = block(GODWIT_PAGE_SIZE), *in;
    const uint8_t *difference;
    struct reader r;
    size_t len;

    reader_init(&r, packed, n);
    for (; pages; pages--) {
        if (native_packed_next(&r, &difference, &len, NULL))
            break;
        in = block(len);
        memcpy(in, difference, len);
        if (!delta_apply(page, in, len, NULL)) {
            check_difference(before, page);
            memcpy(before, page, GODWIT_PAGE_SIZE);
        }
        free(in);
    }
    free(page);
    free(before);
}

/* The checksum of a table of nruns, put where it belongs. */
static void set_checksum(uint8_t *record, uint32_t nruns)
{
    size_t at = HEAD + (size_t)nruns * NATIVE_RUN_SIZE;
    uint32_t crc = crc32c(0, record, at);

    for (unsigned int i = 0; i < 8; i++)
        record[at + i] = i < 4 ? (uint8_t)(crc >> 8 * i) : 0;
}

static void try_record(uint8_t *record, size_t size)
{
    static struct native_run runs[NATIVE_RUNS_MAX];
    static uint8_t head[NATIVE_PACKED_HEAD_MAX];
    const uint8_t *fixed = record + RECORD_HEADER_SIZE, *table = record + HEAD, *bytes;
    struct record_header h;
    struct native_packed p;
    uint32_t pages;
    size_t n;

    if (record_header_decode(record, native_type_max(NATIVE_PACKED), &h, NULL) ||
        native_packed_fixed(&h, fixed, &p, NULL) || size - HEAD < NATIVE_PACKED_TABLE(p.nruns))
        return;
    set_checksum(record, p.nruns);
    if (native_packed_table(&h, fixed, table, REGION_PAGES, runs, &pages, NULL))
        return;
    FUZZ_CHECK(pages > 0 && pages <= PACK_PAGES_MAX);
    bytes = table + NATIVE_PACKED_TABLE(p.nruns);
    n = native_packed_encode(head, &p, runs);
    FUZZ_CHECK(n == (size_t)(bytes - record));
    if (h.type == NATIVE_PACKED && h.flags == 0)
        FUZZ_CHECK(!memcmp(head, record, n));
    if (size - n < p.packed)
        p.packed = (uint32_t)(size - n);
    if (p.codec == NATIVE_CODEC_DELTA)
        try_differences(bytes, p.packed, pages);
    else
        try_unpack(p.codec == NATIVE_CODEC_LZ4 ? GODWIT_COMPRESS_LZ4 : GODWIT_COMPRESS_ZSTD, bytes,
                   p.packed, pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *record;

    if (size < HEAD)
        return 0;
    record = block(size);
    memcpy(record, data, size);
    try_record(record, size);
    free(record);
    return 0;
}
