#include "migrate/lane.h"

#include <errno.h>

#include "base/bitmap.h"
#include "migrate/story.h"

#define STAGE "precopy"

int lane_init(struct lane *l, uint32_t index, struct lane_share *share, struct channel *channel,
              struct err *e)
{
    int ret = parcel_new(&l->parcel, e); /* large, but no page of it is touched before it is used */

    if (ret)
        return ret;
    l->index = index;
    l->share = share;
    l->channel = channel;
    pack_choice_init(&l->choice);
    return 0;
}

void lane_fini(struct lane *l)
{
    channel_free(l->channel);
    parcel_free(l->parcel);
}

void lane_attach(struct lane *l, struct channel *channel)
{
    if (l->channel)
        l->waited_ns += l->channel->waited_ns;
    channel_free(l->channel);
    l->channel = channel;
    pack_choice_init(&l->choice); /* another link */
}

/* ---- from a chunk --------------------------------------------------------------------------- */

static int send_range(struct lane *l, const struct godwit_region *r, uint64_t first, uint64_t end,
                      struct err *e)
{
    int ret;

    while (first < end) {
        if (l->batch.region != r) {
            ret = lane_flush(l, e);
            if (ret)
                return ret;
            lane_begin(l, r);
        }
        first = batch_scan(&l->batch, first, end);
        ret = first < end ? lane_flush(l, e) : 0;
        if (ret)
            return ret;
    }
    return 0;
}

/* The next piece of [*first, end) that was ever touched; *first == *last: there is none. */
static int next_touched(struct lane *l, const struct godwit_region *r, uint64_t *first,
                        uint64_t *last, uint64_t end, struct err *e)
{
    const struct sender_config *c = l->share->config;
    uint64_t start = r->size, stop = r->size, from, to;
    int ret = c->ops->next_data(c->opaque, r->id, *first * GODWIT_PAGE_SIZE, &start, &stop);

    if (ret)
        return err_set_errno(e, ret, STAGE, "looking for data in region %s", r->name);
    from = start / GODWIT_PAGE_SIZE;
    to = (stop + GODWIT_PAGE_SIZE - 1) / GODWIT_PAGE_SIZE;
    from = from < *first ? *first : from > end ? end : from;
    to = to > end ? end : to;
    if (from < end && to <= from)
        return err_set(e, -EINVAL, STAGE, "region %s has an empty range of data", r->name);
    *first = from;
    *last = from < end ? to : from;
    return 0;
}

/*
 * Round 1: of [first, end) only what was ever touched.  What was not need not be asked for again
 * either: when it is touched after all, it is dirty.
 */
static int send_touched(struct lane *l, const struct work_chunk *c, uint64_t first, uint64_t end,
                        struct err *e)
{
    while (first < end) {
        uint64_t from = first, to = first;
        int ret = next_touched(l, c->region, &from, &to, end, e);

        if (ret)
            return ret;
        work_skip(c, first, from - first);
        atomic_fetch_add(&l->share->config->stats->skipped_pages, from - first);
        ret = send_range(l, c->region, from, to, e);
        if (ret)
            return ret;
        first = to;
    }
    return 0;
}

static int send_chunk(struct lane *l, const struct work_chunk *c, struct err *e)
{
    const struct sender_config *config = l->share->config;
    bool touched = l->share->job.first && config->ops->next_data;
    size_t count = bitmap_count(c->bits, c->n), from, to;
    int ret = 0;

    if (!l->share->job.last)
        ret = config->ops->dirty_clear(config->opaque, c->region->id, c->first, c->n, c->bits, e);
    for (from = 0; !ret && (from = bitmap_next_set(c->bits, c->n, from)) < c->n; from = to) {
        to = bitmap_next_clear(c->bits, c->n, from);
        ret = touched ? send_touched(l, c, c->first + from, c->first + to, e)
                      : send_range(l, c->region, c->first + from, c->first + to, e);
    }
    if (!ret)
        work_put(c, l->records + lane_pending(l));
    atomic_fetch_sub(&config->stats->remaining, count * GODWIT_PAGE_SIZE);
    return ret;
}

static void say_figures(struct lane *l)
{
    l->figures.blocked_ns = l->blocked_ns + l->waited_ns + l->channel->waited_ns;
    story_lane(l->share->config->stats, l->index, &l->figures);
}

int lane_run(struct lane *l, struct err *e)
{
    struct lane_share *share = l->share;
    struct work_chunk c;
    int ret = 0;

    l->records = 0;
    lane_begin(l, &share->config->regions[0]);
    while (!ret && !atomic_load(&share->failed) && work_next(&share->work, l->index, &c))
        ret = send_chunk(l, &c, e);
    if (!ret)
        ret = lane_flush(l, e);
    if (!ret && !atomic_load(&share->failed))
        ret = lane_mark(l, e);
    say_figures(l);
    return ret;
}
