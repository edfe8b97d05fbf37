/* stop, state, ready, commit: the guest is paused, every line counts. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "stream/native/words.h"

#define STAGE     "stop"
#define FRAME_MAX 4096
/* A held guest's deadline is looked at so often. */
#define HOLD_LOOK_NS (100 * NS_PER_MS)

/* The guest is paused for no longer than is allowed, or was predicted when more was asked for, plus
 * ready-timeout.  What a person took to say `continue` does not count. */
static uint64_t patience_ends(struct godwit_source *s)
{
    struct godwit_params p;
    uint64_t expected;

    source_params(s, &p);
    expected = p.downtime_limit_ms * NS_PER_MS;
    if (s->predicted_ns > expected)
        expected = s->predicted_ns + s->predicted_ns / 4;
    return s->hurried_ns + expected + p.ready_timeout_ms * NS_PER_MS;
}

/* Of which vCPUs have been stopped for the longest, of which devices were waited for. */
static void tell_stopped(struct godwit_source *s, const struct godwit_stopped *stopped)
{
    uint64_t now = clock_now_ns();

    s->paused_ns = stopped->paused_ns;
    if (s->paused_ns < s->stopped_ns || s->paused_ns > now)
        s->paused_ns = s->stopped_ns; /* it was not running */
    story_phase(&s->stats, GODWIT_PHASE_PAUSE, s->paused_ns - s->stopped_ns);
    story_phase(&s->stats, GODWIT_PHASE_DRAIN, now - s->paused_ns);
}

static int stop_guest(struct godwit_source *s, bool *was_running, struct err *e)
{
    struct godwit_stopped stopped = {.was_running = false};
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_STOP);
    stats_stop(&s->stats);
    story_predict(&s->stats, s->predicted_ns, 0);
    s->stopped_ns = s->hurried_ns = clock_now_ns();
    source_call_begin(s);
    ret = s->config.ops->stop(s->config.opaque, &stopped, e);
    source_call_end(s);
    *was_running = stopped.was_running;
    if (ret)
        return ret;
    handover_source(&s->state, SOURCE_STOP);
    tell_stopped(s, &stopped);
    return 0;
}

static bool is_held(struct godwit_source *s)
{
    bool held;

    pthread_mutex_lock(&s->lock);
    held = s->holding;
    pthread_mutex_unlock(&s->lock);
    return held;
}

/* pause_before_switchover: until a person, or who watches for one, says `continue`. */
static int hold(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;
    int ret = 0;

    source_params(s, &p);
    if (!p.pause_before_switchover)
        return 0;
    pthread_mutex_lock(&s->lock);
    s->holding = true;
    pthread_mutex_unlock(&s->lock);
    stats_status(&s->stats, GODWIT_PRE_SWITCHOVER, NULL);
    while (!ret && is_held(s)) {
        ret = source_listen(s, clock_now_ns() + HOLD_LOOK_NS, e);
        if (!ret || ret == -ETIME)
            ret = source_heed_deadline(s, "and the guest is held before the switch", e);
    }
    pthread_mutex_lock(&s->lock);
    s->holding = false;
    pthread_mutex_unlock(&s->lock);
    if (ret)
        return ret;
    s->hurried_ns = clock_now_ns();
    stats_status(&s->stats, GODWIT_ACTIVE, NULL);
    return 0;
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

static int save_state(struct godwit_source *s, struct buf *state, struct err *e)
{
    uint64_t began = clock_now_ns();
    int ret;

    source_call_begin(s);
    ret = s->config.ops->save_state(s->config.opaque, state, e);
    source_call_end(s);
    if (ret)
        return ret;
    if (state->len > GODWIT_STATE_MAX)
        return err_set(e, -EMSGSIZE, STAGE, "the state has %zu bytes, at most %u are allowed",
                       state->len, GODWIT_STATE_MAX);
    story_phase(&s->stats, GODWIT_PHASE_STATE, clock_now_ns() - began);
    return 0;
}

/* The state goes out on the control channel while the lanes send the last pages. */
static int move_state(struct godwit_source *s, bool was_running, uint64_t *last_log_ns,
                      struct err *e)
{
    struct buf state;
    uint64_t pages;
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_STATE);
    buf_init(&state, GODWIT_STATE_MAX);
    ret = save_state(s, &state, e);
    *last_log_ns = clock_now_ns();
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

/* Pages until all were sent, what READY was waited for after that is loading. */
static void tell_ready(struct godwit_source *s, uint64_t last_log_ns)
{
    struct godwit_stats st;
    uint64_t sent;

    stats_get(&s->stats, &st);
    sent = s->stats.begun_ns + st.stages[GODWIT_STAGE_READY].start_ns;
    story_phase(&s->stats, GODWIT_PHASE_LAST_PAGES, sent - last_log_ns);
    s->ready_ns = clock_now_ns();
    story_phase(&s->stats, GODWIT_PHASE_STATE, s->ready_ns - sent);
}

static int await_ready(struct godwit_source *s, uint64_t last_log_ns, struct err *e)
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
    if (!ret)
        tell_ready(s, last_log_ns);
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
    uint64_t last_log_ns;
    int ret;

    ret = stop_guest(s, &was_running, e);
    if (!ret)
        ret = hold(s, e);
    if (!ret)
        ret = move_state(s, was_running, &last_log_ns, e);
    if (!ret)
        ret = await_ready(s, last_log_ns, e);
    return ret ? ret : commit(s, e);
}
