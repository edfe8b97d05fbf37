#include "migrate/lane.h"

#include <errno.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "migrate/story.h"
#include "stream/native/words.h"

#define STAGE "precopy"

/* Hashed just before they go, so that the copy into the socket finds them in the cache. */
#define SLICE_BYTES (64U * GODWIT_PAGE_SIZE)

/* ---- to the channel ------------------------------------------------------------------------- */

/* Sends `n` bytes from the front of iov, leaving it at the rest. */
static int send_slice(struct lane *l, struct iovec **iov, int *niov, size_t n, struct err *e)
{
    struct iovec *first = *iov;
    size_t left = n, cut;
    int whole = 0, ret;

    while (whole < *niov && left >= first[whole].iov_len)
        left -= first[whole++].iov_len;
    cut = left;
    if (cut) {
        struct iovec rest = {.iov_base = (uint8_t *)first[whole].iov_base + cut,
                             .iov_len = first[whole].iov_len - cut};

        first[whole].iov_len = cut;
        ret = channel_writev(l->channel, first, whole + 1, e);
        first[whole] = rest;
    } else {
        ret = channel_writev(l->channel, first, whole, e);
    }
    *iov += whole;
    *niov -= whole;
    if (!ret) {
        l->figures.bytes += n;
        atomic_fetch_add(&l->config->stats->transferred, n);
    }
    return ret;
}

/* How many of the next bytes may go now; in pieces that the cache holds when they are hashed. */
static ssize_t take_turn(struct lane *l, size_t len)
{
    if (l->config->digest && len > SLICE_BYTES)
        len = SLICE_BYTES;
    /* The guest is paused: what is left goes as fast as it can. */
    return l->job.last ? (ssize_t)len : pace_take(l->config->pace, len);
}

static int send_batch(struct lane *l, struct batch *b, struct err *e)
{
    size_t len = batch_seal(b), sent = 0;
    struct iovec *iov = b->iov;
    int niov = b->niov, ret = 0;

    while (!ret && sent < len) {
        ssize_t n = take_turn(l, len - sent);

        if (n < 0)
            return err_set(e, -ECANCELED, STAGE, "canceled");
        sent += (size_t)n;
        if (l->config->digest)
            digest_add(l->config->digest, batch_digest(b, l->config->digest, sent));
        ret = send_slice(l, &iov, &niov, (size_t)n, e);
    }
    return ret;
}

static int flush(struct lane *l, struct err *e)
{
    struct stats *st = l->config->stats;
    struct batch *b = &l->batch;
    int ret;

    if (batch_empty(b))
        return 0;
    l->records++;
    ret = send_batch(l, b, e);
    if (!ret) {
        l->figures.pages += b->data_pages + b->zero_pages;
        atomic_fetch_add(&st->normal_pages, b->data_pages);
        atomic_fetch_add(&st->zero_pages, b->zero_pages);
    }
    batch_begin(b, b->region);
    return ret;
}

static int send_mark(struct lane *l, struct err *e)
{
    struct native_mark mark = {.sequence = l->job.sequence, .last = l->job.last};
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_mark_encode(&b, &mark);
    if (ret)
        err_set_errno(e, ret, STAGE, "building a mark");
    else
        ret = channel_write(l->channel, b.data, b.len, e);
    if (!ret) {
        l->figures.bytes += b.len;
        atomic_fetch_add(&l->config->stats->transferred, b.len);
    }
    buf_fini(&b);
    return ret;
}

/* ---- from a chunk --------------------------------------------------------------------------- */

static int send_range(struct lane *l, const struct godwit_region *r, uint64_t first, uint64_t end,
                      struct err *e)
{
    int ret;

    while (first < end) {
        if (l->batch.region != r) {
            ret = flush(l, e);
            if (ret)
                return ret;
            batch_begin(&l->batch, r);
        }
        first = batch_scan(&l->batch, first, end);
        ret = first < end ? flush(l, e) : 0;
        if (ret)
            return ret;
    }
    return 0;
}

/* The next piece of [*first, end) that was ever touched; *first == *last: there is none. */
static int next_touched(struct lane *l, const struct godwit_region *r, uint64_t *first,
                        uint64_t *last, uint64_t end, struct err *e)
{
    const struct sender_config *c = l->config;
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
        atomic_fetch_add(&l->config->stats->skipped_pages, from - first);
        ret = send_range(l, c->region, from, to, e);
        if (ret)
            return ret;
        first = to;
    }
    return 0;
}

static int send_chunk(struct lane *l, const struct work_chunk *c, struct err *e)
{
    const struct sender_config *config = l->config;
    bool touched = l->job.first && config->ops->next_data;
    size_t count = bitmap_count(c->bits, c->n), from, to;
    int ret = 0;

    if (!l->job.last)
        ret = config->ops->dirty_clear(config->opaque, c->region->id, c->first, c->n, c->bits, e);
    for (from = 0; !ret && (from = bitmap_next_set(c->bits, c->n, from)) < c->n; from = to) {
        to = bitmap_next_clear(c->bits, c->n, from);
        ret = touched ? send_touched(l, c, c->first + from, c->first + to, e)
                      : send_range(l, c->region, c->first + from, c->first + to, e);
    }
    if (!ret)
        work_put(c, l->records + !batch_empty(&l->batch));
    atomic_fetch_sub(&config->stats->remaining, count * GODWIT_PAGE_SIZE);
    return ret;
}

int lane_run(struct lane *l, const struct sender_job *job, struct err *e)
{
    struct work_chunk c;
    int ret = 0;

    l->job = *job;
    l->records = 0;
    batch_begin(&l->batch, &l->config->regions[0]);
    while (!ret && !atomic_load(l->failed) && work_next(l->work, l->index, &c))
        ret = send_chunk(l, &c, e);
    if (!ret)
        ret = flush(l, e);
    if (!ret && !atomic_load(l->failed))
        ret = send_mark(l, e);
    story_lane(l->config->stats, l->index, &l->figures);
    return ret;
}
