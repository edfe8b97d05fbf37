#include "migrate/receiver.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "migrate/inlet.h"
#include "migrate/place.h"
#include "migrate/story.h"
#include "migrate/thread.h"

#define STAGE "precopy"

struct gate {
    struct receiver *receiver;
    struct inlet inlet;
    pthread_t thread;
    bool started;
};

struct receiver {
    struct receiver_config config;
    struct place place;
    struct gate *gates;

    pthread_mutex_t lock; /* guards what follows, and which channels the inlets have */
    pthread_cond_t turn;
    uint32_t waiting;
    uint32_t ended; /* lanes whose MARK was their last */
    uint64_t passed;
    bool torn;    /* some lanes ended at `passed`, others did not */
    bool halted;  /* nobody waits at the barrier any more */
    bool stopped; /* for good */
    struct err error;
};

/* ---- the threads ---------------------------------------------------------------------------- */

/* Waits at the barrier. */
static int wait_for_others(struct gate *g, const struct native_mark *mark, struct err *e)
{
    struct receiver *r = g->receiver;
    bool left, torn;

    pthread_mutex_lock(&r->lock);
    r->ended += mark->last;
    if (++r->waiting == r->config.lanes) {
        r->waiting = 0;
        r->passed = mark->sequence;
        r->torn = r->ended > 0 && r->ended < r->config.lanes;
        pthread_cond_broadcast(&r->turn);
        bell_ring(r->config.bell);
    }
    while (r->passed < mark->sequence && !r->halted)
        pthread_cond_wait(&r->turn, &r->lock);
    left = r->passed < mark->sequence;
    torn = r->torn;
    pthread_mutex_unlock(&r->lock);
    if (left)
        return err_set(e, -ECANCELED, STAGE, "canceled");
    g->inlet.records = 0;
    story_lane(r->config.stats, g->inlet.index, &g->inlet.figures);
    if (torn)
        return err_set(e, -EPROTO, STAGE, "mark %" PRIu64 " is the last of some lanes only",
                       mark->sequence);
    return 0;
}

static void give_up(struct receiver *r, const struct err *e)
{
    bool first;

    pthread_mutex_lock(&r->lock);
    first = !r->error.code && !r->halted;
    if (first)
        r->error = *e;
    pthread_mutex_unlock(&r->lock);
    if (first)
        bell_ring(r->config.bell);
}

static void *gate_main(void *arg)
{
    struct gate *g = arg;
    struct native_mark mark = {.last = false};
    struct err e = ERR_INIT;
    int ret = 0;

    while (ret >= 0 && !mark.last) {
        ret = inlet_hear(&g->inlet, &mark, &e);
        if (ret > 0)
            ret = wait_for_others(g, &mark, &e);
    }
    if (ret < 0)
        give_up(g->receiver, &e);
    return NULL;
}

static int start_gates(struct receiver *r, struct err *e)
{
    for (uint32_t i = 0; i < r->config.lanes; i++) {
        char name[16];
        int ret;

        snprintf(name, sizeof(name), "lane-%u", i);
        channel_set_timeout(r->gates[i].inlet.channel,
                            0); /* the control channel watches the link */
        ret = thread_start(&r->gates[i].thread, name, gate_main, &r->gates[i]);
        if (ret)
            return err_set_errno(e, ret, STAGE, "starting %s", name);
        r->gates[i].started = true;
    }
    return 0;
}

/* Ends all lanes at once. */
static void halt(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    r->halted = true;
    pthread_cond_broadcast(&r->turn);
    for (uint32_t i = 0; i < r->config.lanes; i++)
        if (r->gates[i].inlet.channel)
            channel_shutdown(r->gates[i].inlet.channel);
    pthread_mutex_unlock(&r->lock);
}

/* After halt, or when they end by themselves: waits for them. */
static void join(struct receiver *r)
{
    for (uint32_t i = 0; i < r->config.lanes; i++) {
        if (r->gates[i].started)
            pthread_join(r->gates[i].thread, NULL);
        r->gates[i].started = false;
    }
    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < r->config.lanes; i++)
        inlet_attach(&r->gates[i].inlet, NULL);
    pthread_mutex_unlock(&r->lock);
}

/* ---- its life ------------------------------------------------------------------------------- */

int receiver_new(const struct receiver_config *config, struct channel **channels,
                 struct receiver **out, struct err *e)
{
    struct receiver *r = calloc(1, sizeof(*r));
    int ret;

    if (r)
        r->gates = calloc(config->lanes, sizeof(*r->gates));
    if (!r || !r->gates) {
        for (uint32_t i = 0; i < config->lanes; i++)
            channel_free(channels[i]);
        free(r);
        return err_set(e, -ENOMEM, STAGE, "no memory for %u lanes", config->lanes);
    }
    r->config = *config;
    r->place = (struct place){.regions = config->regions,
                              .nregions = config->nregions,
                              .digest = config->digest,
                              .dense = config->dense,
                              .opaque = config->opaque};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->turn, NULL);
    for (uint32_t i = 0; i < config->lanes; i++) {
        r->gates[i].receiver = r;
        inlet_init(&r->gates[i].inlet, i, &r->place, config->stats);
        r->gates[i].inlet.patience_ms = config->link_timeout_ms;
        inlet_attach(&r->gates[i].inlet, channels[i]);
    }
    ret = place_init(&r->place, e);
    if (!ret)
        ret = start_gates(r, e);
    if (ret) {
        receiver_free(r);
        return ret;
    }
    *out = r;
    return 0;
}

void receiver_free(struct receiver *r)
{
    if (!r)
        return;
    halt(r);
    join(r);
    for (uint32_t i = 0; i < r->config.lanes; i++)
        inlet_fini(&r->gates[i].inlet);
    place_fini(&r->place);
    pthread_cond_destroy(&r->turn);
    pthread_mutex_destroy(&r->lock);
    free(r->gates);
    free(r);
}

/* ---- for the migrate thread ----------------------------------------------------------------- */

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

void receiver_suspend(struct receiver *r, uint64_t *passed, uint64_t records[GODWIT_LANES_MAX])
{
    halt(r);
    join(r);
    view_close(&r->place.view); /* it is offered anew */
    *passed = r->passed; /* no lane is left to change it */
    for (uint32_t i = 0; i < r->config.lanes; i++)
        records[i] = r->gates[i].inlet.records;
    pthread_mutex_lock(&r->lock);
    r->error = (struct err)ERR_INIT;
    r->waiting = 0;
    r->ended = 0;
    pthread_mutex_unlock(&r->lock);
}

int receiver_resume(struct receiver *r, struct channel **channels, struct err *e)
{
    bool stopped;

    pthread_mutex_lock(&r->lock);
    stopped = r->stopped;
    r->halted = stopped;
    for (uint32_t i = 0; i < r->config.lanes; i++) {
        struct inlet *in = &r->gates[i].inlet;

        inlet_attach(in, channels[i]);
        in->sequence = r->passed;
        in->records = 0;
    }
    pthread_mutex_unlock(&r->lock);
    return stopped ? err_set(e, -ECANCELED, STAGE, "canceled") : start_gates(r, e);
}

void receiver_stop(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    r->stopped = true;
    pthread_mutex_unlock(&r->lock);
    halt(r);
}
