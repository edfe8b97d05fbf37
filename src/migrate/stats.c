#include "migrate/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

int stats_init(struct stats *st, stats_event_fn event, void *opaque)
{
    *st = (struct stats){.event = event, .opaque = opaque, .at_stop = UINT64_MAX};
    st->record = calloc(1, sizeof(*st->record));
    if (!st->record)
        return -ENOMEM;
    return -pthread_mutex_init(&st->lock, NULL);
}

void stats_fini(struct stats *st)
{
    pthread_mutex_destroy(&st->lock);
    free(st->record);
}

/* With the lock held. */
static void copy(struct stats *st, struct godwit_stats *out)
{
    uint64_t now = clock_now_ns();

    *out = st->s;
    out->transferred = atomic_load(&st->transferred);
    out->zero_pages = atomic_load(&st->zero_pages);
    out->normal_pages = atomic_load(&st->normal_pages);
    out->skipped_pages = atomic_load(&st->skipped_pages);
    out->remaining = atomic_load(&st->remaining);
    out->packed_pages = atomic_load(&st->packed_pages);
    out->packed_bytes = atomic_load(&st->packed_bytes);
    out->delta_pages = atomic_load(&st->delta_pages);
    out->delta_bytes = atomic_load(&st->delta_bytes);
    out->delta_hits = atomic_load(&st->delta_hits);
    out->delta_misses = atomic_load(&st->delta_misses);
    out->delta_overflows = atomic_load(&st->delta_overflows);
    if (st->at_stop == UINT64_MAX) {
        out->precopy_bytes = out->transferred;
    } else {
        out->precopy_bytes = st->at_stop;
        out->downtime_bytes = out->transferred - st->at_stop;
    }
    if (st->stage_ns) {
        out->stages[out->stage].duration_ns = now - st->stage_ns;
        out->total_ns = now - st->begun_ns;
    }
}

void stats_get(struct stats *st, struct godwit_stats *out)
{
    pthread_mutex_lock(&st->lock);
    copy(st, out);
    pthread_mutex_unlock(&st->lock);
}

void stats_tell(struct stats *st, enum godwit_event_kind kind)
{
    struct godwit_stats now;

    if (!st->event)
        return;
    stats_get(st, &now);
    st->event(st->opaque, kind, &now);
}

/* With the lock held. */
static void enter(struct stats *st, enum godwit_stage stage)
{
    uint64_t now = clock_now_ns();

    if (st->stage_ns)
        st->s.stages[st->s.stage].duration_ns = now - st->stage_ns;
    st->s.stage = stage;
    st->s.stages[stage].start_ns = now - st->begun_ns;
    st->stage_ns = now;
    if (stage == GODWIT_STAGE_PRECOPY)
        st->s.setup_ns = now - st->begun_ns;
}

static void clear_counters(struct stats *st)
{
    atomic_uint_fast64_t *all[] = {
        &st->transferred,  &st->zero_pages,   &st->normal_pages, &st->skipped_pages,
        &st->remaining,    &st->packed_pages, &st->packed_bytes, &st->delta_pages,
        &st->delta_bytes,  &st->delta_hits,   &st->delta_misses, &st->delta_overflows,
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        atomic_store(all[i], 0);
}

void stats_begin(struct stats *st)
{
    pthread_mutex_lock(&st->lock);
    clear_counters(st);
    st->s = (struct godwit_stats){.status = GODWIT_SETUP};
    memset(st->record, 0, sizeof(*st->record));
    st->begun_ns = clock_now_ns();
    st->stage_ns = 0;
    st->at_stop = UINT64_MAX;
    enter(st, GODWIT_STAGE_HELLO);
    pthread_mutex_unlock(&st->lock);
}

void stats_tell_begun(struct stats *st)
{
    stats_tell(st, GODWIT_EVENT_STATUS);
    stats_tell(st, GODWIT_EVENT_STAGE);
}

void stats_stage(struct stats *st, enum godwit_stage stage)
{
    pthread_mutex_lock(&st->lock);
    enter(st, stage);
    pthread_mutex_unlock(&st->lock);
    stats_tell(st, GODWIT_EVENT_STAGE);
}

static int is_end(enum godwit_status s)
{
    return s == GODWIT_COMPLETED || s == GODWIT_FAILED || s == GODWIT_CANCELED;
}

void stats_status(struct stats *st, enum godwit_status status, const struct err *error)
{
    uint64_t now = clock_now_ns();

    pthread_mutex_lock(&st->lock);
    if (is_end(status) && st->stage_ns) {
        st->s.stages[st->s.stage].duration_ns = now - st->stage_ns;
        st->s.total_ns = now - st->begun_ns;
        st->stage_ns = 0;
    }
    st->s.status = status;
    if (error)
        st->s.error = *error;
    else if (status == GODWIT_COMPLETED)
        st->s.error = (struct err){.code = 0};
    pthread_mutex_unlock(&st->lock);
    stats_tell(st, GODWIT_EVENT_STATUS);
}

enum godwit_status stats_get_status(struct stats *st)
{
    enum godwit_status s;

    pthread_mutex_lock(&st->lock);
    s = st->s.status;
    pthread_mutex_unlock(&st->lock);
    return s;
}

void stats_stop(struct stats *st)
{
    pthread_mutex_lock(&st->lock);
    st->at_stop = atomic_load(&st->transferred);
    pthread_mutex_unlock(&st->lock);
}

void stats_downtime(struct stats *st, uint64_t downtime_ns)
{
    pthread_mutex_lock(&st->lock);
    st->s.downtime_ns = downtime_ns;
    pthread_mutex_unlock(&st->lock);
}

void stats_round(struct stats *st, uint64_t rounds, uint64_t dirty_pages_rate, uint64_t bandwidth,
                 uint64_t expected_downtime_ns)
{
    pthread_mutex_lock(&st->lock);
    st->s.rounds = rounds;
    st->s.dirty_pages_rate = dirty_pages_rate;
    st->s.bandwidth = bandwidth;
    st->s.expected_downtime_ns = expected_downtime_ns;
    pthread_mutex_unlock(&st->lock);
    stats_tell(st, GODWIT_EVENT_ROUND);
}

void stats_plan(struct stats *st, uint64_t total, uint32_t lanes)
{
    pthread_mutex_lock(&st->lock);
    st->s.total = total;
    st->s.lanes = lanes;
    pthread_mutex_unlock(&st->lock);
}

void stats_log(struct stats *st, const char *what, const char *peer)
{
    struct godwit_stats s;

    stats_get(st, &s);
    if (s.status == GODWIT_SETUP)
        log_info("migrate", "migration %s %s: %s", s.id, what, peer);
    else
        log_info("migrate", "migration %s %s: %s%s%s", s.id, what, godwit_status_name(s.status),
                 s.error.code ? ": " : "", s.error.code ? s.error.text : "");
}

void stats_state_bytes(struct stats *st, uint64_t bytes)
{
    pthread_mutex_lock(&st->lock);
    st->s.state_bytes = bytes;
    pthread_mutex_unlock(&st->lock);
}
