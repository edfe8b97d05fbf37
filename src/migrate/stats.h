/*
 * What a side knows about itself, for query-migrate and the progress line.  The migrate thread
 * writes stages and status, lanes add to the counters, anybody reads a copy.
 */
#ifndef GODWIT_MIGRATE_STATS_H
#define GODWIT_MIGRATE_STATS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "godwit/migrate.h"

typedef void (*stats_event_fn)(void *opaque, enum godwit_event_kind kind,
                               const struct godwit_stats *stats);

struct stats {
    /* Added to by lanes and the control channel. */
    atomic_uint_fast64_t transferred, zero_pages, normal_pages, skipped_pages, remaining;
    atomic_uint_fast64_t packed_pages, packed_bytes;
    atomic_uint_fast64_t delta_pages, delta_bytes, delta_hits, delta_misses, delta_overflows;

    pthread_mutex_t lock;  /* guards all below but event and opaque */
    struct godwit_stats s; /* without the counters above */
    uint64_t begun_ns;     /* 0: no migration has begun */
    uint64_t stage_ns;     /* when s.stage was entered; 0: it is over */
    uint64_t at_stop;      /* transferred when the guest stopped; UINT64_MAX: it has not */

    struct godwit_record *record; /* what story.h keeps beside s */
    stats_event_fn event; /* called on the migrate thread, without the lock */
    void *opaque;
};

int stats_init(struct stats *st, stats_event_fn event, void *opaque);
void stats_fini(struct stats *st);
/* Everything back to zero, the clock starts: a migration begins (SETUP, stage HELLO).  Any thread;
 * the event waits for stats_tell_begun, on the migrate thread. */
void stats_begin(struct stats *st);
void stats_tell_begun(struct stats *st);
void stats_stage(struct stats *st, enum godwit_stage stage);
/* error: NULL or the reason. Ending states freeze the clock. */
void stats_status(struct stats *st, enum godwit_status status, const struct err *error);
enum godwit_status stats_get_status(struct stats *st);
/* The guest stops now: what is transferred from here on counts as downtime_bytes. */
void stats_stop(struct stats *st);
void stats_downtime(struct stats *st, uint64_t downtime_ns);
void stats_round(struct stats *st, uint64_t rounds, uint64_t dirty_pages_rate, uint64_t bandwidth,
                 uint64_t expected_downtime_ns);
/* The plan: bytes of all regions, lanes. */
void stats_plan(struct stats *st, uint64_t total, uint32_t lanes);
void stats_state_bytes(struct stats *st, uint64_t bytes);
/* "migration 01234567-...: begins, with tcp:192.0.2.7:4446", or ended, and how. */
void stats_log(struct stats *st, const char *what, const char *peer);
void stats_get(struct stats *st, struct godwit_stats *out);
/* Calls event; on the migrate thread. */
void stats_tell(struct stats *st, enum godwit_event_kind kind);

#endif
