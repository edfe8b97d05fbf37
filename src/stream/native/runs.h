/*
 * The table of runs that PAGES and PACKED have in common: which pages of a region the record is
 * about.  It is covered, with the header and the fixed part before it, by a checksum of its own
 * that ends it: the bytes of the pages are not.
 */
#ifndef GODWIT_STREAM_NATIVE_RUNS_H
#define GODWIT_STREAM_NATIVE_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/record.h"

#define NATIVE_RUNS_MAX 1000 /* with the table itself they fit one writev (IOV_MAX) */
#define NATIVE_RUN_SIZE 16   /* first page, count, kind */
/* The table: the runs, the checksum, 4 zero bytes. */
#define NATIVE_RUNS_TABLE(nruns) ((size_t)(nruns)*NATIVE_RUN_SIZE + 8)

enum native_run_kind { NATIVE_RUN_DATA, NATIVE_RUN_ZERO, NATIVE_RUN_KIND_COUNT };

struct native_run {
    uint64_t first; /* page of the region */
    uint32_t count; /* pages, not 0 */
    uint32_t kind;
};

/* Pages of the data runs. */
uint64_t native_runs_data(const struct native_run *runs, uint32_t nruns);
/* Ends a head of which the fixed part (`fixed` bytes behind the record's header) is written: the
 * table goes behind it, the header of this type with `payload` bytes behind the table before it.
 * Returns the head's length. */
size_t native_runs_seal(uint8_t *head, uint32_t type, size_t fixed, const struct native_run *runs,
                        uint32_t nruns, uint64_t payload);
/* Reads the table (NATIVE_RUNS_TABLE(nruns) bytes) into runs, and checks it: checksum, order,
 * kinds, every run inside the region's `npages`.  nruns is at most NATIVE_RUNS_MAX, fixed the
 * body's fixed_len bytes before it. */
int native_runs_read(const struct record_header *h, const uint8_t *fixed, size_t fixed_len,
                     const uint8_t *table, uint32_t nruns, uint64_t npages, struct native_run *runs,
                     struct err *e);

#endif
