/*
 * The working set: pages swept in order, each stamped with the sweep's generation.
 *
 * A page carries four stamps {page number, generation, check} at places spread over it, and fixed
 * pseudo-random words elsewhere. Before generation g+1 is stamped every stamp must carry exactly g.
 * A page that comes back with an older stamp was lost on the way; a newer one means that the
 * witness's own memory is older than the page; stamps that disagree or fail their check are
 * mangled. Eight of the fixed words, other ones each sweep, are compared too. What is wrong is
 * reported, counted once, and mended.
 */
#ifndef WITNESS_WORKSET_H
#define WITNESS_WORKSET_H

#include <stdbool.h>
#include <stdint.h>

#include "pace.h"

struct cpu;

/* One vCPU's slice of the working set. */
struct workset {
    uint64_t first, end, next; /* pages */
    uint64_t generation;       /* of the pages from next on; those before carry one more */
    uint64_t stamped;          /* pages, ever: the guest's useful work */
    uint64_t lost, newer, mangled, bad_words;
    struct pace pace;
};

/* Fills the vCPU's slice and stamps generation 1. */
void workset_init(struct cpu *c);

/* Checks and stamps one page when one is due; true when it did. */
bool workset_step(struct cpu *c, uint64_t now);

#endif
