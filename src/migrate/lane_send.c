/* From a batch to the channel: plain or in a parcel, hashed on the way, no faster than allowed. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/lane.h"
#include "stream/native/words.h"

#define STAGE "precopy"

/* Hashed just before they go, so that the copy into the socket finds them in the cache. */
#define SLICE_BYTES (64U * GODWIT_PAGE_SIZE)

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Bytes on their way: what is left of a record. */
struct cargo {
    struct iovec *iov;
    int niov;
    size_t left;
};

/* Sends `n` bytes from the front of the cargo, leaving it at the rest. */
static int send_slice(struct lane *l, struct cargo *c, size_t n, struct err *e)
{
    struct iovec *first = c->iov;
    size_t cut = n;
    int whole = 0, ret;

    while (whole < c->niov && cut >= first[whole].iov_len)
        cut -= first[whole++].iov_len;
    if (cut) {
        struct iovec rest = {.iov_base = (uint8_t *)first[whole].iov_base + cut,
                             .iov_len = first[whole].iov_len - cut};

        first[whole].iov_len = cut;
        ret = channel_writev(l->channel, first, whole + 1, e);
        first[whole] = rest;
    } else {
        ret = channel_writev(l->channel, first, whole, e);
    }
    c->iov += whole;
    c->niov -= whole;
    c->left -= n;
    if (!ret) {
        l->figures.bytes += n;
        atomic_fetch_add(&l->share->config->stats->transferred, n);
    }
    return ret;
}

/* How many of the next bytes may go now; waits for them. */
static ssize_t take_turn(struct lane *l, size_t len)
{
    const struct sender_config *c = l->share->config;
    uint64_t began;
    ssize_t n;

    if (c->digest && len > SLICE_BYTES)
        len = SLICE_BYTES;
    /* The guest is paused: what is left goes as fast as it can. */
    if (l->share->job.last || !atomic_load_explicit(&c->pace->rate, memory_order_relaxed))
        return l->share->job.last ? (ssize_t)len : pace_take(c->pace, len);
    began = clock_now_ns();
    n = pace_take(c->pace, len);
    l->blocked_ns += clock_now_ns() - began;
    return n;
}

/* One piece of it. *ns: how long the channel and max-bandwidth kept the lane, added to. */
static int send_some(struct lane *l, struct cargo *c, uint64_t *ns, struct err *e)
{
    uint64_t began = clock_now_ns();
    ssize_t n = take_turn(l, c->left);
    int ret;

    if (n < 0)
        return err_set(e, -ECANCELED, STAGE, "canceled");
    ret = send_slice(l, c, (size_t)n, e);
    *ns += clock_now_ns() - began;
    return ret;
}

static int send_all(struct lane *l, struct iovec *iov, int niov, size_t len, uint64_t *ns,
                    struct err *e)
{
    struct cargo c = {.iov = iov, .niov = niov, .left = len};
    int ret = 0;

    while (!ret && c.left > 0)
        ret = send_some(l, &c, ns, e);
    return ret;
}

/* ---- a batch -------------------------------------------------------------------------------- */

/* Hashes what goes next: a piece ahead of what pace allows at most. */
static void hash_next(struct lane *l, size_t until)
{
    struct digest *d = l->share->config->digest;

    if (d)
        digest_add(d, batch_digest(&l->batch, d, until));
}

/* Waits until so many more bytes may be moved. */
static int await_turns(struct lane *l, size_t bytes, struct err *e)
{
    while (bytes > 0) {
        ssize_t n = take_turn(l, bytes);

        if (n < 0)
            return err_set(e, -ECANCELED, STAGE, "canceled");
        bytes -= (size_t)n;
    }
    return 0;
}

/* Only says which pages: the destination takes them. They count as what is moved all the same. */
static int send_seen(struct lane *l, struct err *e)
{
    struct batch *b = &l->batch;
    size_t data = batch_seal(b) - b->head_len;
    uint64_t ns = 0;
    int ret;

    l->records++;
    hash_next(l, b->head_len + data);
    ret = await_turns(l, data, e);
    if (!ret)
        ret = send_all(l, b->iov, b->niov, b->head_len, &ns, e);
    if (!ret) {
        l->figures.bytes += data;
        atomic_fetch_add(&l->share->config->stats->transferred, data);
    }
    return ret;
}

static int send_plain(struct lane *l, struct err *e)
{
    struct batch *b = &l->batch;
    size_t len = batch_seal(b);
    struct cargo c = {.iov = b->iov, .niov = b->niov, .left = len};
    uint64_t ns = 0;
    int ret = 0;

    l->records++;
    while (!ret && c.left > 0) {
        hash_next(l, len - c.left + (c.left < SLICE_BYTES ? c.left : SLICE_BYTES));
        ret = send_some(l, &c, &ns, e);
    }
    pack_sent(&l->choice, len, ns);
    return ret;
}

static int send_changed(struct lane *l, uint64_t *ns, size_t *sent, struct err *e)
{
    struct iovec iov[2];
    size_t len = parcel_changed(l->parcel, iov);

    if (!len)
        return 0;
    l->records++;
    *sent += len;
    return send_all(l, iov, 2, len, ns, e);
}

static int send_whole(struct lane *l, uint64_t began, uint64_t *ns, size_t *sent, struct err *e)
{
    struct stats *st = l->share->config->stats;
    size_t bytes = (size_t)l->parcel->whole.pages * GODWIT_PAGE_SIZE, packed, len;
    struct iovec iov[2];

    len = parcel_whole(l->parcel, l->codec, l->share->zstd_level, iov, &packed);
    if (!len)
        return 0;
    if (bytes && l->codec != GODWIT_COMPRESS_NONE)
        pack_packed(&l->choice, l->codec, bytes, packed ? packed : bytes,
                    clock_now_ns() - began - *ns);
    if (packed) {
        atomic_fetch_add(&st->packed_pages, l->parcel->whole.pages);
        atomic_fetch_add(&st->packed_bytes, packed);
    }
    l->records++;
    *sent += len;
    return send_all(l, iov, 2, len, ns, e);
}

/* Copied, compared, packed. */
static int send_parcel(struct lane *l, struct err *e)
{
    const struct sender_config *c = l->share->config;
    uint64_t began = clock_now_ns(), ns = 0, change;
    size_t sent = 0;
    int ret;

    change = parcel_fill(l->parcel, &l->batch, l->share->delta, c->digest, c->stats);
    if (change)
        digest_add(c->digest, change);
    ret = send_changed(l, &ns, &sent, e);
    if (!ret)
        ret = send_whole(l, began, &ns, &sent, e);
    pack_sent(&l->choice, sent, ns);
    return ret;
}

/* MB/s, of what costs so many ns a byte; at most what 20 bits hold. */
static uint64_t mb_per_s(double ns_per_byte)
{
    return ns_per_byte > 1e-3 ? (uint64_t)(1000 / ns_per_byte) & 0xfffff : 0xfffff;
}

/* All of it in one word, so that it is read as it was written. */
static void say_choice(struct lane *l)
{
    const struct pack_choice *c = &l->choice;
    const struct pack_codec *k = &c->codec[c->best];
    uint64_t word = mb_per_s(c->link) << 40 | (uint64_t)c->best;

    if (c->best != GODWIT_COMPRESS_NONE)
        word |= mb_per_s(k->cost) << 16 | ((uint64_t)(k->ratio * 100) & 0xff) << 8;
    atomic_store_explicit(&l->said, word, memory_order_relaxed);
}

void lane_choice(struct lane *l, struct lane_choice *out)
{
    uint64_t word = atomic_load_explicit(&l->said, memory_order_relaxed);

    out->codec = (enum godwit_compression)(word & 0xff);
    out->percent = word >> 8 & 0xff;
    out->speed = word >> 16 & 0xfffff;
    out->link = word >> 40 & 0xfffff;
}

/* Differences are remembered as copies: with a cache nothing may go past it. */
static bool in_parcel(const struct lane *l)
{
    return l->codec != GODWIT_COMPRESS_NONE || l->share->delta;
}

/* What is nearer than any link is not compressed, unless that was asked for. */
static bool is_seen(const struct lane *l, const struct godwit_region *region)
{
    const struct lane_share *s = l->share;

    return (s->seen >> region->id & 1) && !s->delta &&
           (s->compression == GODWIT_COMPRESS_AUTO || s->compression == GODWIT_COMPRESS_NONE);
}

void lane_begin(struct lane *l, const struct godwit_region *region)
{
    if (is_seen(l, region)) {
        l->codec = l->figures.compression = GODWIT_COMPRESS_NONE;
        batch_begin(&l->batch, region, BATCH_PAGES, NATIVE_RUNS_MAX);
        l->batch.seen = true;
        return;
    }
    l->codec = pack_choose(&l->choice, l->share->compression);
    l->figures.compression = l->codec;
    if (in_parcel(l))
        batch_begin(&l->batch, region, PACK_PAGES_MAX, PARCEL_RUNS_MAX);
    else
        batch_begin(&l->batch, region, BATCH_PAGES, NATIVE_RUNS_MAX);
}

uint32_t lane_pending(const struct lane *l)
{
    if (batch_empty(&l->batch))
        return 0;
    return in_parcel(l) ? PARCEL_RECORDS_MAX : 1;
}

int lane_flush(struct lane *l, struct err *e)
{
    struct stats *st = l->share->config->stats;
    struct batch *b = &l->batch;
    int ret;

    if (batch_empty(b))
        return 0;
    ret = b->seen ? send_seen(l, e) : in_parcel(l) ? send_parcel(l, e) : send_plain(l, e);
    if (!ret) {
        uint32_t data = in_parcel(l) ? l->parcel->whole.pages + l->parcel->changed.pages
                                     : b->data_pages; /* but for what had not changed */

        l->figures.pages += data + b->zero_pages;
        atomic_fetch_add(&st->normal_pages, data);
        atomic_fetch_add(&st->zero_pages, b->zero_pages);
    }
    if (l->share->compression == GODWIT_COMPRESS_AUTO)
        say_choice(l);
    lane_begin(l, b->region);
    return ret;
}

int lane_mark(struct lane *l, struct err *e)
{
    const struct sender_job *job = &l->share->job;
    struct native_mark mark = {.sequence = job->sequence, .last = job->last};
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
        atomic_fetch_add(&l->share->config->stats->transferred, b.len);
    }
    buf_fini(&b);
    return ret;
}
