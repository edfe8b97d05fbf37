#include "stream/native/runs.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "wire/crc.h"
#include "wire/reader.h"

#define STAGE "pages"

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

uint64_t native_runs_data(const struct native_run *runs, uint32_t nruns)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < nruns; i++)
        if (runs[i].kind == NATIVE_RUN_DATA)
            pages += runs[i].count;
    return pages;
}

/* Written in place, not through a buffer: this is the data path, which allocates nothing. */
size_t native_runs_seal(uint8_t *head, uint32_t type, size_t fixed, const struct native_run *runs,
                        uint32_t nruns, uint64_t payload)
{
    size_t body = fixed + NATIVE_RUNS_TABLE(nruns);
    struct record_header h = {.type = type, .length = body + payload};
    uint8_t *p = head + RECORD_HEADER_SIZE + fixed;

    for (uint32_t i = 0; i < nruns; i++, p += NATIVE_RUN_SIZE) {
        put_u64(p, runs[i].first);
        put_u32(p + 8, runs[i].count);
        put_u32(p + 12, runs[i].kind);
    }
    record_header_encode(&h, head);
    put_u32(p, crc32c(0, head, (size_t)(p - head)));
    put_u32(p + 4, 0);
    return RECORD_HEADER_SIZE + body;
}

static int check_crc(const struct record_header *h, const uint8_t *fixed, size_t fixed_len,
                     const uint8_t *table, size_t runs_len, struct err *e)
{
    uint8_t header[RECORD_HEADER_SIZE];
    uint32_t got, want;
    struct reader r;

    reader_init(&r, table + runs_len, 8);
    want = reader_u32(&r);
    record_header_encode(h, header);
    got = crc32c(crc32c(0, header, sizeof(header)), fixed, fixed_len);
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

int native_runs_read(const struct record_header *h, const uint8_t *fixed, size_t fixed_len,
                     const uint8_t *table, uint32_t nruns, uint64_t npages, struct native_run *runs,
                     struct err *e)
{
    size_t runs_len = (size_t)nruns * NATIVE_RUN_SIZE;
    uint64_t next = 0;
    struct reader r;
    int ret;

    ret = check_crc(h, fixed, fixed_len, table, runs_len, e);
    reader_init(&r, table, runs_len);
    for (uint32_t i = 0; i < nruns && !ret; i++)
        ret = read_run(&r, npages, &next, &runs[i], e);
    return ret;
}
