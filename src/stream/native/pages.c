#include "stream/native/pages.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "wire/reader.h"

#define STAGE "pages"

_Static_assert(NATIVE_PAGES_HEAD_MAX % 8 == 0, "the payload keeps the records' alignment");

size_t native_pages_encode(uint8_t out[NATIVE_PAGES_HEAD_MAX], uint32_t region,
                           const struct native_run *runs, uint32_t nruns)
{
    uint32_t fixed[2] = {htole32(region), htole32(nruns)};

    memcpy(out + RECORD_HEADER_SIZE, fixed, sizeof(fixed));
    return native_runs_seal(out, NATIVE_PAGES, NATIVE_PAGES_FIXED, runs, nruns,
                            native_runs_data(runs, nruns) * NATIVE_PAGE_SIZE);
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

int native_pages_table(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                       const uint8_t *table, uint64_t npages, struct native_run *runs,
                       struct err *e)
{
    uint32_t region, nruns;
    uint64_t data, want;
    int ret;

    ret = native_pages_fixed(h, fixed, &region, &nruns, e);
    if (!ret)
        ret = native_runs_read(h, fixed, NATIVE_PAGES_FIXED, table, nruns, npages, runs, e);
    if (ret)
        return ret;
    data = native_runs_data(runs, nruns);
    want = NATIVE_PAGES_FIXED + NATIVE_PAGES_TABLE(nruns) +
           (h->type == NATIVE_SEEN ? 0 : data * NATIVE_PAGE_SIZE);
    if (data > NATIVE_PAGES_DATA_MAX || h->length != want)
        return err_set(e, -EPROTO, STAGE,
                       "a record of %" PRIu64 " bytes has a table for %" PRIu64 " (%" PRIu64
                       " data pages, at most %u)",
                       h->length, want, data, NATIVE_PAGES_DATA_MAX);
    return 0;
}
