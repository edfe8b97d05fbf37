/*
 * PACKED: runs of pages of one region as in PAGES, their data compressed, or as differences from
 * what the destination has.  Data pages are few, so that both sides pack and unpack in the caches;
 * the caller does that (migrate/pack.h, migrate/delta.h).
 */
#ifndef GODWIT_STREAM_NATIVE_PACKED_H
#define GODWIT_STREAM_NATIVE_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/native/native.h"
#include "stream/native/runs.h"
#include "wire/reader.h"
#include "wire/record.h"

#define NATIVE_PACKED_DATA_MAX     64U /* data pages of one record, at least 1 */
#define NATIVE_PACKED_FIXED        16  /* region, codec, nruns, packed bytes: read these first */
#define NATIVE_PACKED_TABLE(nruns) NATIVE_RUNS_TABLE(nruns)
#define NATIVE_PACKED_HEAD_MAX                                                                     \
    (RECORD_HEADER_SIZE + NATIVE_PACKED_FIXED + NATIVE_PACKED_TABLE(NATIVE_RUNS_MAX))
/* Packed bytes of one record: no more than the pages, or they go plain. */
#define NATIVE_PACKED_BYTES_MAX (NATIVE_PACKED_DATA_MAX * NATIVE_PAGE_SIZE)

enum native_codec {
    NATIVE_CODEC_LZ4 = 1, /* one LZ4 block of all data pages, back to back */
    NATIVE_CODEC_ZSTD,    /* the same as one zstd frame */
    NATIVE_CODEC_DELTA,   /* for each data page u16 length and a difference; length 0: unchanged */
    NATIVE_CODEC_END
};

struct native_packed {
    uint32_t region;
    uint32_t codec; /* enum native_codec */
    uint32_t nruns;
    uint32_t packed; /* bytes behind the table; zeros pad them to a multiple of 8 */
};

/* Writes header, fixed part and table; returns their length.  The packed bytes follow, and zeros up
 * to record_padded().  1 <= nruns <= NATIVE_RUNS_MAX; runs ascend and do not overlap. */
size_t native_packed_encode(uint8_t out[NATIVE_PACKED_HEAD_MAX], const struct native_packed *p,
                            const struct native_run *runs);
/* Reads the fixed part, and checks all of it but the region.  h is the decoded record header. */
int native_packed_fixed(const struct record_header *h, const uint8_t fixed[NATIVE_PACKED_FIXED],
                        struct native_packed *p, struct err *e);
/* Reads the table (NATIVE_PACKED_TABLE(nruns) bytes) into runs, and checks everything: checksum,
 * order, kinds, every run inside the region's `npages`, the number of data pages (which it gives)
 * and that so many packed bytes can be theirs. */
int native_packed_table(const struct record_header *h, const uint8_t fixed[NATIVE_PACKED_FIXED],
                        const uint8_t *table, uint64_t npages, struct native_run *runs,
                        uint32_t *data_pages, struct err *e);
/* The next page's difference from the packed bytes of NATIVE_CODEC_DELTA.  After the last one the
 * reader must be done. */
int native_packed_next(struct reader *r, const uint8_t **difference, size_t *len, struct err *e);

#endif
