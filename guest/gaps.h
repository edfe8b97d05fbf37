/*
 * When did the guest not run? Every vCPU looks at the TSC at each step of its work.
 *
 * Theory of operation. Two kinds of gap are kept. A vCPU's own gap lies between two consecutive
 * looks of that vCPU; with more vCPUs than cores it shows the host's scheduling as well. A blackout
 * is a gap in which no vCPU made progress: all of them push one shared word forward, and whoever
 * moves it by much has seen the end of a blackout. A gap is marked as the host's when the KVM clock
 * carries the "stopped" flag at its end: that is the one that spans a migration's switch (or a
 * stop/cont). Every vCPU gets the flag, but only the first to look ends the gap; a later one may
 * have been kept off its core for a while more, which is no part of the stop. Each figure is kept
 * for the current period and since the last reset.
 *
 * Each vCPU writes only its own struct gaps; the boot processor reads them all. It starts a new
 * period by moving an epoch on: a vCPU that meets a new epoch begins afresh in the other slot, so
 * that the finished one can be read in peace. A gap belongs to the period in which it ended.
 */
#ifndef WITNESS_GAPS_H
#define WITNESS_GAPS_H

#include <stdint.h>

#include "clock.h"
#include "x86.h"

#define GAP_BUCKETS 12

struct gap {
    uint64_t ticks, start;
};

struct gap_slot {
    uint32_t epoch;
    uint32_t stops;      /* stops of the machine whose end this vCPU was the first to see */
    struct gap own;      /* the longest between two looks of this vCPU */
    struct gap blackout; /* the longest in which no vCPU made progress, seen by this one */
    struct gap stop;     /* the longest blackout that carried the host's flag */
    uint32_t histogram[GAP_BUCKETS]; /* of own gaps: < 16 µs, then each bucket four times wider */
};

struct gaps {
    uint64_t last; /* TSC of the last look */
    uint64_t looks;
    uint64_t tsc_back;              /* looks that found the TSC behind this vCPU's own last look */
    uint64_t tsc_cross, cross_most; /* ... behind another vCPU's, and by how much */
    struct gap_slot period[2], total;
    struct pvclock pvclock;
};

/* What all vCPUs share; each word on its own cache line. */
struct gaps_shared {
    uint64_t progress __attribute__((aligned(64)));
    uint64_t stop_seen __attribute__((aligned(64))); /* TSC at which the last stop's end was seen */
    uint32_t epoch __attribute__((aligned(64)));
    uint32_t reset_epoch;
    uint32_t worth_noting; /* ticks: gaps below are not looked at closer */
};

extern struct gaps_shared gaps_shared;

/* Boot processor, once the clock is known. */
void gaps_init(void);
void gaps_start(struct gaps *g);

/* Boot processor: ends the period (or, for totals, forgets all); returns the epoch that ended. */
uint32_t gaps_next_period(void);
void gaps_reset(void);

/* The slots as they may be read: all zero when the vCPU has nothing of that epoch. */
struct gap_slot gaps_of_period(const struct gaps *g, uint32_t epoch);
struct gap_slot gaps_of_total(const struct gaps *g);

/* The slow half of gaps_look(). */
void gaps_note(struct gaps *g, uint64_t seen, uint64_t now);
void gaps_tsc_back(struct gaps *g, uint64_t now);

/* One look; returns the TSC. */
static inline uint64_t gaps_look(struct gaps *g)
{
    uint64_t seen = __atomic_load_n(&gaps_shared.progress, __ATOMIC_ACQUIRE);
    uint64_t now = tsc_now();

    g->looks++;
    if (now < g->last || now < seen)
        gaps_tsc_back(g, now);
    else if (now - seen > gaps_shared.worth_noting || now - g->last > gaps_shared.worth_noting)
        gaps_note(g, seen, now);
    g->last = now;
    return now;
}

#endif
