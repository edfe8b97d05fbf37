#include "migrate/receiver.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "migrate/thread.h"
#include "stream/native/pages.h"
#include "stream/native/words.h"
#include "wire/record.h"

#define STAGE "precopy"

/* The largest record of a lane that is not PAGES. */
#define SMALL_MAX 65536U
/* A zero run of so many pages over old content is given back to the system, not overwritten. */
#define PUNCH_PAGES 512U

struct inlet {
    struct receiver *receiver;
    struct channel *channel;
    uint32_t index;
    pthread_t thread;
    bool started;
    uint64_t sequence; /* of the last MARK */
    struct native_run runs[NATIVE_RUNS_MAX];
    struct iovec iov[NATIVE_RUNS_MAX];
    uint8_t table[NATIVE_PAGES_TABLE(NATIVE_RUNS_MAX)];
    uint8_t small[SMALL_MAX];
};

struct receiver {
    struct receiver_config config;
    uint64_t *received[GODWIT_REGIONS_MAX]; /* pages ever written here: others read as zeros */
    struct inlet *inlets;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t turn;
    uint32_t waiting;
    uint32_t ended; /* lanes whose MARK was their last */
    uint64_t passed;
    bool torn; /* some lanes ended at `passed`, others did not */
    bool stopped;
    struct err error;
};

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
}

static int take(struct inlet *in, void *buf, size_t len, struct err *e)
{
    int ret = channel_read(in->channel, buf, len, e);

    if (!ret)
        atomic_fetch_add(&in->receiver->config.stats->transferred, len);
    return ret;
}

/* ---- pages ---------------------------------------------------------------------------------- */

static void clear_pages(uint8_t *at, uint64_t n)
{
    size_t len = n * GODWIT_PAGE_SIZE;

    /* Works on shared memory; on private memory it is refused, and the pages are written. */
    if (n < PUNCH_PAGES || madvise(at, len, MADV_REMOVE))
        memset(at, 0, len);
}

/* Zeros for pages that hold something; those never written here are zero as they are. */
static void place_zeros(const struct godwit_region *r, const uint64_t *received,
                        const struct native_run *run)
{
    uint64_t end = run->first + run->count, from = run->first, to;

    while ((from = bitmap_next_set(received, end, from)) < end) {
        to = bitmap_next_clear(received, end, from);
        clear_pages((uint8_t *)r->host + from * GODWIT_PAGE_SIZE, to - from);
        from = to;
    }
}

static int place_runs(struct inlet *in, const struct godwit_region *r, uint32_t nruns,
                      struct err *e)
{
    struct receiver *rc = in->receiver;
    uint64_t *received = rc->received[r->id], data = 0, zero = 0;
    int niov = 0, ret;

    for (uint32_t i = 0; i < nruns; i++) {
        const struct native_run *run = &in->runs[i];

        if (run->kind == NATIVE_RUN_ZERO) {
            place_zeros(r, received, run);
            zero += run->count;
            continue;
        }
        bitmap_set_range_atomic(received, run->first, run->count);
        in->iov[niov].iov_base = (uint8_t *)r->host + run->first * GODWIT_PAGE_SIZE;
        in->iov[niov++].iov_len = (size_t)run->count * GODWIT_PAGE_SIZE;
        data += run->count;
    }
    ret = niov ? channel_readv(in->channel, in->iov, niov, e) : 0;
    if (ret)
        return ret;
    atomic_fetch_add(&rc->config.stats->transferred, data * GODWIT_PAGE_SIZE);
    atomic_fetch_add(&rc->config.stats->normal_pages, data);
    atomic_fetch_add(&rc->config.stats->zero_pages, zero);
    return 0;
}

static int hear_pages(struct inlet *in, const struct record_header *h, struct err *e)
{
    const struct receiver_config *c = &in->receiver->config;
    uint8_t fixed[NATIVE_PAGES_FIXED];
    uint32_t region, nruns;
    int ret;

    if (h->length < sizeof(fixed))
        return err_set(e, -EPROTO, STAGE, "a pages record of %" PRIu64 " bytes is too short",
                       h->length);
    ret = take(in, fixed, sizeof(fixed), e);
    if (!ret)
        ret = native_pages_fixed(h, fixed, &region, &nruns, e);
    if (ret)
        return ret;
    if (region >= c->nregions)
        return err_set(e, -EPROTO, STAGE, "pages for region %u, but only %u were announced", region,
                       c->nregions);
    ret = take(in, in->table, NATIVE_PAGES_TABLE(nruns), e);
    if (!ret)
        ret = native_pages_table(h, fixed, in->table, pages_of(&c->regions[region]), in->runs, e);
    return ret ? ret : place_runs(in, &c->regions[region], nruns, e);
}

/* ---- the barrier ---------------------------------------------------------------------------- */

static int wait_for_others(struct inlet *in, bool last, struct err *e)
{
    struct receiver *r = in->receiver;
    bool stopped, torn;

    pthread_mutex_lock(&r->lock);
    r->ended += last;
    if (++r->waiting == r->config.lanes) {
        r->waiting = 0;
        r->passed = in->sequence;
        r->torn = r->ended > 0 && r->ended < r->config.lanes;
        pthread_cond_broadcast(&r->turn);
        bell_ring(r->config.bell);
    }
    while (r->passed < in->sequence && !r->stopped)
        pthread_cond_wait(&r->turn, &r->lock);
    stopped = r->passed < in->sequence;
    torn = r->torn;
    pthread_mutex_unlock(&r->lock);
    if (stopped)
        return err_set(e, -ECANCELED, STAGE, "canceled");
    if (torn)
        return err_set(e, -EPROTO, STAGE, "mark %" PRIu64 " is the last of some lanes only",
                       in->sequence);
    return 0;
}

static int hear_mark(struct inlet *in, const uint8_t *body, size_t len, bool *last, struct err *e)
{
    struct native_mark mark;
    int ret = native_mark_decode(body, len, &mark, e);

    if (ret)
        return ret;
    if (mark.sequence != in->sequence + 1)
        return err_set(e, -EPROTO, STAGE, "lane %u: mark %" PRIu64 " follows mark %" PRIu64,
                       in->index, mark.sequence, in->sequence);
    in->sequence = mark.sequence;
    *last = mark.last;
    return wait_for_others(in, mark.last, e);
}

/* ---- one lane ------------------------------------------------------------------------------- */

static int hear_small(struct inlet *in, const struct record_header *h, bool *last, struct err *e)
{
    size_t padded = (size_t)record_padded(h->length), len;
    int ret = take(in, in->small, padded, e);

    if (ret || (!native_type_known(h->type) && (h->flags & RECORD_OPTIONAL)))
        return ret;
    if (h->type != NATIVE_MARK)
        return err_set(e, -EPROTO, STAGE, "a record of type 0x%x (%s) does not belong on a lane",
                       h->type, native_type_name(h->type));
    ret = record_check(h, in->small, &len, e);
    return ret ? ret : hear_mark(in, in->small, len, last, e);
}

static int hear_record(struct inlet *in, bool *last, struct err *e)
{
    uint8_t head[RECORD_HEADER_SIZE];
    struct record_header h;
    int ret;

    ret = take(in, head, sizeof(head), e);
    if (!ret)
        ret = record_header_decode(head, NATIVE_PAGES_LENGTH_MAX, &h, e);
    if (ret)
        return ret;
    if (h.type == NATIVE_PAGES)
        return hear_pages(in, &h, e);
    if (record_padded(h.length) > SMALL_MAX)
        return err_set(e, -EPROTO, STAGE, "a lane's record of type 0x%x has %" PRIu64 " bytes",
                       h.type, h.length);
    return hear_small(in, &h, last, e);
}

static void give_up(struct receiver *r, const struct err *e)
{
    bool first;

    pthread_mutex_lock(&r->lock);
    first = !r->error.code && !r->stopped;
    if (first)
        r->error = *e;
    pthread_mutex_unlock(&r->lock);
    if (first)
        bell_ring(r->config.bell);
}

static void *inlet_main(void *arg)
{
    struct inlet *in = arg;
    struct err e = ERR_INIT;
    bool last = false;
    int ret = 0;

    while (!ret && !last)
        ret = hear_record(in, &last, &e);
    if (ret)
        give_up(in->receiver, &e);
    return NULL;
}

/* ---- for the migrate thread ----------------------------------------------------------------- */

static int start_inlets(struct receiver *r, struct err *e)
{
    for (uint32_t i = 0; i < r->config.lanes; i++) {
        char name[16];
        int ret;

        snprintf(name, sizeof(name), "lane-%u", i);
        channel_set_timeout(r->inlets[i].channel, 0); /* the control channel watches the link */
        ret = thread_start(&r->inlets[i].thread, name, inlet_main, &r->inlets[i]);
        if (ret)
            return err_set_errno(e, ret, STAGE, "starting %s", name);
        r->inlets[i].started = true;
    }
    return 0;
}

static int new_bitmaps(struct receiver *r, struct err *e)
{
    for (uint32_t i = 0; i < r->config.nregions; i++) {
        r->received[i] = bitmap_new(pages_of(&r->config.regions[i]));
        if (!r->received[i])
            return err_set(e, -ENOMEM, STAGE, "no memory for the bitmap of region %s",
                           r->config.regions[i].name);
    }
    return 0;
}

int receiver_new(const struct receiver_config *config, struct channel **channels,
                 struct receiver **out, struct err *e)
{
    struct receiver *r = calloc(1, sizeof(*r));
    int ret;

    if (r)
        r->inlets = calloc(config->lanes, sizeof(*r->inlets));
    if (!r || !r->inlets) {
        for (uint32_t i = 0; i < config->lanes; i++)
            channel_free(channels[i]);
        free(r);
        return err_set(e, -ENOMEM, STAGE, "no memory for %u lanes", config->lanes);
    }
    r->config = *config;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->turn, NULL);
    for (uint32_t i = 0; i < config->lanes; i++) {
        r->inlets[i].receiver = r;
        r->inlets[i].index = i;
        r->inlets[i].channel = channels[i];
    }
    ret = new_bitmaps(r, e);
    if (!ret)
        ret = start_inlets(r, e);
    if (ret) {
        receiver_free(r);
        return ret;
    }
    *out = r;
    return 0;
}

uint64_t receiver_passed(struct receiver *r)
{
    uint64_t passed;

    pthread_mutex_lock(&r->lock);
    passed = r->passed;
    pthread_mutex_unlock(&r->lock);
    return passed;
}

int receiver_ended(struct receiver *r, uint64_t sequence, struct err *e)
{
    uint64_t passed;
    bool ended;

    pthread_mutex_lock(&r->lock);
    passed = r->passed;
    ended = r->ended == r->config.lanes;
    pthread_mutex_unlock(&r->lock);
    if (ended && passed == sequence)
        return 0;
    return err_set(e, -EPROTO, STAGE,
                   "the state belongs to mark %" PRIu64 ", but the lanes %s at mark %" PRIu64,
                   sequence, ended ? "ended" : "have not ended; they are", passed);
}

int receiver_error(struct receiver *r, struct err *e)
{
    int code;

    pthread_mutex_lock(&r->lock);
    code = r->error.code;
    if (code)
        *e = r->error;
    pthread_mutex_unlock(&r->lock);
    return code;
}

void receiver_stop(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    r->stopped = true;
    pthread_cond_broadcast(&r->turn);
    pthread_mutex_unlock(&r->lock);
    for (uint32_t i = 0; i < r->config.lanes; i++)
        channel_shutdown(r->inlets[i].channel);
}

void receiver_free(struct receiver *r)
{
    if (!r)
        return;
    receiver_stop(r);
    for (uint32_t i = 0; i < r->config.lanes; i++) {
        if (r->inlets[i].started)
            pthread_join(r->inlets[i].thread, NULL);
        channel_free(r->inlets[i].channel);
    }
    for (uint32_t i = 0; i < r->config.nregions; i++)
        bitmap_free(r->received[i], pages_of(&r->config.regions[i]));
    pthread_cond_destroy(&r->turn);
    pthread_mutex_destroy(&r->lock);
    free(r->inlets);
    free(r);
}
