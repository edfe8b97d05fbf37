#include "migrate/intent.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "migrate/converge_choice.h"

#define SURE 2 /* syncs above the limit before a guest is called not converging */
/* A throttle is taken off again when so many rounds will do without it. */
#define RELEASE_ROUNDS 6U
/* A throttle that only makes the last blackout shorter must do so by a fifth. */
#define WORTH 0.8
/* The model may be wrong about what the most that is allowed can do: it is tried, and goes on for
 * as long as the set shrinks by a twentieth at least once in so many syncs. */
#define STUCK 3
/* After that it is left alone for a while; each time longer. */
#define PATIENCE     4U
#define PATIENCE_MAX 64U

#define MB(bytes)   ((bytes) / 1000000)
#define MS(ns)      ((double)(ns) / (double)NS_PER_MS)
#define SECONDS(ns) ((double)(ns) / (double)NS_PER_S)

void intent_init(struct intent *in)
{
    *in = (struct intent){.state = INTENT_UNKNOWN};
    throttle_init(&in->throttle);
}

__attribute__((format(printf, 3, 4))) static void say(struct intent_plan *out, const char *what,
                                                      const char *why, ...)
{
    struct intent_say *s;
    va_list args;

    if (out->nsays == INTENT_SAYS_MAX)
        out->nsays--;
    s = &out->says[out->nsays++];
    s->what = what;
    va_start(args, why);
    vsnprintf(s->why, sizeof(s->why), why, args);
    va_end(args);
}

uint32_t intent_ceiling(const struct godwit_params *p)
{
    uint32_t c = p->max_slowdown;

    if (p->auto_converge && p->throttle_max > c)
        c = p->throttle_max;
    return c < THROTTLE_MAX ? c : THROTTLE_MAX;
}

static uint64_t limit_ns(const struct intent_view *v)
{
    return v->params->downtime_limit_ms * NS_PER_MS;
}

/* Of the time that is left until the deadline; UINT64_MAX: there is none. */
static uint64_t left_ns(const struct intent_view *v)
{
    uint64_t deadline = v->params->deadline_s * NS_PER_S;

    if (!deadline)
        return UINT64_MAX;
    return deadline > v->elapsed_ns ? deadline - v->elapsed_ns : 0;
}

static uint64_t seen_rate(const struct converge *c, const struct intent_view *v)
{
    return v->interval_ns
               ? (uint64_t)(SECONDS(NS_PER_S) * (double)v->dirty / SECONDS(v->interval_ns))
               : (uint64_t)c->rate;
}

static uint64_t link_rate(const struct converge *c)
{
    return c->cap && c->cap < c->bandwidth ? c->cap : c->bandwidth;
}

/* ---- what is withheld ----------------------------------------------------------------------- */

/* QEMU's parameters are the least first step, and the least further one. */
static uint32_t step_up(const struct intent *in, const struct godwit_params *p, uint32_t percent,
                        uint32_t ceiling)
{
    uint32_t least = 0;

    if (p->auto_converge && percent > in->percent)
        least = in->percent ? in->percent + p->throttle_increment : p->throttle_initial;
    if (percent < least)
        percent = least;
    return percent < ceiling ? percent : ceiling;
}

static void release(struct intent *in, struct intent_plan *out, const char *why)
{
    if (throttle_top(&in->throttle))
        say(out, "release", "%s", why);
    throttle_free_all(&in->throttle);
    in->percent = 0;
}

/* ---- not converging ------------------------------------------------------------------------- */

static void say_not_converging(struct intent *in, const struct converge *c,
                               const struct intent_view *v, const struct converge_forecast *f,
                               struct intent_plan *out)
{
    if (in->state == INTENT_NOT_CONVERGING)
        return;
    in->state = INTENT_NOT_CONVERGING;
    if (f->reached)
        say(out, "too-slow",
            "it dirties %" PRIu64 " MB/s, the link takes %" PRIu64
            " MB/s: the limit of %u ms is %.1f s away, the deadline %.1f s",
            MB(seen_rate(c, v)), MB(link_rate(c)), v->params->downtime_limit_ms, SECONDS(f->ns),
            SECONDS(left_ns(v)));
    else
        say(out, "not-converging",
            "it dirties %" PRIu64 " MB/s, the link takes %" PRIu64 " MB/s: %" PRIu64
            " MB are left, no blackout below %.1f ms is to be had, %u ms are allowed",
            MB(seen_rate(c, v)), MB(link_rate(c)), MB(v->dirty), MS(f->blackout_ns),
            v->params->downtime_limit_ms);
}

static void say_throttle(const struct intent *in, const struct converge *c,
                         const struct intent_view *v, const struct converge_forecast *f,
                         struct intent_plan *out)
{
    char who[96];

    throttle_words(&in->throttle, who, sizeof(who));
    if (f->reached)
        say(out, "throttle",
            "%s: it dirties %" PRIu64 " MB/s, the link takes %" PRIu64
            " MB/s; so the limit is %.1f s away",
            who, MB(seen_rate(c, v)), MB(link_rate(c)), SECONDS(f->ns));
    else
        say(out, "throttle",
            "%s: it dirties %" PRIu64 " MB/s, the link takes %" PRIu64
            " MB/s; the blackout comes down to %.1f ms, no further",
            who, MB(seen_rate(c, v)), MB(link_rate(c)), MS(f->blackout_ns));
}

static void say_futile(const struct intent_view *v, const struct converge_choice *best,
                       uint32_t ceiling, struct intent_plan *out)
{
    if (best->needed)
        say(out, "no-throttle",
            "%u %% would be needed, max-slowdown allows %u %%: allow more (or auto-converge), a "
            "longer downtime-limit than %u ms, or on-timeout suspend",
            best->needed, ceiling, v->params->downtime_limit_ms);
    else
        say(out, "no-throttle",
            "none would bring the blackout down to %u ms: allow a longer downtime-limit, or "
            "on-timeout suspend",
            v->params->downtime_limit_ms);
}

/* Nothing within the ceiling reaches the limit in the end.  Is it of use all the same? */
static bool helps(const struct converge *c, const struct intent_view *v, uint32_t ceiling,
                  const struct converge_forecast *without, struct converge_forecast *with)
{
    converge_forecast(c, v->dirty, ceiling / 100.0, limit_ns(v), with);
    if (v->params->auto_converge)
        return true;
    return v->params->deadline_s &&
           (double)with->blackout_ns < WORTH * (double)without->blackout_ns;
}

/* Even by what was seen last, with no bend in it, the link would not get ahead of the guest. */
static bool hopeless(const struct intent *in, const struct converge *c, const struct intent_view *v,
                     uint32_t ceiling)
{
    double rate = (double)seen_rate(c, v) / (1 - throttle_withheld(&in->throttle));

    return rate * (100.0 - ceiling) / 100 >= (double)link_rate(c);
}

static bool still_shrinks(struct intent *in, uint64_t dirty)
{
    if (!in->percent || dirty < in->least - in->least / 20) {
        in->least = dirty;
        in->stuck = 0;
    } else {
        in->stuck++;
    }
    return in->stuck < STUCK;
}

static void give_up(struct intent *in, const struct intent_view *v,
                    const struct converge_choice *best, uint32_t ceiling, struct intent_plan *out)
{
    unsigned wait = PATIENCE << (in->futile < 8 ? in->futile : 8);

    release(in, out, "what is left does not shrink with it");
    if (!in->futile)
        say_futile(v, best, ceiling, out);
    in->futile++;
    in->patience = wait < PATIENCE_MAX ? wait : PATIENCE_MAX;
}

static void throttle(struct intent *in, const struct converge *c, const struct intent_view *v,
                     const struct converge_forecast *without, struct intent_plan *out)
{
    uint32_t ceiling = intent_ceiling(v->params), percent;
    const struct converge_goal goal = {
        .dirty = v->dirty, .limit_ns = limit_ns(v), .left_ns = left_ns(v), .ceiling = ceiling};
    bool shrinks = still_shrinks(in, v->dirty);
    struct converge_choice best;

    converge_choose(c, &goal, &best);
    percent = best.percent;
    if (converge_is_fine(c, &goal, &best, in->percent))
        percent = in->percent;
    else if (!percent && (helps(c, v, ceiling, without, &best.forecast) ||
                          (shrinks && !hopeless(in, c, v, ceiling))))
        percent = ceiling;
    if (!percent) {
        give_up(in, v, &best, ceiling, out);
        return;
    }
    percent = step_up(in, v->params, percent, ceiling);
    throttle_spread(&in->throttle, percent, ceiling);
    if (percent != in->percent)
        say_throttle(in, c, v, &best.forecast, out);
    in->percent = percent;
}

static uint64_t hold_limit(const struct intent *in, const struct godwit_params *p, uint32_t nvcpus)
{
    return in->throttle.n ? p->vcpu_dirty_limit : p->vcpu_dirty_limit * (nvcpus ? nvcpus : 1);
}

static void hold(struct intent *in, const struct intent_view *v, struct intent_plan *out)
{
    if (!in->holding) {
        in->holding = true;
        in->percent = 0;
        say(out, "dirty-limit", "every vCPU is held at %" PRIu64 " MB/s from now on",
            MB(v->params->vcpu_dirty_limit));
    }
    throttle_hold(&in->throttle, hold_limit(in, v->params, v->nvcpus));
}

static void help(struct intent *in, const struct converge *c, const struct intent_view *v,
                 const struct converge_forecast *f, struct intent_plan *out)
{
    if (converge_bound(c, 0) > limit_ns(v)) {
        if (in->state != INTENT_NOT_CONVERGING)
            say(out, "limit-too-low",
                "pausing, saving, loading and the round trips take %.1f ms by themselves, %u ms "
                "are "
                "allowed",
                MS(converge_bound(c, 0)), v->params->downtime_limit_ms);
        in->state = INTENT_NOT_CONVERGING;
        release(in, out, "it is of no use");
        return;
    }
    say_not_converging(in, c, v, f, out);
    if (!v->can_throttle)
        return;
    if (v->params->dirty_limit)
        hold(in, v, out);
    else if (in->patience)
        in->patience--;
    else
        throttle(in, c, v, f, out);
}

/* ---- the judgement -------------------------------------------------------------------------- */

static void converging(struct intent *in, const struct converge *c, const struct intent_view *v,
                       const struct converge_forecast *f, struct intent_plan *out)
{
    bool hardly = in->state == INTENT_NOT_CONVERGING && f->rounds > RELEASE_ROUNDS;

    if (in->holding)
        hold(in, v, out);
    else if (hardly) /* by the latest round alone: things stay as they are */
        throttle_spread(&in->throttle, in->percent, intent_ceiling(v->params));
    else
        release(in, out, "rounds will do without it");
    if (hardly)
        return;
    if (in->state != INTENT_CONVERGING)
        say(out, "converging",
            "it dirties %" PRIu64 " MB/s, the link takes %" PRIu64
            " MB/s: %u more rounds to a blackout of %.1f ms, about %.1f s",
            MB(seen_rate(c, v)), MB(link_rate(c)), f->rounds, MS(f->blackout_ns), SECONDS(f->ns));
    in->state = INTENT_CONVERGING;
}

/* A rate above the link's is certain at once: the curve of what is dirtied only flattens. */
static bool is_sure(const struct intent *in, const struct converge *c, const struct intent_view *v)
{
    return in->judged >= SURE || seen_rate(c, v) >= link_rate(c) ||
           converge_bound(c, 0) > limit_ns(v);
}

static void above_limit(struct intent *in, const struct converge *c, const struct intent_view *v,
                        struct intent_plan *out)
{
    struct converge_forecast f;

    in->judged++;
    converge_forecast(c, v->dirty, 0, limit_ns(v), &f);
    if (f.reached && f.ns <= left_ns(v))
        converging(in, c, v, &f, out);
    else if (is_sure(in, c, v))
        help(in, c, v, &f, out);
    converge_forecast(c, v->dirty, throttle_withheld(&in->throttle), limit_ns(v), &f);
    out->total_ns = f.reached ? v->elapsed_ns + f.ns : 0;
}

/* The deadline is over and the limit not met. */
static void timed_out(struct intent *in, const struct intent_view *v, struct intent_plan *out)
{
    const struct godwit_params *p = v->params;

    switch (p->on_timeout) {
    case GODWIT_TIMEOUT_SUSPEND:
        out->action = INTENT_SWITCH;
        say(out, "suspend",
            "the deadline of %u s is over: the guest is paused for about %.0f ms, %u ms were to be "
            "the limit",
            p->deadline_s, MS(out->predicted_ns), p->downtime_limit_ms);
        return;
    case GODWIT_TIMEOUT_CANCEL:
        out->action = INTENT_CANCEL;
        say(out, "cancel", "the deadline of %u s is over, %" PRIu64 " MB are left", p->deadline_s,
            MB(v->dirty));
        return;
    default:
        if (!in->late)
            say(out, "continue", "the deadline of %u s is over, but on-timeout is %s",
                p->deadline_s,
                p->on_timeout == GODWIT_TIMEOUT_POSTCOPY ? "postcopy, which is not there yet"
                                                         : "continue");
        in->late = true;
    }
}

static void below_limit(struct intent *in, struct converge *c, const struct intent_view *v,
                        struct intent_plan *out)
{
    out->met = true;
    out->total_ns = v->elapsed_ns + out->predicted_ns;
    in->judged = 0;
    if (converge_worth_polishing(c, v->dirty, throttle_withheld(&in->throttle)))
        return;
    out->action = INTENT_SWITCH;
    say(out, "switch",
        "a blackout of %.1f ms is expected, %u ms are allowed; %" PRIu64 " kB to send",
        MS(out->predicted_ns), v->params->downtime_limit_ms, v->dirty / 1000);
}

/* What was allowed may be allowed no more. */
static void heed(struct intent *in, const struct godwit_params *p, struct intent_plan *out)
{
    uint32_t ceiling = intent_ceiling(p);

    if (in->holding && !p->dirty_limit) {
        in->holding = false;
        release(in, out, "dirty-limit was switched off");
    }
    if (!in->holding && in->percent > ceiling) {
        in->percent = ceiling;
        throttle_clamp(&in->throttle, ceiling);
    }
}

void intent_judge(struct intent *in, struct converge *c, const struct intent_view *v,
                  struct intent_plan *out)
{
    *out = (struct intent_plan){.action = INTENT_ROUND};
    c->cap = v->params->max_bandwidth;
    c->switchover = v->params->switchover_bandwidth;
    converge_found(c, v->dirty, v->interval_ns, throttle_withheld(&in->throttle));
    heed(in, v->params, out);
    out->predicted_ns = converge_predict(c, v->dirty);
    if (converge_bound(c, v->dirty) <= limit_ns(v)) {
        below_limit(in, c, v, out);
        return;
    }
    if (v->params->deadline_s && left_ns(v) == 0)
        timed_out(in, v, out);
    if (out->action == INTENT_ROUND)
        above_limit(in, c, v, out);
}

void intent_tick(struct intent *in, const struct godwit_params *p, uint32_t nvcpus)
{
    struct intent_plan unsaid = {.nsays = 0};

    heed(in, p, &unsaid);
    if (in->holding)
        throttle_hold(&in->throttle, hold_limit(in, p, nvcpus));
}
