#include "stream/native/packed.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define STAGE "packed"

_Static_assert(NATIVE_PACKED_HEAD_MAX % 8 == 0, "the payload keeps the records' alignment");

size_t native_packed_encode(uint8_t out[NATIVE_PACKED_HEAD_MAX], const struct native_packed *p,
                            const struct native_run *runs)
{
    uint32_t fixed[4] = {htole32(p->region), htole32(p->codec), htole32(p->nruns),
                         htole32(p->packed)};

    memcpy(out + RECORD_HEADER_SIZE, fixed, sizeof(fixed));
    return native_runs_seal(out, NATIVE_PACKED, NATIVE_PACKED_FIXED, runs, p->nruns, p->packed);
}

int native_packed_fixed(const struct record_header *h, const uint8_t fixed[NATIVE_PACKED_FIXED],
                        struct native_packed *p, struct err *e)
{
    struct reader r;

    reader_init(&r, fixed, NATIVE_PACKED_FIXED);
    p->region = reader_u32(&r);
    p->codec = reader_u32(&r);
    p->nruns = reader_u32(&r);
    p->packed = reader_u32(&r);
    if (p->codec == 0 || p->codec >= NATIVE_CODEC_END)
        return err_set(e, -EPROTO, STAGE, "pages are packed by the unknown codec %u", p->codec);
    if (p->nruns == 0 || p->nruns > NATIVE_RUNS_MAX || p->packed > NATIVE_PACKED_BYTES_MAX ||
        h->length != NATIVE_PACKED_FIXED + NATIVE_PACKED_TABLE(p->nruns) + (uint64_t)p->packed)
        return err_set(e, -EPROTO, STAGE,
                       "a record of %" PRIu64 " bytes says it has %u runs (1 to %u are allowed) "
                       "and %u packed bytes (at most %u)",
                       h->length, p->nruns, NATIVE_RUNS_MAX, p->packed, NATIVE_PACKED_BYTES_MAX);
    return 0;
}

int native_packed_table(const struct record_header *h, const uint8_t fixed[NATIVE_PACKED_FIXED],
                        const uint8_t *table, uint64_t npages, struct native_run *runs,
                        uint32_t *data_pages, struct err *e)
{
    struct native_packed p;
    uint64_t data, least;
    int ret;

    *data_pages = 0;
    ret = native_packed_fixed(h, fixed, &p, e);
    if (!ret)
        ret = native_runs_read(h, fixed, NATIVE_PACKED_FIXED, table, p.nruns, npages, runs, e);
    if (ret)
        return ret;
    data = native_runs_data(runs, p.nruns);
    least = p.codec == NATIVE_CODEC_DELTA ? 2 * data : 1;
    if (data == 0 || data > NATIVE_PACKED_DATA_MAX || p.packed < least ||
        p.packed > data * NATIVE_PAGE_SIZE)
        return err_set(e, -EPROTO, STAGE,
                       "%u packed bytes cannot be %" PRIu64 " pages (1 to %u are allowed)",
                       p.packed, data, NATIVE_PACKED_DATA_MAX);
    *data_pages = (uint32_t)data;
    return 0;
}

int native_packed_next(struct reader *r, const uint8_t **difference, size_t *len, struct err *e)
{
    *len = reader_u16(r);
    *difference = reader_view(r, *len);
    if (r->failed)
        return err_set(e, -EPROTO, STAGE, "the differences of some pages are missing");
    return 0;
}
