/* precopy: rounds over what is dirty, while the guest runs, until source_judge says stop. */
#include <errno.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "stream/native/words.h"

#define STAGE "precopy"

/* A guest that cannot converge does not make the rounds spin. */
#define ROUND_MIN_NS (20 * NS_PER_MS)
/* How often a round is looked after while it runs. */
#define TICK_NS (100 * NS_PER_MS)

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
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

/* Bytes of pages that cost the link nothing so far: a page of zeros only costs reading it. */
static uint64_t cheap(struct godwit_source *s)
{
    uint64_t zero = atomic_load(&s->stats.zero_pages);

    return (atomic_load(&s->stats.skipped_pages) + zero - zero / 8) * GODWIT_PAGE_SIZE;
}

/* ---- a round -------------------------------------------------------------------------------- */

static int wait_round(struct godwit_source *s, struct err *e)
{
    for (;;) {
        int ret = source_wait_lanes(s, clock_now_ns() + TICK_NS, e);

        if (ret != -ETIME)
            return ret;
        ret = source_tick(s, e);
        if (ret)
            return ret;
    }
}

/* Sends everything whose bit is set, and tells the model how it went. */
static int send_round(struct godwit_source *s, uint64_t remaining, struct err *e)
{
    uint64_t sent = atomic_load(&s->stats.transferred), began = clock_now_ns(),
             free_of_charge = cheap(s);
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
    free_of_charge = cheap(s) - free_of_charge;
    converge_sent(&s->model, remaining > free_of_charge ? remaining - free_of_charge : 0,
                  clock_now_ns() - began);
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

static int next_round(struct godwit_source *s, uint64_t dirty, struct err *e)
{
    uint64_t began = clock_now_ns(), took;
    int ret = send_round(s, dirty, e);

    took = clock_now_ns() - began;
    if (!ret && s->unhurried && took < ROUND_MIN_NS)
        ret = source_pause(s, ROUND_MIN_NS - took, e);
    return ret;
}

/* 1: the time has come to stop the guest. */
static int judged_round(struct godwit_source *s, bool comparable, struct err *e)
{
    uint64_t dirty;
    int ret = source_judge(s, comparable, &dirty, e);

    return ret ? ret : next_round(s, dirty, e);
}

/* A step that the link cut short is as good as done: what was lost is dirty again. */
static int mend(struct godwit_source *s, int ret, struct err *e)
{
    if (ret >= 0)
        return ret;
    source_free_vcpus(s); /* nobody knows for how long */
    return source_reconnect(s, ret, e);
}

static int rounds(struct godwit_source *s, struct err *e)
{
    int ret = first_round(s, e);

    for (;;) {
        bool comparable = !ret;

        ret = mend(s, ret, e);
        if (ret)
            return ret;
        ret = judged_round(s, comparable, e);
    }
}

int source_precopy(struct godwit_source *s, struct err *e)
{
    int ret;

    stats_status(&s->stats, GODWIT_ACTIVE, NULL);
    stats_stage(&s->stats, GODWIT_STAGE_PRECOPY);
    converge_init(&s->model, s->config.state_cost_ns);
    intent_init(&s->plan);
    /* The round trip anew: the first answer waited for the destination to build the machine. */
    ret = mend(s, link_ping(&s->link, e), e);
    if (!ret)
        ret = rounds(s, e);
    source_free_vcpus(s); /* on every way out: the guest goes as it came */
    return ret < 0 ? ret : 0;
}
