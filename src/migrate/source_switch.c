/* stop, state, ready, commit: the guest is paused, every line counts. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "stream/native/words.h"

#define STAGE     "stop"
#define FRAME_MAX 4096

/* The guest is paused for no longer than was predicted plus ready-timeout. */
static uint64_t patience_ends(struct godwit_source *s)
{
    struct godwit_params p;

    source_params(s, &p);
    return s->stopped_ns + (p.downtime_limit_ms + p.ready_timeout_ms) * NS_PER_MS;
}

static int stop_guest(struct godwit_source *s, bool *was_running, struct err *e)
{
    struct godwit_stopped stopped = {.was_running = false};
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_STOP);
    stats_stop(&s->stats);
    s->stopped_ns = clock_now_ns();
    source_call_begin(s);
    ret = s->config.ops->stop(s->config.opaque, &stopped, e);
    source_call_end(s);
    *was_running = stopped.was_running;
    if (!ret)
        handover_source(&s->state, SOURCE_STOP);
    return ret;
}

static int send_state(struct godwit_source *s, const struct buf *state, bool was_running,
                      struct err *e)
{
    struct native_state v = {.sequence = s->sequence,
                             .was_running = was_running,
                             .data = state->data,
                             .len = state->len};
    struct buf b;
    int ret;

    buf_init(&b, GODWIT_STATE_MAX + FRAME_MAX);
    ret = native_state_encode(&b, &v);
    stats_state_bytes(&s->stats, state->len);
    s->state_sent = true; /* even a write that fails may have delivered all of it */
    return link_post(&s->link, &b, ret, e);
}

/* The state goes out on the control channel while the lanes send the last pages. */
static int move_state(struct godwit_source *s, bool was_running, struct err *e)
{
    struct buf state;
    uint64_t pages;
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_STATE);
    buf_init(&state, GODWIT_STATE_MAX);
    source_call_begin(s);
    ret = s->config.ops->save_state(s->config.opaque, &state, e);
    source_call_end(s);
    if (!ret && state.len > GODWIT_STATE_MAX)
        ret = err_set(e, -EMSGSIZE, STAGE, "the state has %zu bytes, at most %u are allowed",
                      state.len, GODWIT_STATE_MAX);
    if (!ret)
        ret = source_sync(s, &pages, e);
    if (!ret) {
        atomic_store(&s->stats.remaining, pages * GODWIT_PAGE_SIZE);
        source_go(s, false, true);
        s->link.send_by_ns = patience_ends(s);
        ret = send_state(s, &state, was_running, e);
    }
    buf_fini(&state);
    return ret;
}

static int await_ready(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;
    int ret = source_wait_ready(s, patience_ends(s), e);

    s->link.send_by_ns = 0;
    source_params(s, &p);
    if (ret == -ETIMEDOUT)
        err_prefix(e,
                   "the destination was not ready in time (downtime-limit %u ms + ready-timeout "
                   "%u ms)",
                   p.downtime_limit_ms, p.ready_timeout_ms);
    return ret;
}

/* From here on cancel comes too late; unless it came before. */
static int close_cancel(struct godwit_source *s)
{
    int ret;

    pthread_mutex_lock(&s->lock);
    ret = s->asked ? -ECANCELED : 0;
    s->committed = !ret;
    pthread_mutex_unlock(&s->lock);
    return ret;
}

static int commit(struct godwit_source *s, struct err *e)
{
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_COMMIT);
    ret = close_cancel(s);
    if (ret)
        return ret;
    source_call_begin(s);
    ret = s->config.ops->commit(s->config.opaque, e);
    source_call_end(s);
    if (ret)
        return ret;
    handover_source(&s->state, SOURCE_COMMIT);
    s->committed_ns = clock_now_ns();
    return 0;
}

int source_switch(struct godwit_source *s, struct err *e)
{
    bool was_running = false;
    int ret;

    ret = stop_guest(s, &was_running, e);
    if (!ret)
        ret = move_state(s, was_running, e);
    if (!ret)
        ret = await_ready(s, e);
    return ret ? ret : commit(s, e);
}
