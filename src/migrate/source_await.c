/*
 * After the commit.  The source may not run; it says COMMIT until somebody who knows answers, on
 * the link it has or on new ones, and says so when that takes long.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "stream/native/words.h"

#define STAGE "handover"

#define BACKOFF_FIRST_NS (20 * NS_PER_MS)
#define BACKOFF_MAX_NS   (1 * NS_PER_S)
#define BACKOFF_SLOW_NS  (2 * NS_PER_S) /* unresolved */
#define FAREWELL_MS      200

struct await {
    uint64_t deadline_ns; /* when it becomes unresolved */
    uint64_t backoff_ns;
    uint64_t retry_ns; /* the next attempt; 0: now */
};

static bool is_unresolved(const struct godwit_source *s)
{
    return s->state == SOURCE_UNRESOLVED;
}

static void set_unresolved(struct godwit_source *s, bool unresolved)
{
    pthread_mutex_lock(&s->lock);
    s->unresolved = unresolved;
    pthread_mutex_unlock(&s->lock);
}

static void close_words(struct godwit_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->over = true;
    s->unresolved = false;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the ends ------------------------------------------------------------------------------- */

static void journal(struct godwit_source *s, enum godwit_journal what)
{
    struct err e = ERR_INIT;

    if (s->config.ops->journal &&
        s->config.ops->journal(s->config.opaque, what, s->token, s->uri, &e))
        log_error("migrate", "journal: %s", e.text);
}

static void stop_tracking(struct godwit_source *s)
{
    source_drop_lanes(s);
    if (s->tracking)
        s->config.ops->dirty_stop(s->config.opaque);
    s->tracking = false;
}

/* It runs there.  That is reported at once: nobody waits for the second look at the memory. */
static void complete(struct godwit_source *s)
{
    bool told;

    atomic_store(&s->stats.remaining, 0);
    journal(s, GODWIT_JOURNAL_COMPLETED);
    source_call_begin(s); /* a lane keeps the link alive: the second look comes after it */
    if (s->config.ops->released)
        s->config.ops->released(s->config.opaque);
    source_call_end(s);
    source_drop_lanes(s);
    stats_stage(&s->stats, GODWIT_STAGE_DONE);
    stats_status(&s->stats, GODWIT_COMPLETED, NULL);
    told = source_verify(s);
    stop_tracking(s);
    s->config.ops->finish(s->config.opaque);
    if (told)
        link_farewell(&s->link, FAREWELL_MS);
}

/* A person said it may be given up. */
static void give_up(struct godwit_source *s, const struct err *why)
{
    atomic_store(&s->stats.remaining, 0);
    journal(s, GODWIT_JOURNAL_COMPLETED);
    stop_tracking(s);
    s->config.ops->finish(s->config.opaque);
    stats_stage(&s->stats, GODWIT_STAGE_DONE);
    stats_status(&s->stats, GODWIT_FAILED, why);
}

static void resume(struct godwit_source *s, const struct err *why)
{
    s->config.ops->resume(s->config.opaque);
    stop_tracking(s);
    journal(s, GODWIT_JOURNAL_ABORT);
    stats_status(&s->stats, GODWIT_FAILED, why);
}

static void tell_unresolved(struct godwit_source *s, const struct err *why)
{
    struct err e = *why;

    set_unresolved(s, true);
    err_prefix(&e,
               "the machine was given to %s, which has not answered whether it runs; it stays "
               "paused here until that is known or a person decides",
               s->uri);
    log_error("migrate", "unresolved: %s", e.text);
    stats_status(&s->stats, GODWIT_UNRESOLVED, &e);
}

/* Does what the table says; true: the end. */
static bool act(struct godwit_source *s, enum source_event event, const struct err *why)
{
    struct err e = ERR_INIT;

    switch (handover_source(&s->state, event)) {
    case HANDOVER_FINISH:
        close_words(s);
        if (event == SOURCE_WORD_DROP)
            give_up(s, why);
        else
            complete(s);
        return true;
    case HANDOVER_RECLAIM:
        set_unresolved(s, false); /* a person's word would not be heeded any more */
        if (s->config.ops->reclaim && s->config.ops->reclaim(s->config.opaque, &e))
            return act(s, SOURCE_FAIL, &e);
        return act(s, SOURCE_RECLAIMED, why);
    case HANDOVER_RESUME:
        resume(s, why);
        return true;
    case HANDOVER_WAIT:
        tell_unresolved(s, why);
        return false;
    default:
        return false;
    }
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Carries out a person's word. WORD_NONE: there was none, or it could not be (yet). */
static enum source_word heed_word(struct godwit_source *s)
{
    struct err why = ERR_INIT;
    enum source_word word;
    bool end;

    pthread_mutex_lock(&s->lock);
    word = s->word;
    atomic_store(&s->hurry, false);
    pthread_mutex_unlock(&s->lock);
    if (word == WORD_NONE)
        return word;
    err_set(&why, -ECANCELED, STAGE, "a person decided that the machine %s here",
            word == WORD_RUN ? "runs" : "is given up");
    end = act(s, word == WORD_RUN ? SOURCE_WORD_RUN : SOURCE_WORD_DROP, &why);
    pthread_mutex_lock(&s->lock);
    s->word = WORD_NONE;
    s->unresolved = !end;
    pthread_mutex_unlock(&s->lock);
    return end ? word : WORD_NONE;
}

/* Its part of the blackout, told just before RUNNING. */
static int hear_times(struct godwit_source *s, const struct link_record *rec, struct err *e)
{
    struct native_times t;
    int ret = native_times_decode(rec->body, rec->len, &t, e);

    if (ret)
        return ret;
    story_phase(&s->stats, GODWIT_PHASE_RESUME, t.phase_ns[GODWIT_PHASE_RESUME]);
    if (t.own_ns && s->own_ns)
        story_blackout(&s->stats, s->own_ns + s->link.rtt_ns / 2 + t.own_ns, s->link.rtt_ns);
    return 0;
}

/* What the destination said. 1: the end; 0: nothing decisive; -errno: useless link. */
static int heed_record(struct godwit_source *s, const struct link_record *rec, struct err *e)
{
    struct native_word w;
    struct err why = ERR_INIT;
    int ret;

    if (rec->type == NATIVE_READY)
        return 0; /* answers a QUERY, or crossed our COMMIT */
    if (rec->type == NATIVE_ERROR) {
        ret = native_error_decode(rec->body, rec->len, e, &why);
        return ret ? ret : e->code;
    }
    if (rec->type == NATIVE_TIMES)
        return hear_times(s, rec, e);
    if (rec->type != NATIVE_RUNNING && rec->type != NATIVE_NEVER_RAN)
        return err_set(e, -EPROTO, STAGE, "the destination answered with a %s record",
                       native_type_name(rec->type));
    ret = native_word_decode(rec->body, rec->len, &w, e);
    if (ret)
        return ret;
    if (memcmp(w.token, s->token, sizeof(w.token)))
        return err_set(e, -EPROTO, STAGE, "the destination speaks of another migration");
    if (rec->type == NATIVE_RUNNING) {
        stats_downtime(&s->stats, clock_now_ns() - s->stopped_ns);
        return act(s, SOURCE_RUNNING, NULL);
    }
    err_set(&why, -ECANCELED, godwit_stage_name(GODWIT_STAGE_RUNNING),
            "the destination did not run the machine: %s", w.text);
    return act(s, SOURCE_NEVER_RAN, &why) ? 1 : -EAGAIN;
}

/* A link, and COMMIT on it. As heed_record. */
static int speak_again(struct godwit_source *s, struct err *e)
{
    uint64_t deadline = clock_now_ns() + 10 * NS_PER_S;
    struct link_record rec;
    int ret = source_seek(s, &s->hurry, deadline, &rec, e);

    if (ret > 0)
        ret = heed_record(s, &rec, e);
    else if (!ret)
        ret = source_say(s, NATIVE_COMMIT, "", e);
    return ret;
}

/* The first time, with how long it took so far: one write. */
static int say_commit(struct godwit_source *s, struct err *e)
{
    struct native_times t = {.kind = NATIVE_TIMES_SWITCH, .rtt_ns = s->link.rtt_ns};
    struct native_word w = {.text = ""};
    uint64_t now = clock_now_ns();
    struct buf b;
    int ret;

    if (s->ready_ns)
        story_phase(&s->stats, GODWIT_PHASE_COMMIT, now - s->ready_ns + s->link.rtt_ns / 2);
    s->own_ns = s->paused_ns ? now - s->paused_ns : 0;
    t.own_ns = s->own_ns;
    story_phases(&s->stats, t.phase_ns);
    memcpy(w.token, s->token, sizeof(w.token));
    buf_init(&b, 0);
    ret = native_times_encode(&b, &t);
    if (!ret)
        ret = native_word_encode(&b, NATIVE_COMMIT, &w);
    return link_post(&s->link, &b, ret, e);
}

static void back_off(const struct godwit_source *s, struct await *a)
{
    uint64_t wait = is_unresolved(s) ? BACKOFF_SLOW_NS : a->backoff_ns;

    a->retry_ns = clock_now_ns() + wait;
    a->backoff_ns = a->backoff_ns * 2 < BACKOFF_MAX_NS ? a->backoff_ns * 2 : BACKOFF_MAX_NS;
}

/* One step of waiting or trying; as heed_record. */
static int step(struct godwit_source *s, struct await *a, struct err *e)
{
    uint64_t deadline = is_unresolved(s) ? 0 : a->deadline_ns;
    struct link_record rec;
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    if (!link_up(&s->link)) {
        if (clock_now_ns() >= a->retry_ns)
            return speak_again(s, e);
        if (!deadline || a->retry_ns < deadline)
            deadline = a->retry_ns;
        bell_wait(&s->bell, deadline);
        return 0;
    }
    ret = link_wait(&s->link, deadline, &rec, e);
    if (ret == -ETIME)
        return 0;
    return ret > 0 ? heed_record(s, &rec, e) : ret;
}

static bool is_left(struct godwit_source *s)
{
    bool left;

    pthread_mutex_lock(&s->lock);
    left = s->leaving && s->word == WORD_NONE;
    pthread_mutex_unlock(&s->lock);
    return left && is_unresolved(s);
}

void source_await(struct godwit_source *s)
{
    struct err e = ERR_INIT;
    struct godwit_params p;
    enum source_word word = WORD_NONE;
    struct await a;
    int ret;

    source_params(s, &p);
    a = (struct await){.deadline_ns = s->committed_ns + p.handover_timeout_ms * NS_PER_MS,
                       .backoff_ns = BACKOFF_FIRST_NS};
    s->link.stop = NULL; /* nobody can cancel any more */
    ret = say_commit(s, &e);
    stats_stage(&s->stats, GODWIT_STAGE_RUNNING);
    while (ret <= 0) {
        if (ret < 0) {
            link_drop(&s->link);
            back_off(s, &a);
        }
        word = heed_word(s);
        if (word != WORD_NONE)
            break;
        if (!is_unresolved(s) && clock_now_ns() >= a.deadline_ns) {
            if (!e.code)
                err_set(&e, -ETIMEDOUT, STAGE, "the link is there, but no answer comes");
            act(s, SOURCE_TIMEOUT, &e);
        }
        if (is_left(s))
            break;
        ret = step(s, &a, &e);
    }
    if (is_unresolved(s)) /* left by godwit_source_free: paused, as it is */
        stop_tracking(s);
    close_words(s);
    /* After a person's word: a destination that comes back must not wait for ever. */
    if (s->state == SOURCE_KEPT && word == WORD_RUN)
        source_tell(s, "a person decided that the machine runs at the source");
}
