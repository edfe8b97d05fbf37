/*
 * Who is held back, and by how much.  Percentages are of a vCPU's time.  Where the monitor knows
 * what each vCPU dirties, the ones that dirty most are held back first, down to one common rate;
 * the others do not notice.  Where it knows only the sum, all are treated alike.
 *
 * Arithmetic over one struct, and throttle_tell, which brings it to the monitor.  The migrate
 * thread only.
 */
#ifndef GODWIT_MIGRATE_THROTTLE_H
#define GODWIT_MIGRATE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "godwit/migrate.h"

#define THROTTLE_VCPUS_MAX 256U
#define THROTTLE_MAX       99U /* percent */

struct throttle {
    uint32_t n;                          /* vCPUs that are told apart; 0: all are one */
    uint64_t rates[THROTTLE_VCPUS_MAX];  /* bytes/s at the percentages below; [0] alone if n is 0 */
    uint8_t percent[THROTTLE_VCPUS_MAX]; /* wanted */
    uint8_t told[THROTTLE_VCPUS_MAX];    /* what the monitor was told ... */
    uint32_t told_n;                     /* ... when n was this */
};

void throttle_init(struct throttle *t);
/* What each of n vCPUs dirtied, bytes/s; n 0: rates[0] is the sum.  When n changes all are set free
 * first. */
void throttle_rates(struct throttle *t, const uint64_t *rates, uint32_t n);
/* Lowers the dirtying, as it would be without any throttle, by `percent`; nobody is withheld more
 * than `ceiling`. */
void throttle_spread(struct throttle *t, uint32_t percent, uint32_t ceiling);
/* One step towards no vCPU dirtying more than limit bytes/s. */
void throttle_hold(struct throttle *t, uint64_t limit);
void throttle_clamp(struct throttle *t, uint32_t ceiling);
void throttle_free_all(struct throttle *t); /* everybody */
/* The part of the dirtying that is held back: 0 .. 1. */
double throttle_withheld(const struct throttle *t);
/* Percent, of whoever is throttled most. */
uint32_t throttle_top(const struct throttle *t);
/* "vCPU 1 60 %, vCPU 3 12 %", "all vCPUs 20 %", "nobody" */
void throttle_words(const struct throttle *t, char *out, size_t cap);
/* Tells the monitor what has changed since it was told last. */
void throttle_tell(struct throttle *t, const struct godwit_source_ops *ops, void *opaque);

#endif
