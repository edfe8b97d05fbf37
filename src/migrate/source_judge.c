/*
 * Between rounds, and while one runs: what is known is brought together (dirty log, vCPUs' rates, a
 * rehearsal), intent_judge makes a plan of it, and the plan is carried out as far as it is not a
 * round or the switch themselves.
 */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "migrate/story.h"

#define STAGE "precopy"

/* An intent that took longer than this to become durable: what got dirty meanwhile goes first. */
#define INTENT_QUICK_NS (2 * NS_PER_MS)
/* The monitor is not asked for the vCPUs' rates more often. */
#define RATES_MIN_NS (10 * NS_PER_MS)
/* What a rehearsal found is believed for so long. */
#define REHEARSAL_NS (10 * NS_PER_S)
/* A guest that does not run feels no blackout. */
#define PAUSED_LIMIT_MS 3600000U
/* One that alone forbids the switch is doubted sooner, ever more slowly: the hosts may just have been
 * busy. */
#define DOUBT_FIRST_NS (250 * NS_PER_MS)
#define DOUBT_MOST_NS  (8 * NS_PER_S)

static uint64_t elapsed_ns(const struct godwit_source *s)
{
    return clock_now_ns() - s->stats.begun_ns; /* does not change any more */
}

static uint32_t percent(const struct godwit_source *s)
{
    return throttle_top(&s->plan.throttle);
}

static uint64_t per_second(uint64_t amount, uint64_t ns)
{
    return ns ? (uint64_t)((double)amount * (double)NS_PER_S / (double)ns) : 0;
}

/* ---- throttling ------------------------------------------------------------------------------ */

static void tell_throttle(struct godwit_source *s)
{
    throttle_tell(&s->plan.throttle, s->config.ops, s->config.opaque);
    story_throttle(&s->stats, percent(s));
}

void source_free_vcpus(struct godwit_source *s)
{
    throttle_free_all(&s->plan.throttle);
    s->plan.percent = 0; /* after a reconnect it is judged anew, and said */
    tell_throttle(s);
}

/* Each vCPU's own rate where the monitor knows it, else the sum (sum 0: not known now). */
static void learn_rates(struct godwit_source *s, uint64_t sum)
{
    uint64_t rates[THROTTLE_VCPUS_MAX] = {0};
    uint32_t n = s->config.nvcpus <= THROTTLE_VCPUS_MAX ? s->config.nvcpus : 0;

    if (n && s->config.ops->dirty_rates && clock_now_ns() - s->rated_ns < RATES_MIN_NS)
        return; /* what was known a moment ago holds */
    s->rated_ns = clock_now_ns();
    if (n && s->config.ops->dirty_rates &&
        !s->config.ops->dirty_rates(s->config.opaque, rates, n)) {
        throttle_rates(&s->plan.throttle, rates, n);
    } else if (sum) {
        rates[0] = sum;
        throttle_rates(&s->plan.throttle, rates, 0);
    }
}

/* ---- while a round runs ---------------------------------------------------------------------- */

static bool deadline_is_over(struct godwit_source *s, const struct godwit_params *p)
{
    return p->deadline_s && elapsed_ns(s) >= p->deadline_s * NS_PER_S;
}

/* The migration ends, as if a person had canceled it. */
static int end_at_deadline(struct godwit_source *s, struct err *e)
{
    struct err why = ERR_INIT;
    struct godwit_params p;

    source_params(s, &p);
    err_set(&why, -ETIMEDOUT, STAGE, "the deadline of %u s is over (on-timeout cancel)",
            p.deadline_s);
    source_end(s, GODWIT_CANCELED, &why);
    return err_set(e, -ECANCELED, STAGE, "%s", why.text);
}

int source_heed_deadline(struct godwit_source *s, const char *when, struct err *e)
{
    struct godwit_params p;

    source_params(s, &p);
    if (!deadline_is_over(s, &p) || p.on_timeout != GODWIT_TIMEOUT_CANCEL)
        return 0;
    story_decide(&s->stats, "cancel", "the deadline of %u s is over, %s", p.deadline_s, when);
    return end_at_deadline(s, e);
}

int source_tick(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;
    int ret = source_heed_deadline(s, "in the middle of a round", e);

    if (ret)
        return ret;
    source_params(s, &p);
    sender_explain(s->sender);
    if (s->plan.holding)
        learn_rates(s, 0);
    intent_tick(&s->plan, &p, s->config.nvcpus);
    tell_throttle(s);
    return 0;
}

/* ---- before the stop ------------------------------------------------------------------------- */

/* What stop, save and load take, seen once; a state that cannot be loaded ends the migration here,
 * with the guest running. */
static int rehearse(struct godwit_source *s, struct err *e)
{
    uint64_t stop_ns, save_ns, load_ns;
    struct err why = ERR_INIT;
    int ret = source_rehearse(s, &stop_ns, &save_ns, &load_ns, &why);

    s->rehearsed_ns = clock_now_ns();
    if (ret == -ENOTSUP)
        return 0; /* the monitor's guess stays */
    if (ret)
        *e = why;
    else
        converge_rehearsed(&s->model, stop_ns, save_ns, load_ns);
    return ret;
}

static bool rehearsal_is_old(const struct godwit_source *s)
{
    return clock_now_ns() - s->rehearsed_ns > REHEARSAL_NS;
}

/* Pausing, saving and loading are said to take longer than the limit allows. */
static bool rehearsal_is_doubtful(struct godwit_source *s)
{
    struct godwit_params p;

    source_params(s, &p);
    if (!s->rehearsed_ns || converge_bound(&s->model, 0) <= p.downtime_limit_ms * NS_PER_MS ||
        clock_now_ns() - s->rehearsed_ns < s->doubt_ns)
        return false;
    s->doubt_ns = s->doubt_ns * 2 < DOUBT_MOST_NS ? s->doubt_ns * 2 : DOUBT_MOST_NS;
    return true;
}

/* Durable before the stop, and outside of the blackout. *slow: more got dirty meanwhile. */
static int journal_intent(struct godwit_source *s, bool *slow, struct err *e)
{
    uint64_t began = clock_now_ns();
    int ret = 0;

    *slow = false;
    if (s->intent)
        return 0;
    source_call_begin(s);
    if (s->config.ops->journal)
        ret = s->config.ops->journal(s->config.opaque, GODWIT_JOURNAL_INTENT, s->token, s->uri, e);
    source_call_end(s);
    s->intent = !ret;
    *slow = clock_now_ns() - began > INTENT_QUICK_NS;
    return ret;
}

/* The guest may be stopped, as far as the limit goes. 1: now; 0: after one more round. */
static int prepare_switch(struct godwit_source *s, const struct intent_plan *plan, struct err *e)
{
    bool slow, old = plan->action == INTENT_SWITCH && plan->met && rehearsal_is_old(s);
    int ret = journal_intent(s, &slow, e);

    if (!ret && old)
        ret = rehearse(s, e);
    if (ret)
        return ret;
    /* What got dirty meanwhile goes first; unless there is no time left for it. */
    return plan->action == INTENT_SWITCH && s->all_sent && !(plan->met && (slow || old));
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* interval_ns: since when what is dirty got so; 0: from various times. */
static void make_plan(struct godwit_source *s, uint64_t dirty, uint64_t interval_ns,
                      struct intent_plan *plan)
{
    struct godwit_params p;
    struct intent_view view = {.params = &p,
                               .dirty = dirty,
                               .interval_ns = interval_ns,
                               .elapsed_ns = elapsed_ns(s),
                               .nvcpus = s->config.nvcpus,
                               .can_throttle = s->config.ops->throttle != NULL};

    source_params(s, &p);
    if (s->config.ops->paused && s->config.ops->paused(s->config.opaque))
        p.downtime_limit_ms = PAUSED_LIMIT_MS;
    s->model.rtt_ns = s->link.rtt_ns;
    learn_rates(s, per_second(dirty, interval_ns));
    intent_judge(&s->plan, &s->model, &view, plan);
    s->predicted_ns = plan->predicted_ns;
}

static void tell_plan(struct godwit_source *s, const struct intent_plan *plan, uint64_t rate)
{
    stats_round(&s->stats, s->rounds, rate / GODWIT_PAGE_SIZE, s->model.bandwidth,
                plan->predicted_ns);
    for (unsigned i = 0; i < plan->nsays; i++)
        story_decide(&s->stats, plan->says[i].what, "%s", plan->says[i].why);
    if (plan->total_ns && !s->foretold) {
        s->foretold = true;
        story_predict(&s->stats, 0, plan->total_ns);
    }
    tell_throttle(s);
}

static void begin_round(struct godwit_source *s, const struct intent_plan *plan, uint64_t dirty,
                        uint64_t rate)
{
    s->unhurried = !plan->met;
    story_round_begin(&s->stats, dirty, rate, s->model.bandwidth, plan->predicted_ns, percent(s));
}

int source_judge(struct godwit_source *s, bool comparable, uint64_t *dirty, struct err *e)
{
    uint64_t before = s->synced_ns, interval, pages;
    struct intent_plan plan;
    int ret = 0;

    if (s->all_sent && !s->rehearsed_ns)
        s->doubt_ns = DOUBT_FIRST_NS;
    if (s->all_sent && (!s->rehearsed_ns || rehearsal_is_doubtful(s)))
        ret = rehearse(s, e);
    if (!ret)
        ret = source_sync(s, &pages, e);
    if (ret)
        return ret;
    *dirty = pages * GODWIT_PAGE_SIZE;
    interval = comparable ? s->synced_ns - before : 0;
    atomic_store(&s->stats.remaining, *dirty);
    make_plan(s, *dirty, interval, &plan);
    if (plan.met || plan.action == INTENT_SWITCH)
        ret = prepare_switch(s, &plan, e);
    if (ret < 0)
        return ret;
    if (!ret && plan.action == INTENT_SWITCH)
        plan.nsays--; /* the last one: not yet */
    tell_plan(s, &plan, per_second(*dirty, interval));
    if (plan.action == INTENT_CANCEL)
        return end_at_deadline(s, e);
    if (!ret)
        begin_round(s, &plan, *dirty, per_second(*dirty, interval));
    return ret;
}
