#include "stream/native/pages.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "wire/crc.h"
#include "wire/reader.h"

#define STAGE "pages"

_Static_assert(NATIVE_PAGES_HEAD_MAX % 8 == 0, "the payload keeps the records' alignment");

static void put_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

static void put_u64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

/* Written in place, not through a buffer: this is the data path, which allocates nothing. */
size_t native_pages_encode(uint8_t out[NATIVE_PAGES_HEAD_MAX], uint32_t region,
                           const struct native_run *runs, uint32_t nruns)
{
    struct record_header h = {.type = NATIVE_PAGES};
    size_t len = RECORD_HEADER_SIZE + NATIVE_PAGES_FIXED + NATIVE_PAGES_TABLE(nruns);
    uint8_t *p = out + RECORD_HEADER_SIZE;
    uint64_t data = 0;

    put_u32(p, region);
    put_u32(p + 4, nruns);
    p += NATIVE_PAGES_FIXED;
    for (uint32_t i = 0; i < nruns; i++, p += NATIVE_RUN_SIZE) {
        put_u64(p, runs[i].first);
        put_u32(p + 8, runs[i].count);
        put_u32(p + 12, runs[i].kind);
        if (runs[i].kind == NATIVE_RUN_DATA)
            data += runs[i].count;
    }
    h.length = len - RECORD_HEADER_SIZE + data * NATIVE_PAGE_SIZE;
    record_header_encode(&h, out);
    put_u32(p, crc32c(0, out, (size_t)(p - out)));
    put_u32(p + 4, 0);
    return len;
}

int native_pages_fixed(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                       uint32_t *region, uint32_t *nruns, struct err *e)
{
    struct reader r;

    reader_init(&r, fixed, NATIVE_PAGES_FIXED);
    *region = reader_u32(&r);
    *nruns = reader_u32(&r);
    if (*nruns == 0 || *nruns > NATIVE_RUNS_MAX ||
        h->length < NATIVE_PAGES_FIXED + NATIVE_PAGES_TABLE(*nruns))
        return err_set(e, -EPROTO, STAGE,
                       "a record of %" PRIu64 " bytes says it has %u runs (1 to %u are allowed)",
                       h->length, *nruns, NATIVE_RUNS_MAX);
    return 0;
}

static int check_crc(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                     const uint8_t *table, size_t runs_len, struct err *e)
{
    uint8_t header[RECORD_HEADER_SIZE];
    uint32_t got, want;
    struct reader r;

    reader_init(&r, table + runs_len, 8);
    want = reader_u32(&r);
    record_header_encode(h, header);
    got = crc32c(crc32c(0, header, sizeof(header)), fixed, NATIVE_PAGES_FIXED);
    got = crc32c(got, table, runs_len);
    if (got != want || reader_u32(&r) != 0)
        return err_set(e, -EBADMSG, STAGE,
                       "a table has checksum 0x%08x, its content gives 0x%08x: damaged on the way",
                       want, got);
    return 0;
}

static int read_run(struct reader *r, uint64_t npages, uint64_t *next, struct native_run *run,
                    struct err *e)
{
    run->first = reader_u64(r);
    run->count = reader_u32(r);
    run->kind = reader_u32(r);
    if (run->kind >= NATIVE_RUN_KIND_COUNT)
        return err_set(e, -EPROTO, STAGE, "a run is of the unknown kind %u", run->kind);
    if (run->count == 0 || run->first < *next || run->first >= npages ||
        run->count > npages - run->first)
        return err_set(e, -EPROTO, STAGE,
                       "a run of %u pages at page %" PRIu64 " is out of order or outside its "
                       "region of %" PRIu64 " pages",
                       run->count, run->first, npages);
    *next = run->first + run->count;
    return 0;
}

int native_pages_table(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                       const uint8_t *table, uint64_t npages, struct native_run *runs,
                       struct err *e)
{
    uint64_t next = 0, data = 0, want;
    uint32_t region, nruns;
    struct reader r;
    int ret;

    ret = native_pages_fixed(h, fixed, &region, &nruns, e);
    if (!ret)
        ret = check_crc(h, fixed, table, (size_t)nruns * NATIVE_RUN_SIZE, e);
    if (ret)
        return ret;
    reader_init(&r, table, (size_t)nruns * NATIVE_RUN_SIZE);
    for (uint32_t i = 0; i < nruns; i++) {
        ret = read_run(&r, npages, &next, &runs[i], e);
        if (ret)
            return ret;
        if (runs[i].kind == NATIVE_RUN_DATA)
            data += runs[i].count;
    }
    want = NATIVE_PAGES_FIXED + NATIVE_PAGES_TABLE(nruns) + data * NATIVE_PAGE_SIZE;
    if (data > NATIVE_PAGES_DATA_MAX || h->length != want)
        return err_set(e, -EPROTO, STAGE,
                       "a record of %" PRIu64 " bytes has a table for %" PRIu64 " (%" PRIu64
                       " data pages, at most %u)",
                       h->length, want, data, NATIVE_PAGES_DATA_MAX);
    return 0;
}
