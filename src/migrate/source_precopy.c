/*
 * precopy: rounds over what is dirty, while the guest runs, until the intent says otherwise.
 *
 * After every round: what is dirty, what each vCPU dirtied, intent_judge, and its plan carried out.
 * While a round runs: the deadline, and vCPUs that are held at a dirty rate.
 */
#include <errno.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "base/log.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "stream/native/words.h"

#define STAGE "precopy"

/* A guest that cannot converge does not make the rounds spin. */
#define ROUND_MIN_NS (20 * NS_PER_MS)
/* An intent that took longer than this to become durable: what got dirty meanwhile goes first. */
#define INTENT_QUICK_NS (2 * NS_PER_MS)
/* How often a round is looked after while it runs. */
#define TICK_NS (100 * NS_PER_MS)
/* The monitor is not asked for the vCPUs' rates more often. */
#define RATES_MIN_NS (10 * NS_PER_MS)

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
}

static uint64_t elapsed_ns(const struct godwit_source *s)
{
    return clock_now_ns() - s->stats.begun_ns; /* does not change any more */
}

static uint32_t percent(const struct godwit_source *s)
{
    return throttle_top(&s->plan.throttle);
}

/* ---- the parts of a round ------------------------------------------------------------------- */

int source_sync(struct godwit_source *s, uint64_t *pages, struct err *e)
{
    uint64_t began = clock_now_ns();

    *pages = 0;
    for (uint32_t i = 0; i < s->config.nregions; i++) {
        uint64_t *bitmap = sender_bitmap(s->sender, i);
        int ret = s->config.ops->dirty_sync(s->config.opaque, i, bitmap, e);

        if (ret)
            return ret;
        *pages += bitmap_count(bitmap, pages_of(&s->regions[i]));
    }
    s->rounds++;
    s->synced_ns = clock_now_ns();
    s->model.sync_ns = s->synced_ns - began;
    return 0;
}

void source_go(struct godwit_source *s, bool first, bool last)
{
    struct sender_job job = {.sequence = ++s->sequence, .first = first, .last = last};

    job.first |= job.sequence == 1; /* again, after a cut: what was never touched still is not */
    sender_go(s->sender, &job);
}

static int announce_round(struct godwit_source *s, uint64_t remaining, struct err *e)
{
    struct native_round r = {.round = s->rounds + 1, .remaining = remaining};
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_round_encode(&b, &r);
    return link_post(&s->link, &b, ret, e);
}

/* Bytes of pages that cost the link something: a zero page only costs reading it. */
static uint64_t costly(struct godwit_source *s)
{
    uint64_t zero = atomic_load(&s->stats.zero_pages);

    return (atomic_load(&s->stats.skipped_pages) + zero - zero / 8) * GODWIT_PAGE_SIZE;
}

/* ---- throttling ----------------------------------------------------------------------------- */

static void tell_throttle(struct godwit_source *s)
{
    throttle_tell(&s->plan.throttle, s->config.ops, s->config.opaque);
    story_throttle(&s->stats, percent(s));
}

static void free_vcpus(struct godwit_source *s)
{
    throttle_free_all(&s->plan.throttle);
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

/* ---- a round -------------------------------------------------------------------------------- */

static bool deadline_is_over(struct godwit_source *s, const struct godwit_params *p)
{
    return p->deadline_s && elapsed_ns(s) >= p->deadline_s * NS_PER_S;
}

/* The migration ends, as if a person had canceled it. */
static int end_at_deadline(struct godwit_source *s, const struct godwit_params *p, struct err *e)
{
    struct err why = ERR_INIT;

    err_set(&why, -ETIMEDOUT, STAGE, "the deadline of %u s is over (on-timeout cancel)",
            p->deadline_s);
    source_end(s, GODWIT_CANCELED, &why);
    return err_set(e, -ECANCELED, STAGE, "%s", why.text);
}

static int tick(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;

    source_params(s, &p);
    if (deadline_is_over(s, &p) && p.on_timeout == GODWIT_TIMEOUT_CANCEL) {
        story_decide(&s->stats, "cancel", "the deadline of %u s is over, in the middle of a round",
                     p.deadline_s);
        return end_at_deadline(s, &p, e);
    }
    sender_explain(s->sender);
    if (s->plan.holding)
        learn_rates(s, 0);
    intent_tick(&s->plan, &p, s->config.nvcpus);
    tell_throttle(s);
    return 0;
}

static int wait_round(struct godwit_source *s, struct err *e)
{
    int ret;

    do {
        ret = source_wait_lanes(s, clock_now_ns() + TICK_NS, e);
        if (ret == -ETIME) {
            ret = tick(s, e);
            if (ret)
                return ret;
            ret = -ETIME;
        }
    } while (ret == -ETIME);
    return ret;
}

/* Sends everything whose bit is set, and tells the model how it went. */
static int send_round(struct godwit_source *s, uint64_t remaining, struct err *e)
{
    uint64_t sent = atomic_load(&s->stats.transferred), began = clock_now_ns(), cheap = costly(s);
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    sender_set_timeout(s->sender, p.link_timeout_ms);
    sender_set_params(s->sender, &p);
    atomic_store(&s->stats.remaining, remaining);
    ret = announce_round(s, remaining, e);
    if (ret)
        return ret;
    source_go(s, !s->all_sent, false);
    ret = wait_round(s, e);
    sender_explain(s->sender);
    story_round_end(&s->stats, atomic_load(&s->stats.transferred) - sent);
    if (ret)
        return ret;
    cheap = costly(s) - cheap;
    converge_sent(&s->model, remaining > cheap ? remaining - cheap : 0, clock_now_ns() - began);
    s->all_sent = true;
    return 0;
}

static int first_round(struct godwit_source *s, struct err *e)
{
    int ret;

    source_call_begin(s);
    ret = s->config.ops->dirty_start(s->config.opaque, e);
    source_call_end(s);
    if (ret)
        return ret;
    s->tracking = true;
    s->synced_ns = s->rated_ns = clock_now_ns();
    for (uint32_t i = 0; i < s->config.nregions; i++)
        bitmap_set_range(sender_bitmap(s->sender, i), 0, pages_of(&s->regions[i]));
    story_round_begin(&s->stats, s->total, 0, 0, 0, 0);
    return send_round(s, s->total, e);
}

/* ---- between rounds ------------------------------------------------------------------------- */

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

static uint64_t per_second(uint64_t amount, uint64_t ns)
{
    return ns ? (uint64_t)((double)amount * (double)NS_PER_S / (double)ns) : 0;
}

static void tell_plan(struct godwit_source *s, const struct intent_plan *plan, uint64_t dirty,
                      uint64_t rate)
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
    if (plan->action == INTENT_ROUND)
        story_round_begin(&s->stats, dirty, rate, s->model.bandwidth, plan->predicted_ns,
                          percent(s));
}

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
    s->model.rtt_ns = s->link.rtt_ns;
    learn_rates(s, per_second(dirty, interval_ns));
    intent_judge(&s->plan, &s->model, &view, plan);
    s->predicted_ns = plan->predicted_ns;
}

/* One look at what is dirty. 0: *dirty bytes want another round; 1: stop the guest now. */
static int judge(struct godwit_source *s, bool comparable, uint64_t *dirty, struct err *e)
{
    uint64_t before = s->synced_ns, interval, pages;
    struct intent_plan plan;
    struct godwit_params p;
    bool slow = false;
    int ret;

    ret = source_sync(s, &pages, e);
    if (ret)
        return ret;
    *dirty = pages * GODWIT_PAGE_SIZE;
    interval = comparable ? s->synced_ns - before : 0;
    atomic_store(&s->stats.remaining, *dirty);
    make_plan(s, *dirty, interval, &plan);
    tell_plan(s, &plan, *dirty, per_second(*dirty, interval));
    source_params(s, &p);
    if (plan.action == INTENT_CANCEL)
        return end_at_deadline(s, &p, e);
    if (plan.met || plan.action == INTENT_SWITCH)
        ret = journal_intent(s, &slow, e);
    if (ret)
        return ret;
    s->unhurried = !plan.met;
    if (plan.action == INTENT_SWITCH && slow && plan.met) { /* once more over what that left */
        story_round_begin(&s->stats, *dirty, 0, s->model.bandwidth, plan.predicted_ns, percent(s));
        return 0;
    }
    return plan.action == INTENT_SWITCH;
}

static int next_round(struct godwit_source *s, uint64_t dirty, struct err *e)
{
    uint64_t began = clock_now_ns(), took;
    int ret = send_round(s, dirty, e);

    took = clock_now_ns() - began;
    if (!ret && s->unhurried && took < ROUND_MIN_NS)
        ret = source_pause(s, ROUND_MIN_NS - took, e);
    return ret;
}

/* A step that the link cut short is as good as done: what was lost is dirty again. */
static int mend(struct godwit_source *s, int ret, struct err *e)
{
    return ret < 0 ? source_reconnect(s, ret, e) : ret;
}

int source_precopy(struct godwit_source *s, struct err *e)
{
    bool comparable = true;
    uint64_t dirty;
    int ret;

    stats_status(&s->stats, GODWIT_ACTIVE, NULL);
    stats_stage(&s->stats, GODWIT_STAGE_PRECOPY);
    converge_init(&s->model, s->config.state_cost_ns);
    intent_init(&s->plan);
    /* The round trip anew: the first answer waited for the destination to build the machine. */
    ret = mend(s, link_ping(&s->link, e), e);
    if (!ret)
        ret = mend(s, first_round(s, e), e);
    while (!ret) {
        ret = judge(s, comparable, &dirty, e);
        if (!ret)
            ret = next_round(s, dirty, e);
        comparable = !ret;
        ret = mend(s, ret, e);
    }
    free_vcpus(s); /* on every way out: the guest goes as it came */
    return ret < 0 ? ret : 0;
}
