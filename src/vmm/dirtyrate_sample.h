/*
 * Page sampling: hashes of pages chosen at random, before and after.  A sample that has changed
 * stands for as many pages as there are to a sample.  In steps, since it runs on the main loop and
 * must not keep it: 64 GiB have 32,768 samples.
 */
#ifndef GODWIT_VMM_DIRTYRATE_SAMPLE_H
#define GODWIT_VMM_DIRTYRATE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/guest_mem.h"

struct samples {
    const struct guest_mem *mem;
    uint32_t n, at, changed;
    uint32_t *pages;  /* NULL: not begun */
    uint64_t *hashes; /* as they were */
};

/* -ENOMEM */
int samples_init(struct samples *s, const struct guest_mem *mem, uint32_t per_gib);
void samples_fini(struct samples *s);
/* One step of the first (the second) look at them; true: it was the last. */
bool samples_take(struct samples *s);
bool samples_compare(struct samples *s);
/* What has changed, in bytes of the whole memory. */
uint64_t samples_changed_bytes(const struct samples *s);

#endif
