#include "migrate/sender.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "migrate/batch.h"
#include "migrate/thread.h"
#include "stream/native/words.h"

#define STAGE "precopy"

#define IDLE_NS (500 * NS_PER_MS)

#define CHUNK_MAX       4096U /* pages */
#define CHUNK_MIN       64U   /* a word of the bitmap */
#define CHUNKS_PER_LANE 8
#define CHUNKS_MAX      16384 /* more cost more to walk than they spread the work */

struct lane {
    struct sender *sender;
    struct channel *channel;
    pthread_t thread;
    bool started;
    struct batch batch;
};

struct sender {
    struct sender_config config;
    uint64_t *bitmaps[GODWIT_REGIONS_MAX];
    struct lane *lanes;

    pthread_mutex_t lock; /* guards job, generation, busy, quit, error */
    pthread_cond_t go;
    struct sender_job job;
    uint64_t generation; /* of the job; a lane compares it with the one it did last */
    uint32_t busy;
    bool quit;
    struct err error;

    /* Constant during a job. */
    uint32_t chunk;
    uint64_t chunks_before[GODWIT_REGIONS_MAX + 1];
    atomic_uint_fast64_t cursor;
    atomic_bool failed;
};

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
}

/* ---- one lane, one job ---------------------------------------------------------------------- */

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
    atomic_fetch_add(&l->sender->config.stats->transferred, n);
    return ret;
}

static int send_paced(struct lane *l, struct iovec *iov, int niov, size_t len, struct err *e)
{
    bool hurry = l->sender->job.last;

    while (len > 0) {
        /* The guest is paused: what is left goes as fast as it can. */
        ssize_t n = hurry ? (ssize_t)len : pace_take(l->sender->config.pace, len);
        int ret;

        if (n < 0)
            return err_set(e, -ECANCELED, STAGE, "canceled");
        ret = send_slice(l, &iov, &niov, (size_t)n, e);
        if (ret)
            return ret;
        len -= (size_t)n;
    }
    return 0;
}

static int flush(struct lane *l, struct err *e)
{
    struct stats *st = l->sender->config.stats;
    struct batch *b = &l->batch;
    size_t len;
    int ret;

    if (batch_empty(b))
        return 0;
    len = batch_seal(b);
    ret = send_paced(l, b->iov, b->niov, len, e);
    atomic_fetch_add(&st->normal_pages, b->data_pages);
    atomic_fetch_add(&st->zero_pages, b->zero_pages);
    batch_begin(b, b->region);
    return ret;
}

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
        if (first < end || l->batch.data_pages == BATCH_PAGES) {
            ret = flush(l, e);
            if (ret)
                return ret;
        }
    }
    return 0;
}

/* Round 1: of [first, end) only what was ever touched. */
static int send_touched(struct lane *l, const struct godwit_region *r, uint64_t first, uint64_t end,
                        struct err *e)
{
    const struct sender_config *c = &l->sender->config;

    if (!c->ops->next_data)
        return send_range(l, r, first, end, e);
    while (first < end) {
        uint64_t start = r->size, stop = r->size, from, to;
        int ret = c->ops->next_data(c->opaque, r->id, first * GODWIT_PAGE_SIZE, &start, &stop);

        if (ret)
            return err_set_errno(e, ret, STAGE, "looking for data in region %s", r->name);
        from = start / GODWIT_PAGE_SIZE;
        to = (stop + GODWIT_PAGE_SIZE - 1) / GODWIT_PAGE_SIZE;
        from = from < first ? first : from > end ? end : from;
        to = to > end ? end : to;
        atomic_fetch_add(&c->stats->skipped_pages, from - first);
        if (from < end && to <= from)
            return err_set(e, -EINVAL, STAGE, "region %s has an empty range of data", r->name);
        ret = send_range(l, r, from, from < end ? to : end, e);
        if (ret)
            return ret;
        first = from < end ? to : end;
    }
    return 0;
}

static int send_chunk(struct lane *l, const struct godwit_region *r, uint64_t first, uint64_t n,
                      struct err *e)
{
    struct sender *s = l->sender;
    uint64_t *bits = s->bitmaps[r->id] + first / 64;
    size_t from = bitmap_next_set(bits, n, 0), to, count;
    int ret = 0;

    if (from == n)
        return 0;
    count = bitmap_count(bits, n);
    if (!s->job.last) {
        ret = s->config.ops->dirty_clear(s->config.opaque, r->id, first, n, bits, e);
        if (ret)
            return ret;
    }
    for (; from < n && !ret; from = bitmap_next_set(bits, n, to)) {
        to = bitmap_next_clear(bits, n, from);
        if (s->job.first)
            ret = send_touched(l, r, first + from, first + to, e);
        else
            ret = send_range(l, r, first + from, first + to, e);
    }
    memset(bits, 0, BITMAP_WORDS(n) * sizeof(*bits));
    atomic_fetch_sub(&s->config.stats->remaining, count * GODWIT_PAGE_SIZE);
    return ret;
}

static int send_mark(struct lane *l, struct err *e)
{
    struct native_mark mark = {.sequence = l->sender->job.sequence, .last = l->sender->job.last};
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_mark_encode(&b, &mark);
    if (ret) {
        err_set_errno(e, ret, STAGE, "building a mark");
    } else {
        atomic_fetch_add(&l->sender->config.stats->transferred, b.len);
        ret = channel_write(l->channel, b.data, b.len, e);
    }
    buf_fini(&b);
    return ret;
}

/* Chunks are counted through all regions; `region` moves on with the cursor, which only grows. */
static int do_job(struct lane *l, struct err *e)
{
    struct sender *s = l->sender;
    uint64_t i, total = s->chunks_before[s->config.nregions];
    uint32_t region = 0;
    int ret = 0;

    batch_begin(&l->batch, &s->config.regions[0]);
    while (!ret && !atomic_load(&s->failed) && (i = atomic_fetch_add(&s->cursor, 1)) < total) {
        const struct godwit_region *r;
        uint64_t first, n;

        while (i >= s->chunks_before[region + 1])
            region++;
        r = &s->config.regions[region];
        first = (i - s->chunks_before[region]) * s->chunk;
        n = pages_of(r) - first;
        ret = send_chunk(l, r, first, n < s->chunk ? n : s->chunk, e);
    }
    if (!ret)
        ret = flush(l, e);
    if (!ret && !atomic_load(&s->failed))
        ret = send_mark(l, e);
    return ret;
}

/* ---- the threads ---------------------------------------------------------------------------- */

static void cut(struct sender *s)
{
    atomic_store(&s->failed, true);
    pace_stop(s->config.pace);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        channel_shutdown(s->lanes[i].channel);
}

/* Only the first failure is told: the others follow from it. */
static void job_done(struct sender *s, int ret, const struct err *e)
{
    bool first_failure, last_lane;

    pthread_mutex_lock(&s->lock);
    first_failure = ret && !s->error.code;
    if (first_failure)
        s->error = *e;
    last_lane = --s->busy == 0;
    pthread_mutex_unlock(&s->lock);
    if (first_failure)
        cut(s);
    if (first_failure || last_lane)
        bell_ring(s->config.bell);
}

/* With the lock held: waits for a job. Lane 0 looks around while it does. */
static void wait_for_job(struct lane *l, uint64_t done)
{
    struct sender *s = l->sender;

    while (!s->quit && s->generation == done) {
        uint64_t at = clock_now_ns() + IDLE_NS;
        struct timespec ts = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)};

        if (l != &s->lanes[0]) {
            pthread_cond_wait(&s->go, &s->lock);
        } else if (pthread_cond_timedwait(&s->go, &s->lock, &ts) == ETIMEDOUT) {
            pthread_mutex_unlock(&s->lock);
            s->config.idle(s->config.idle_arg);
            pthread_mutex_lock(&s->lock);
        }
    }
}

static void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct sender *s = l->sender;
    uint64_t done = 0;
    bool quit;

    for (;;) {
        struct err e = ERR_INIT;
        int ret;

        pthread_mutex_lock(&s->lock);
        wait_for_job(l, done);
        done = s->generation;
        quit = s->quit;
        pthread_mutex_unlock(&s->lock);
        if (quit)
            return NULL;
        ret = do_job(l, &e);
        job_done(s, ret, &e);
    }
}

static int start_lanes(struct sender *s, struct err *e)
{
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        char name[16];
        int ret;

        snprintf(name, sizeof(name), "lane-%u", i);
        ret = thread_start(&s->lanes[i].thread, name, lane_main, &s->lanes[i]);
        if (ret)
            return err_set_errno(e, ret, STAGE, "starting %s", name);
        s->lanes[i].started = true;
    }
    return 0;
}

static int new_bitmaps(struct sender *s, struct err *e)
{
    for (uint32_t i = 0; i < s->config.nregions; i++) {
        s->bitmaps[i] = bitmap_new(pages_of(&s->config.regions[i]));
        if (!s->bitmaps[i])
            return err_set(e, -ENOMEM, STAGE, "no memory for the dirty bitmap of region %s",
                           s->config.regions[i].name);
    }
    return 0;
}

int sender_new(const struct sender_config *config, struct channel **channels, struct sender **out,
               struct err *e)
{
    struct sender *s = calloc(1, sizeof(*s));
    pthread_condattr_t attr;
    int ret;

    if (s)
        s->lanes = calloc(config->lanes, sizeof(*s->lanes));
    if (!s || !s->lanes) {
        for (uint32_t i = 0; i < config->lanes; i++)
            channel_free(channels[i]);
        free(s);
        return err_set(e, -ENOMEM, STAGE, "no memory for %u lanes", config->lanes);
    }
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->go, &attr);
    pthread_condattr_destroy(&attr);
    for (uint32_t i = 0; i < config->lanes; i++) {
        s->lanes[i].sender = s;
        s->lanes[i].channel = channels[i];
    }
    ret = new_bitmaps(s, e);
    if (!ret)
        ret = start_lanes(s, e);
    if (ret) {
        sender_free(s);
        return ret;
    }
    *out = s;
    return 0;
}

void sender_free(struct sender *s)
{
    if (!s)
        return;
    cut(s);
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->go);
    pthread_mutex_unlock(&s->lock);
    /* A lane that fails cuts all channels: none goes before the last thread. */
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->lanes[i].started)
            pthread_join(s->lanes[i].thread, NULL);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        channel_free(s->lanes[i].channel);
    for (uint32_t i = 0; i < s->config.nregions; i++)
        bitmap_free(s->bitmaps[i], pages_of(&s->config.regions[i]));
    pthread_cond_destroy(&s->go);
    pthread_mutex_destroy(&s->lock);
    free(s->lanes);
    free(s);
}

/* ---- for the migrate thread ----------------------------------------------------------------- */

uint64_t *sender_bitmap(struct sender *s, uint32_t region)
{
    return s->bitmaps[region];
}

void sender_set_timeout(struct sender *s, uint32_t timeout_ms)
{
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->lanes[i].channel->timeout_ms != timeout_ms)
            channel_set_timeout(s->lanes[i].channel, timeout_ms);
}

/* Round 1 takes long chunks; later ones are spread, since what is dirty lies close together. */
static uint32_t chunk_pages(const struct sender *s, bool first)
{
    uint64_t total = 0, want;
    uint32_t chunk = CHUNK_MIN;

    for (uint32_t i = 0; i < s->config.nregions; i++)
        total += pages_of(&s->config.regions[i]);
    want = first ? total / (s->config.lanes * CHUNKS_PER_LANE) : total / CHUNKS_MAX;
    while (chunk < CHUNK_MAX && chunk < want)
        chunk *= 2;
    return chunk;
}

void sender_go(struct sender *s, const struct sender_job *job)
{
    pthread_mutex_lock(&s->lock);
    s->job = *job;
    s->chunk = chunk_pages(s, job->first);
    for (uint32_t i = 0; i < s->config.nregions; i++)
        s->chunks_before[i + 1] =
            s->chunks_before[i] + (pages_of(&s->config.regions[i]) + s->chunk - 1) / s->chunk;
    atomic_store(&s->cursor, 0);
    s->generation++;
    s->busy = s->config.lanes;
    pthread_cond_broadcast(&s->go);
    pthread_mutex_unlock(&s->lock);
}

bool sender_idle(struct sender *s)
{
    bool idle;

    pthread_mutex_lock(&s->lock);
    idle = s->busy == 0;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

int sender_error(struct sender *s, struct err *e)
{
    int code;

    pthread_mutex_lock(&s->lock);
    code = s->error.code;
    if (code)
        *e = s->error;
    pthread_mutex_unlock(&s->lock);
    return code;
}

void sender_stop(struct sender *s)
{
    cut(s);
    bell_ring(s->config.bell);
}
