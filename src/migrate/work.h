/*
 * What a job has to do: the pages that are due, a bit for each, handed out to the lanes in chunks.
 * Who took which chunk stays known until the next job begins, so that what a cut link swallowed can
 * be due again.
 *
 * The migrate thread has it between jobs, the lanes during one; each chunk is one lane's.
 */
#ifndef GODWIT_MIGRATE_WORK_H
#define GODWIT_MIGRATE_WORK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"

struct work_claim {
    uint64_t records; /* page records of the lane when all of the chunk was in them */
    uint32_t lane;
    uint32_t job; /* claims of earlier jobs count no more */
};

struct work {
    const struct godwit_region *regions;
    uint32_t nregions, lanes;
    uint64_t *due[GODWIT_REGIONS_MAX];
    uint64_t *taken[GODWIT_REGIONS_MAX]; /* of claimed chunks: what was due in them */
    struct work_claim *claims;           /* one a chunk */
    uint32_t job;

    /* Constant during a job. */
    uint32_t chunk; /* pages; a power of two, at least one word of the bitmap */
    uint64_t chunks_before[GODWIT_REGIONS_MAX + 1];
    atomic_uint_fast64_t cursor; /* the first chunk that nobody has */
};

struct work_chunk {
    const struct godwit_region *region;
    uint64_t first, n; /* pages: multiples of 64, n also up to the region's end */
    uint64_t *bits;    /* what is to be sent of it; bit 0: `first` */
    struct work_claim *claim;
};

int work_init(struct work *w, const struct godwit_region *regions, uint32_t nregions,
              uint32_t lanes, struct err *e);
void work_fini(struct work *w);
void work_begin(struct work *w, bool first);
/* The next chunk in which something is due; none of it is due any more. false: none is left. */
bool work_next(struct work *w, uint32_t lane, struct work_chunk *out);
/* Pages that turned out not to be worth sending: not to be due again, whatever happens. */
void work_skip(const struct work_chunk *c, uint64_t first, uint64_t n);
/* All of the chunk is in the lane's first `records` page records of this job. */
void work_put(const struct work_chunk *c, uint64_t records);
/* Of the job that began last, the destination has the first records[i] records of lane i (of n
 * lanes; UINT64_MAX: everything).  What else was taken is due again. Pages that became so. */
uint64_t work_restore(struct work *w, const uint64_t *records, uint32_t n);

#endif
