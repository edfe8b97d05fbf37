#include "migrate/sender.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/delta.h"
#include "migrate/lane.h"
#include "migrate/story.h"
#include "migrate/thread.h"

#define STAGE "precopy"

#define IDLE_NS (500 * NS_PER_MS)

struct worker {
    struct sender *sender;
    struct lane lane;
    pthread_t thread;
    bool started;
};

struct sender {
    struct sender_config config;
    struct lane_share share;
    struct worker *workers;
    struct delta *delta; /* NULL: off */
    uint64_t delta_bytes;
    enum godwit_compression explained;

    pthread_mutex_t lock; /* guards what follows, and which channels the lanes have */
    pthread_cond_t go, rest;
    uint64_t generation; /* of the job; a lane compares it with the one it did last */
    uint32_t busy;
    bool quit;
    bool stopped; /* for good: channels to come are cut as well */
    struct err error;
};

/* ---- the threads ---------------------------------------------------------------------------- */

/* With the lock held. */
static void cut(struct sender *s)
{
    atomic_store(&s->share.failed, true);
    pace_stop(s->config.pace);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->workers[i].lane.channel)
            channel_shutdown(s->workers[i].lane.channel);
}

/* Only the first failure is told: the others follow from it. */
static void job_done(struct sender *s, int ret, const struct err *e)
{
    bool news;

    pthread_mutex_lock(&s->lock);
    news = ret && !s->error.code;
    if (news) {
        s->error = *e;
        cut(s);
    }
    if (--s->busy == 0) {
        news = true;
        pthread_cond_broadcast(&s->rest);
    }
    pthread_mutex_unlock(&s->lock);
    if (news)
        bell_ring(s->config.bell);
}

/* With the lock held: waits for a job. Lane 0 looks around while it does. */
static void wait_for_job(struct worker *w, uint64_t done)
{
    struct sender *s = w->sender;

    while (!s->quit && s->generation == done) {
        uint64_t at = clock_now_ns() + IDLE_NS;
        struct timespec ts = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)};

        if (w != &s->workers[0]) {
            pthread_cond_wait(&s->go, &s->lock);
        } else if (pthread_cond_timedwait(&s->go, &s->lock, &ts) == ETIMEDOUT) {
            pthread_mutex_unlock(&s->lock);
            s->config.idle(s->config.idle_arg);
            pthread_mutex_lock(&s->lock);
        }
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct sender *s = w->sender;
    uint64_t done = 0;
    bool quit;

    for (;;) {
        struct err e = ERR_INIT;
        int ret;

        pthread_mutex_lock(&s->lock);
        wait_for_job(w, done);
        done = s->generation;
        quit = s->quit;
        pthread_mutex_unlock(&s->lock);
        if (quit)
            return NULL;
        ret = lane_run(&w->lane, &e);
        job_done(s, ret, &e);
    }
}

static int start_workers(struct sender *s, struct err *e)
{
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        char name[16];
        int ret;

        snprintf(name, sizeof(name), "lane-%u", i);
        ret = thread_start(&s->workers[i].thread, name, worker_main, &s->workers[i]);
        if (ret)
            return err_set_errno(e, ret, STAGE, "starting %s", name);
        s->workers[i].started = true;
    }
    return 0;
}

/* ---- its life ------------------------------------------------------------------------------- */

static void init_locks(struct sender *s)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->go, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&s->rest, NULL);
}

int sender_new(const struct sender_config *config, struct channel **channels, struct sender **out,
               struct err *e)
{
    struct sender *s = calloc(1, sizeof(*s));
    int ret;

    if (s)
        s->workers = calloc(config->lanes, sizeof(*s->workers));
    if (!s || !s->workers) {
        for (uint32_t i = 0; i < config->lanes; i++)
            channel_free(channels[i]);
        free(s);
        return err_set(e, -ENOMEM, STAGE, "no memory for %u lanes", config->lanes);
    }
    s->config = *config;
    init_locks(s);
    s->share.config = &s->config;
    ret = work_init(&s->share.work, s->config.regions, s->config.nregions, s->config.lanes, e);
    for (uint32_t i = 0; i < config->lanes; i++) {
        s->workers[i].sender = s;
        if (!ret)
            ret = lane_init(&s->workers[i].lane, i, &s->share, channels[i], e);
        if (!s->workers[i].lane.channel)
            channel_free(channels[i]);
    }
    if (!ret)
        ret = start_workers(s, e);
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
    pthread_mutex_lock(&s->lock);
    cut(s);
    s->quit = true;
    pthread_cond_broadcast(&s->go);
    pthread_mutex_unlock(&s->lock);
    /* A lane that fails cuts all channels: none goes before the last thread. */
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->workers[i].started)
            pthread_join(s->workers[i].thread, NULL);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        lane_fini(&s->workers[i].lane);
    work_fini(&s->share.work);
    delta_free(s->delta);
    pthread_cond_destroy(&s->rest);
    pthread_cond_destroy(&s->go);
    pthread_mutex_destroy(&s->lock);
    free(s->workers);
    free(s);
}

/* ---- for the migrate thread ----------------------------------------------------------------- */

uint64_t *sender_bitmap(struct sender *s, uint32_t region)
{
    return s->share.work.due[region];
}

void sender_set_timeout(struct sender *s, uint32_t timeout_ms)
{
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        struct channel *c = s->workers[i].lane.channel;

        if (c->timeout_ms != timeout_ms)
            channel_set_timeout(c, timeout_ms);
    }
}

static void set_delta(struct sender *s, uint64_t bytes)
{
    struct err e = ERR_INIT;

    if (bytes == s->delta_bytes)
        return;
    delta_free(s->delta);
    s->delta = NULL;
    s->delta_bytes = bytes;
    if (bytes && delta_new(bytes, &s->delta, &e))
        log_warn("migrate", "pages go whole: %s", e.text);
}

void sender_set_seen(struct sender *s, uint64_t seen)
{
    s->share.seen = seen;
}

void sender_set_params(struct sender *s, const struct godwit_params *p)
{
    s->share.compression = p->compression;
    s->share.zstd_level = p->zstd_level;
    set_delta(s, p->delta ? p->delta_cache : 0);
}

/* In the first lane's words: they share the link, and take their chunks from the same memory. */
void sender_explain(struct sender *s)
{
    struct stats *st = s->config.stats;
    struct lane_choice c;

    lane_choice(&s->workers[0].lane, &c);
    if (c.codec == s->explained)
        return;
    s->explained = c.codec;
    if (c.codec == GODWIT_COMPRESS_NONE)
        story_decide(st, "compress", "none: a lane's link takes %u MB/s, packing does not pay",
                     c.link);
    else
        story_decide(st, "compress",
                     "%s: a lane's link takes %u MB/s, it packs %u MB/s to %u %% of their size",
                     godwit_compression_name(c.codec), c.link, c.speed, c.percent);
}

void sender_go(struct sender *s, const struct sender_job *job)
{
    pthread_mutex_lock(&s->lock);
    s->share.job = *job;
    /* Round 1 sends every page once: nothing to compare, and too much to remember. */
    s->share.delta = job->first ? NULL : s->delta;
    if (job->first && s->delta)
        delta_forget(s->delta);
    work_begin(&s->share.work, job->first);
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

void sender_suspend(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    cut(s);
    while (s->busy)
        pthread_cond_wait(&s->rest, &s->lock);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        lane_attach(&s->workers[i].lane, NULL);
    if (s->delta) /* the destination may lack what went last */
        delta_forget(s->delta);
    s->error = (struct err)ERR_INIT;
    pthread_mutex_unlock(&s->lock);
}

int sender_resume(struct sender *s, struct channel **channels, const uint64_t *records,
                  uint32_t nrecords, struct err *e)
{
    int ret = 0;

    if (nrecords > 0)
        atomic_fetch_add(&s->config.stats->remaining,
                         work_restore(&s->share.work, records, nrecords) * GODWIT_PAGE_SIZE);
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        lane_attach(&s->workers[i].lane, channels[i]);
    if (s->stopped) {
        cut(s);
        ret = err_set(e, -ECANCELED, STAGE, "canceled");
    } else {
        pace_restart(s->config.pace);
        atomic_store(&s->share.failed, false);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}

void sender_stop(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    cut(s);
    pthread_mutex_unlock(&s->lock);
    bell_ring(s->config.bell);
}
