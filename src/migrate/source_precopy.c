/* precopy: rounds over what is dirty, while the guest runs, until the model says stop. */
#include <errno.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "migrate/source.h"
#include "stream/native/words.h"

#define STAGE "precopy"

/* A guest that cannot converge does not make the rounds spin. */
#define ROUND_MIN_NS (20 * NS_PER_MS)
/* An intent that took longer than this to become durable: what got dirty meanwhile goes first. */
#define INTENT_QUICK_NS (2 * NS_PER_MS)

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
}

int source_sync(struct godwit_source *s, uint64_t *pages, struct err *e)
{
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
    return 0;
}

void source_go(struct godwit_source *s, bool first, bool last)
{
    struct sender_job job = {.sequence = ++s->sequence, .first = first, .last = last};

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

/* Sends everything whose bit is set, and tells the model how it went. */
static int send_round(struct godwit_source *s, uint64_t remaining, bool first, struct err *e)
{
    uint64_t sent = atomic_load(&s->stats.transferred), began = clock_now_ns();
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    sender_set_timeout(s->sender, p.link_timeout_ms);
    atomic_store(&s->stats.remaining, remaining);
    ret = announce_round(s, remaining, e);
    if (ret)
        return ret;
    source_go(s, first, false);
    ret = source_wait_lanes(s, e);
    converge_sent(&s->model, atomic_load(&s->stats.transferred) - sent, clock_now_ns() - began);
    return ret;
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
    s->synced_ns = clock_now_ns();
    for (uint32_t i = 0; i < s->config.nregions; i++)
        bitmap_set_range(sender_bitmap(s->sender, i), 0, pages_of(&s->regions[i]));
    return send_round(s, s->total, true, e);
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

/* One look at what is dirty. 0: *dirty bytes want another round; 1: stop the guest now. */
static int judge(struct godwit_source *s, uint64_t *dirty, struct err *e)
{
    uint64_t before = s->synced_ns, pages, predicted;
    enum converge_verdict verdict;
    struct godwit_params p;
    bool slow;
    int ret;

    ret = source_sync(s, &pages, e);
    if (ret)
        return ret;
    *dirty = pages * GODWIT_PAGE_SIZE;
    source_params(s, &p);
    s->model.rtt_ns = s->link.rtt_ns;
    verdict =
        converge_judge(&s->model, *dirty, s->synced_ns - before, p.downtime_limit_ms * NS_PER_MS);
    predicted = converge_predict(&s->model, *dirty);
    atomic_store(&s->stats.remaining, *dirty);
    stats_round(&s->stats, s->rounds, s->model.dirty_rate / GODWIT_PAGE_SIZE, s->model.bandwidth,
                predicted);
    if (predicted > p.downtime_limit_ms * NS_PER_MS)
        return 0;
    ret = journal_intent(s, &slow, e);
    if (ret)
        return ret;
    return verdict == CONVERGE_SWITCH && !slow;
}

int source_precopy(struct godwit_source *s, struct err *e)
{
    uint64_t began, took, dirty;
    int ret;

    stats_status(&s->stats, GODWIT_ACTIVE, NULL);
    stats_stage(&s->stats, GODWIT_STAGE_PRECOPY);
    converge_init(&s->model, s->config.state_cost_ns);
    /* The round trip anew: the first answer waited for the destination to build the machine. */
    ret = link_ping(&s->link, e);
    if (!ret)
        ret = first_round(s, e);
    while (!ret && !(ret = judge(s, &dirty, e))) {
        struct godwit_params p;

        source_params(s, &p);
        began = clock_now_ns();
        ret = send_round(s, dirty, false, e);
        took = clock_now_ns() - began;
        if (!ret && took < ROUND_MIN_NS &&
            converge_predict(&s->model, dirty) > p.downtime_limit_ms * NS_PER_MS)
            ret = source_pause(s, ROUND_MIN_NS - took, e);
    }
    return ret < 0 ? ret : 0;
}
