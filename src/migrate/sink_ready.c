/*
 * From READY on.  The machine is loaded and paused; only the source's word, or a person's, starts
 * or discards it.  A lost link changes nothing but who has to be waited for.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/sink.h"
#include "migrate/story.h"
#include "stream/native/hello.h"

#define STAGE       "handover"
#define FAREWELL_MS 500

struct vigil {
    uint64_t lost_ns; /* since when there is no link; 0: there is one */
    struct err why;   /* how it was lost */
    bool over;
    uint64_t running_ns; /* when the first vCPU ran; 0: none did */
    uint64_t heard_ns;   /* when COMMIT was heard; 0: it was not */
};

static void lose_link(struct godwit_sink *s, struct vigil *v, const struct err *why)
{
    link_drop(&s->link);
    if (!v->lost_ns)
        v->lost_ns = clock_now_ns();
    v->why = *why;
    handover_sink(&s->state, SINK_LOST);
}

/* ---- the ends ------------------------------------------------------------------------------- */

static void set_unresolved(struct godwit_sink *s, bool unresolved)
{
    pthread_mutex_lock(&s->lock);
    s->unresolved = unresolved;
    if (!unresolved)
        s->word = SINK_WORD_NONE;
    pthread_mutex_unlock(&s->lock);
}

static int run(struct godwit_sink *s, struct vigil *v, struct err *e)
{
    int ret;

    stats_stage(&s->stats, GODWIT_STAGE_RUNNING);
    sink_call_begin(s);
    ret = s->config.ops->run(s->config.opaque, s->was_running, &v->running_ns, e);
    sink_call_end(s);
    if (ret && e->code >= 0)
        err_set_errno(e, ret, STAGE, "the machine could not be started");
    return ret;
}

/* RUNNING, and how long it took: one write. */
static int say_running(struct godwit_sink *s, const struct vigil *v)
{
    struct native_times t = {.kind = NATIVE_TIMES_SWITCH};
    struct native_word w = {.text = ""};
    struct buf b;
    int ret;

    if (s->was_running && v->heard_ns && v->running_ns > v->heard_ns)
        t.own_ns = t.phase_ns[GODWIT_PHASE_RESUME] = v->running_ns - v->heard_ns;
    memcpy(w.token, s->token, sizeof(w.token));
    buf_init(&b, 0);
    ret = native_times_encode(&b, &t);
    if (!ret)
        ret = native_word_encode(&b, NATIVE_RUNNING, &w);
    return link_post(&s->link, &b, ret, NULL);
}

/* The blackout: the source's part, half a round trip, and ours. */
static void account(struct godwit_sink *s, const struct vigil *v)
{
    const struct native_times *t = &s->times;

    if (!s->was_running || !v->heard_ns || v->running_ns < v->heard_ns)
        return;
    for (int i = 0; i < GODWIT_PHASE_RESUME; i++)
        story_phase(&s->stats, (enum godwit_phase)i, t->phase_ns[i]);
    story_phase(&s->stats, GODWIT_PHASE_RESUME, v->running_ns - v->heard_ns);
    if (t->own_ns)
        story_blackout(&s->stats, t->own_ns + t->rtt_ns / 2 + v->running_ns - v->heard_ns,
                       t->rtt_ns);
}

/* What the source finds when it looks at its memory once more. false: the link went before it said
 * so, or it had not looked to the end: that is the last word then. */
static bool hear_verdict(struct godwit_sink *s)
{
    struct link_record rec;
    struct native_times t;
    int ret = 0;

    while (ret >= 0 && link_up(&s->link) && !atomic_load(&s->stop)) {
        ret = link_wait(&s->link, 0, &rec, NULL);
        if (ret <= 0 || rec.type != NATIVE_TIMES)
            continue;
        ret = native_times_decode(rec.body, rec.len, &t, NULL);
        if (ret || t.kind != NATIVE_TIMES_VERDICT || t.verdict == NATIVE_VERDICT_NONE)
            continue;
        story_verified(&s->stats,
                       t.verdict == NATIVE_VERDICT_IDENTICAL ? GODWIT_VERIFIED_IDENTICAL
                                                             : GODWIT_VERIFIED_DIFFERS,
                       t.differs, t.own_ns);
        stats_tell(&s->stats, GODWIT_EVENT_VERIFIED);
        return true;
    }
    story_verified(&s->stats, GODWIT_VERIFIED_UNKNOWN, NULL, 0);
    stats_tell(&s->stats, GODWIT_EVENT_VERIFIED);
    return false;
}

static void ran(struct godwit_sink *s, const struct vigil *v)
{
    handover_sink(&s->state, SINK_RAN);
    stats_downtime(&s->stats, clock_now_ns() - s->state_ns);
    set_unresolved(s, false);
    sink_close_case(s, NATIVE_RUNNING, "");
    if (link_up(&s->link) && say_running(s, v))
        link_drop(&s->link); /* the source comes again, and asks */
    account(s, v);
    atomic_store(&s->stats.remaining, 0);
    stats_stage(&s->stats, GODWIT_STAGE_DONE);
    stats_status(&s->stats, GODWIT_COMPLETED, NULL);
    if (!s->digest || !hear_verdict(s))
        link_farewell(&s->link, FAREWELL_MS);
    link_drop(&s->link);
}

static void drop(struct godwit_sink *s, enum sink_event event, struct err *e)
{
    set_unresolved(s, false);
    sink_drop_case(s, event, e);
}

static void tell_unresolved(struct godwit_sink *s, const struct err *why)
{
    struct err e = *why;

    err_prefix(&e,
               "the machine from %s is ready, but its source is gone and has not said whether "
               "it gave it away; it stays paused here until the source says so or a person "
               "decides",
               s->peer);
    log_error("migrate", "unresolved: %s", e.text);
    set_unresolved(s, true);
    stats_status(&s->stats, GODWIT_UNRESOLVED, &e);
}

/* ---- words ---------------------------------------------------------------------------------- */

static void hear_commit(struct godwit_sink *s, struct vigil *v)
{
    struct err e = ERR_INIT;

    if (handover_sink(&s->state, SINK_COMMIT) != HANDOVER_RUN)
        return;
    v->heard_ns = clock_now_ns();
    v->over = true;
    if (run(s, v, &e))
        drop(s, SINK_FAIL, &e);
    else
        ran(s, v);
}

/* 0, or what makes the link useless. */
static int hear_word(struct godwit_sink *s, struct vigil *v, const struct link_record *rec,
                     struct err *e)
{
    struct native_word w;
    struct err why = ERR_INIT;
    int ret;

    if (rec->type == NATIVE_TIMES)
        return native_times_decode(rec->body, rec->len, &s->times, e);
    if (rec->type != NATIVE_COMMIT && rec->type != NATIVE_ABORT && rec->type != NATIVE_QUERY)
        return err_set(e, -EPROTO, STAGE, "the source sent a %s record to a ready destination",
                       native_type_name(rec->type));
    ret = native_word_decode(rec->body, rec->len, &w, e);
    if (ret)
        return ret;
    if (memcmp(w.token, s->token, sizeof(w.token)))
        return err_set(e, -EPROTO, STAGE, "the source speaks of another migration");
    if (rec->type == NATIVE_QUERY)
        return sink_say(s, NATIVE_READY, "", e);
    if (rec->type == NATIVE_COMMIT) {
        hear_commit(s, v);
        return 0;
    }
    v->over = true;
    err_set(&why, -ECANCELED, STAGE, "called off by the source: %s", w.text);
    drop(s, SINK_ABORT, &why);
    return 0;
}

/* On a person's word; a failure leaves it as it was, for this may be the only copy. */
static void run_on_word(struct godwit_sink *s, struct vigil *v)
{
    struct err e = ERR_INIT;

    if (handover_sink(&s->state, SINK_WORD_RUN) != HANDOVER_RUN)
        return;
    if (run(s, v, &e)) {
        handover_sink(&s->state, SINK_FAIL);
        stats_stage(&s->stats, GODWIT_STAGE_READY);
        tell_unresolved(s, &e);
    } else {
        v->over = true;
        ran(s, v);
    }
}

static void heed_person(struct godwit_sink *s, struct vigil *v)
{
    struct err e = ERR_INIT;
    enum sink_word word;

    pthread_mutex_lock(&s->lock);
    word = s->word;
    pthread_mutex_unlock(&s->lock);
    if (word == SINK_WORD_NONE)
        return;
    if (word == SINK_WORD_FOR_RUN) {
        run_on_word(s, v);
    } else {
        v->over = true;
        err_set(&e, -ECANCELED, STAGE, "a person decided that the machine is given up here");
        drop(s, SINK_WORD_DROP, &e);
    }
    pthread_mutex_lock(&s->lock);
    s->word = SINK_WORD_NONE;
    pthread_mutex_unlock(&s->lock);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* The source is back: the newest link counts. */
static void take_new_link(struct godwit_sink *s, struct vigil *v)
{
    struct channel *c = sink_take_again(s);
    struct err e = ERR_INIT;
    struct godwit_params p;
    struct buf b;
    int ret;

    if (!c)
        return;
    sink_params(s, &p);
    link_attach(&s->link, c, p.link_timeout_ms);
    v->lost_ns = 0;
    buf_init(&b, 0);
    ret = native_welcome_encode(&b);
    ret = link_post(&s->link, &b, ret, &e);
    if (ret)
        lose_link(s, v, &e);
}

static void look_at_clock(struct godwit_sink *s, struct vigil *v)
{
    struct godwit_params p;

    sink_params(s, &p);
    if (s->state == SINK_READY && v->lost_ns &&
        clock_now_ns() >= v->lost_ns + p.handover_timeout_ms * NS_PER_MS) {
        handover_sink(&s->state, SINK_TIMEOUT);
        tell_unresolved(s, &v->why);
    }
}

static void wait_for_source(struct godwit_sink *s, struct vigil *v)
{
    struct link_record rec;
    struct err e = ERR_INIT;
    struct godwit_params p;
    int ret;

    sink_params(s, &p);
    if (!link_has_input(&s->link))
        sink_refuse_early(s);
    if (!link_up(&s->link)) {
        bell_wait(&s->bell,
                  s->state == SINK_READY ? v->lost_ns + p.handover_timeout_ms * NS_PER_MS : 0);
        return;
    }
    ret = link_wait(&s->link, 0, &rec, &e);
    if (ret > 0)
        ret = hear_word(s, v, &rec, &e);
    if (ret < 0 && !atomic_load(&s->stop))
        lose_link(s, v, &e);
}

void sink_ready(struct godwit_sink *s)
{
    struct vigil v = {.lost_ns = 0};
    struct err e = ERR_INIT;

    stats_stage(&s->stats, GODWIT_STAGE_READY);
    if (sink_say(s, NATIVE_READY, "", &e))
        lose_link(s, &v, &e);
    while (!v.over && !atomic_load(&s->stop)) {
        heed_person(s, &v);
        if (v.over)
            break;
        take_new_link(s, &v);
        look_at_clock(s, &v);
        wait_for_source(s, &v);
    }
    /* Not over: sink_free; it stays loaded and paused, which is the monitor's affair now. */
    set_unresolved(s, false);
}
