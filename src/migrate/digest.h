/*
 * Memory proven identical.  Each side keeps one XXH3 hash for every page it has sent (placed); their
 * order-independent sum, kept up to date as pages go by, is one number that must be the same on both
 * sides when all is there.  Where it is not, sums over blocks of pages lead to the page.
 *
 * A page of zeros has the hash 0, and so has one that was never sent: a table is born correct, and
 * 64 GiB of nothing cost nothing.  Tables take 8 bytes a page (0.2 %), only where pages were.
 *
 * Lanes update concurrently, each page by one lane at a time (the round barrier sees to that).
 */
#ifndef GODWIT_MIGRATE_DIGEST_H
#define GODWIT_MIGRATE_DIGEST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"

#define DIGEST_BLOCK_PAGES 512U /* what a block sum covers */

struct digest {
    uint32_t nregions;
    uint64_t pages[GODWIT_REGIONS_MAX];
    uint64_t *hashes[GODWIT_REGIONS_MAX]; /* mapped, populated by use */
    atomic_uint_fast64_t root; /* what lanes have added up */
};

int digest_init(struct digest *d, const struct godwit_region *regions, uint32_t n, struct err *e);
void digest_fini(struct digest *d);

/* The hash of one page; 0 for zeros and for nothing else.  XXH3, by the widest vectors there are. */
uint64_t digest_hash(const void *page);
/* What changes in the root when page `page` of the region has this hash from now on; the lane adds
 * such changes up and gives them to digest_add now and then, at the latest before its MARK. */
uint64_t digest_set(struct digest *d, uint32_t region, uint64_t page, uint64_t hash);
void digest_add(struct digest *d, uint64_t change);
uint64_t digest_root(struct digest *d);

/* ---- where two digests differ ---- */
uint64_t digest_blocks(const struct digest *d, uint32_t region);
/* The sum over pages [first, first + n), the region's end at most; and over one block. */
uint64_t digest_sum(const struct digest *d, uint32_t region, uint64_t first, uint64_t n);
uint64_t digest_block(const struct digest *d, uint32_t region, uint64_t block);
/* The first page in [first, first + n) of memory whose hash is not the table's; UINT64_MAX: none.
 * Every page is read, and reading a hole of a file fills it: leave out what was never touched, whose
 * table must say 0 (digest_block of it is 0). */
uint64_t digest_check(const struct digest *d, const struct godwit_region *r, uint64_t first,
                      uint64_t n);

#endif
