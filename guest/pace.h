/* Doing something at a steady rate: one step each `interval`. Who falls behind by more than a tenth
 * of a second (a migration's blackout, a starved vCPU) does not make up for it in a burst. */
#ifndef WITNESS_PACE_H
#define WITNESS_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

struct pace {
    uint64_t start;    /* TSC */
    uint64_t interval; /* in 1/256 ticks; 0 = always due */
    uint64_t next;     /* in 1/256 ticks since start */
    bool never;
};

/* `steps` in `ms` milliseconds; steps = 0: never, ms = 0: always. */
static inline void pace_init(struct pace *p, uint64_t now, uint64_t steps, uint64_t ms)
{
    p->start = now;
    p->next = 0;
    p->never = !steps;
    p->interval = steps ? tsc_clock.khz * ms * 256 / steps : 0;
}

static inline bool pace_due(struct pace *p, uint64_t now)
{
    uint64_t at = (now - p->start) << 8;

    if (p->never || at < p->next)
        return false;
    if (at - p->next > tsc_clock.khz * 100 * 256)
        p->next = at;
    p->next += p->interval;
    return true;
}

#endif
