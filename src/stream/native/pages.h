/*
 * PAGES: runs of pages of one region.  A table says which; the bytes of the data runs follow it,
 * back to back, and are moved by the caller (from guest memory straight to the channel and the
 * other way round), which is why this record has a checksum over header and table only, of its own.
 */
#ifndef GODWIT_STREAM_NATIVE_PAGES_H
#define GODWIT_STREAM_NATIVE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/native/native.h"
#include "stream/native/runs.h"
#include "wire/record.h"

/* Data pages of one record; zero pages are bounded by the region alone. */
#define NATIVE_PAGES_DATA_MAX 4096U

#define NATIVE_PAGES_FIXED        8 /* region, nruns: read these first, they give the table's size */
#define NATIVE_PAGES_TABLE(nruns) NATIVE_RUNS_TABLE(nruns)
#define NATIVE_PAGES_HEAD_MAX                                                                      \
    (RECORD_HEADER_SIZE + NATIVE_PAGES_FIXED + NATIVE_PAGES_TABLE(NATIVE_RUNS_MAX))
#define NATIVE_PAGES_LENGTH_MAX                                                                    \
    (NATIVE_PAGES_HEAD_MAX + (uint64_t)NATIVE_PAGES_DATA_MAX * NATIVE_PAGE_SIZE)

/* Writes header, fixed part and table; returns their length.  1 <= nruns <= NATIVE_RUNS_MAX; runs
 * ascend and do not overlap. */
size_t native_pages_encode(uint8_t out[NATIVE_PAGES_HEAD_MAX], uint32_t region,
                           const struct native_run *runs, uint32_t nruns);
/* Reads the fixed part.  h is the decoded record header. */
int native_pages_fixed(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                       uint32_t *region, uint32_t *nruns, struct err *e);
/* Reads the table (NATIVE_PAGES_TABLE(nruns) bytes) into runs, and checks everything: checksum,
 * order, kinds, every run inside the region's `npages`, and the record's length. */
int native_pages_table(const struct record_header *h, const uint8_t fixed[NATIVE_PAGES_FIXED],
                       const uint8_t *table, uint64_t npages, struct native_run *runs,
                       struct err *e);

#endif
