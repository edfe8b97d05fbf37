/*
 * Where pages end up at the destination: which were ever written, what zeros mean for those that
 * were not, when memory in large pages pays, and the digest of what was placed.
 *
 * Lanes use it concurrently, each page by one lane at a time (the round barrier sees to that).
 */
#ifndef GODWIT_MIGRATE_PLACE_H
#define GODWIT_MIGRATE_PLACE_H

#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"
#include "migrate/digest.h"
#include "migrate/view.h"
#include "stream/native/pages.h"

struct place {
    const struct godwit_region *regions;
    uint32_t nregions;
    struct digest *digest;                                                    /* NULL: no hashing */
    void (*dense)(void *opaque, uint32_t region, uint64_t first, uint64_t n); /* or NULL */
    void *opaque;
    struct view view; /* what the source lets be seen */
    uint64_t *received[GODWIT_REGIONS_MAX]; /* pages ever written here: others read as zeros */
};

/* Fills in `received`; the rest is the caller's. */
int place_init(struct place *p, struct err *e);
void place_fini(struct place *p);
uint64_t place_pages(const struct place *p, uint32_t region);
uint8_t *place_at(const struct place *p, uint32_t region, uint64_t page);

/* These data pages are about to be written. runs: of one record, ascending. */
void place_expect(struct place *p, uint32_t region, const struct native_run *runs, uint32_t n);
/* Makes the zero runs among them zeros.  What changes in the digest's root. */
uint64_t place_zeros(struct place *p, uint32_t region, const struct native_run *runs, uint32_t n);
/* These n pages were written just now, the next `ahead` will be soon. What changes in the digest's
 * root. */
uint64_t place_written(struct place *p, uint32_t region, uint64_t first, uint64_t n,
                       uint64_t ahead);

#endif
