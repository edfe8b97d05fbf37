#include "gaps.h"

#define WORTH_NOTING_US 5

struct gaps_shared gaps_shared;

void gaps_init(void)
{
    gaps_shared.worth_noting = (uint32_t)ticks_of_us(WORTH_NOTING_US);
    gaps_shared.epoch = gaps_shared.reset_epoch = 1; /* 0 marks an unused slot */
    gaps_shared.progress = tsc_now();
}

void gaps_start(struct gaps *g)
{
    g->last = tsc_now();
}

static void enter_epoch(struct gap_slot *s, uint32_t epoch)
{
    if (s->epoch == epoch)
        return;
    *s = (struct gap_slot){.epoch = epoch};
}

static void keep_longest(struct gap *longest, uint64_t start, uint64_t end)
{
    if (end - start > longest->ticks)
        *longest = (struct gap){end - start, start};
}

static unsigned bucket_of(uint64_t ticks)
{
    uint64_t us = us_of_ticks(ticks);
    unsigned b = 0;

    for (us >>= 4; us && b < GAP_BUCKETS - 1; us >>= 2)
        b++;
    return b;
}

static void note_own(struct gap_slot *s, uint64_t start, uint64_t end)
{
    keep_longest(&s->own, start, end);
    s->histogram[bucket_of(end - start)]++;
}

static void note_stop(struct gap_slot *s, uint64_t start, uint64_t end)
{
    s->stops++;
    keep_longest(&s->stop, start, end);
}

/*
 * True for the one vCPU that sees the end of a stop first. The stop came after this vCPU's last
 * look; if another has seen one since, it was this one. Runs before progress is moved on, so that
 * whoever finds progress moved also finds the stop taken.
 */
static bool ends_stop(struct gaps *g, uint64_t now)
{
    uint64_t before = __atomic_load_n(&gaps_shared.stop_seen, __ATOMIC_ACQUIRE);

    return clock_was_stopped(&g->pvclock) && before <= g->last &&
           __atomic_compare_exchange_n(&gaps_shared.stop_seen, &before, now, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void gaps_note(struct gaps *g, uint64_t seen, uint64_t now)
{
    uint32_t epoch = __atomic_load_n(&gaps_shared.epoch, __ATOMIC_ACQUIRE);
    struct gap_slot *period = &g->period[epoch & 1];

    enter_epoch(period, epoch);
    enter_epoch(&g->total, __atomic_load_n(&gaps_shared.reset_epoch, __ATOMIC_ACQUIRE));
    if (ends_stop(g, now)) {
        note_stop(period, seen, now);
        note_stop(&g->total, seen, now);
    }
    if (now - g->last > gaps_shared.worth_noting) {
        note_own(period, g->last, now);
        note_own(&g->total, g->last, now);
    }
    if (now - seen > gaps_shared.worth_noting &&
        __atomic_compare_exchange_n(&gaps_shared.progress, &seen, now, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
        keep_longest(&period->blackout, seen, now);
        keep_longest(&g->total.blackout, seen, now);
    }
}

void gaps_tsc_back(struct gaps *g, uint64_t now)
{
    uint64_t seen = __atomic_load_n(&gaps_shared.progress, __ATOMIC_ACQUIRE);

    clock_was_stopped(&g->pvclock); /* no gap can be measured: the flag must not mark a later one */
    if (now < g->last) {
        g->tsc_back++;
        __atomic_store_n(&gaps_shared.progress, now, __ATOMIC_RELEASE);
        __atomic_store_n(&gaps_shared.stop_seen, 0, __ATOMIC_RELEASE);
        return;
    }
    g->tsc_cross++;
    if (seen > now && seen - now > g->cross_most)
        g->cross_most = seen - now;
}

uint32_t gaps_next_period(void)
{
    return __atomic_fetch_add(&gaps_shared.epoch, 1, __ATOMIC_ACQ_REL);
}

void gaps_reset(void)
{
    __atomic_fetch_add(&gaps_shared.reset_epoch, 1, __ATOMIC_ACQ_REL);
}

static struct gap_slot slot_if(const struct gap_slot *s, uint32_t epoch)
{
    return s->epoch == epoch ? *s : (struct gap_slot){.epoch = epoch};
}

struct gap_slot gaps_of_period(const struct gaps *g, uint32_t epoch)
{
    return slot_if(&g->period[epoch & 1], epoch);
}

struct gap_slot gaps_of_total(const struct gaps *g)
{
    return slot_if(&g->total, gaps_shared.reset_epoch);
}
