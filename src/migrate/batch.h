/*
 * One PAGES record in the making: pages of one region, told zero from data, gathered as runs and as
 * the iovec that sends them straight from guest memory.  Allocates nothing; belongs to one lane.
 *
 * A record ends at the border of a 2 MiB block where it can, so that the destination sees of each
 * block how much of it there is before it writes any (dense in godwit/migrate.h).
 */
#ifndef GODWIT_MIGRATE_BATCH_H
#define GODWIT_MIGRATE_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "godwit/migrate.h"
#include "migrate/digest.h"
#include "stream/native/pages.h"

#define BATCH_BLOCK_PAGES 512U
/* From here on a batch is full at the next border; 2 MiB are long enough for the channel. */
#define BATCH_PAGES     BATCH_BLOCK_PAGES
#define BATCH_PAGES_MAX (BATCH_PAGES + BATCH_BLOCK_PAGES - 1)

struct batch {
    const struct godwit_region *region;
    uint32_t pages_max, runs_max;
    uint32_t nruns;
    uint32_t data_pages, zero_pages;
    struct native_run runs[NATIVE_RUNS_MAX];
    struct iovec iov[1 + NATIVE_RUNS_MAX]; /* [0]: the head */
    int niov;
    size_t head_len;
    bool seen; /* the destination takes the data itself */
    bool digested;                        /* zero pages are in the digest, and */
    uint32_t hashed, hash_run, hash_page; /* so many data pages; the next one's run, and place */
    uint8_t head[NATIVE_PAGES_HEAD_MAX];
};

/* Room for `pages` data pages (BATCH_PAGES, which may become BATCH_PAGES_MAX, or less than a block)
 * and so many runs. */
void batch_begin(struct batch *b, const struct godwit_region *region, uint32_t pages,
                 uint32_t runs);
/* Adds pages [first, end), looking at each; returns the first one for which there was no room. */
uint64_t batch_scan(struct batch *b, uint64_t first, uint64_t end);
static inline bool batch_empty(const struct batch *b)
{
    return b->nruns == 0;
}
/* Writes the head; iov[0..niov) is then the record. Returns its bytes, those of the data included,
 * which are not in iov where they are seen. */
size_t batch_seal(struct batch *b);
/* Hashes the data pages that the first `bytes` of the sealed record touch, as far as that was not
 * done before, and with the first call all zero pages.  What changes in the digest's root. */
uint64_t batch_digest(struct batch *b, struct digest *d, size_t bytes);

#endif
