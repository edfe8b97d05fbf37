/* What the destination's door lets in, and what it answers by itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/sink.h"

#define STAGE "hello"
/* How long who came too early may have to wait for its refusal. */
#define EARLY_NS (2 * NS_PER_S)

static bool is_current(const struct sink_gate *g, const uint8_t *token)
{
    return g->busy && !memcmp(g->token, token, sizeof(g->token));
}

static const struct sink_past *find_past(const struct sink_gate *g, const uint8_t *token)
{
    for (unsigned i = 0; i < SINK_PAST_MAX; i++)
        if (g->past[i].type && !memcmp(g->past[i].word.token, token, GODWIT_TOKEN_SIZE))
            return &g->past[i];
    return NULL;
}

/* ---- the door's thread ---------------------------------------------------------------------- */

/* With the lock held: the next migration begins. */
static void occupy(struct sink_gate *g, struct channel *c, const uint8_t *token)
{
    g->busy = true;
    memcpy(g->token, token, sizeof(g->token));
    snprintf(g->peer, sizeof(g->peer), "%s", c->peer);
    g->control = c;
}

static int say_shut(const struct sink_gate *g, struct err *e)
{
    return err_set(e, -EBUSY, STAGE, "this destination already runs a machine, from %s", g->peer);
}

static int say_busy(const struct sink_gate *g, struct err *e)
{
    return err_set(e, -EBUSY, STAGE, "another migration is arriving here, from %s", g->peer);
}

static int admit_control(struct godwit_sink *s, struct channel *c, const struct native_hello *h,
                         struct err *e)
{
    struct sink_gate *g = &s->gate;
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    if (g->shut) {
        ret = say_shut(g, e);
    } else if (!g->busy) {
        occupy(g, c, h->token);
    } else if (!g->early.channel) {
        g->early.channel = c;
        memcpy(g->early.token, h->token, sizeof(g->early.token));
        g->early.until_ns = clock_now_ns() + EARLY_NS;
    } else {
        ret = say_busy(g, e);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}

/* With the lock held. */
static int check_lane(const struct sink_gate *g, const struct native_hello *h, struct err *e)
{
    if (!is_current(g, h->token) || h->index >= g->lanes)
        return err_set(e, -EPERM, STAGE, "no such lane is expected here");
    return 0;
}

static int admit_lane(struct godwit_sink *s, struct channel *c, const struct native_hello *h,
                      struct err *e)
{
    struct channel *older = NULL;
    int ret;

    pthread_mutex_lock(&s->lock);
    ret = check_lane(&s->gate, h, e);
    if (!ret) { /* The newest: an older one may be left of an attempt that was cut */
        older = s->gate.lane[h->index];
        s->gate.lane[h->index] = c;
        s->gate.lanes_in += !older;
    }
    pthread_mutex_unlock(&s->lock);
    channel_free(older);
    return ret;
}

static void say_past(struct channel *c, const struct sink_past *past)
{
    struct buf b;

    buf_init(&b, 0);
    if (!native_word_encode(&b, past->type, &past->word))
        channel_write(c, b.data, b.len, NULL);
    buf_fini(&b);
}

/* A source that lost its link. The current one goes to the migrate thread, a newer attempt in place
 * of an older; for an earlier one the answer is known. */
static int admit_again(struct godwit_sink *s, struct channel *c, const struct native_hello *h,
                       struct err *e)
{
    struct channel *older = NULL;
    struct sink_past past = {.type = 0};
    bool current;

    pthread_mutex_lock(&s->lock);
    current = is_current(&s->gate, h->token);
    if (current) {
        older = s->gate.again;
        s->gate.again = c;
    } else if (find_past(&s->gate, h->token)) {
        past = *find_past(&s->gate, h->token);
    }
    pthread_mutex_unlock(&s->lock);
    channel_free(older);
    if (current)
        return 0;
    if (!past.type)
        return err_set(e, -ENOENT, STAGE,
                       "this destination does not know that migration: it has "
                       "been restarted, or is another one");
    say_past(c, &past);
    channel_free(c);
    return 0;
}

void sink_guest(void *opaque, struct channel *c, const struct native_hello *hello)
{
    struct godwit_sink *s = opaque;
    struct err e = ERR_INIT;
    int ret;

    if (hello->role == NATIVE_ROLE_CONTROL)
        ret = admit_control(s, c, hello, &e);
    else if (hello->role == NATIVE_ROLE_LANE)
        ret = admit_lane(s, c, hello, &e);
    else
        ret = admit_again(s, c, hello, &e);
    if (ret) {
        log_warn("migrate", "refused %s: %s", c->peer, e.text);
        door_refuse(c, &e);
    } else {
        bell_ring(&s->bell);
    }
}

/* By the migrate thread at once, or by the door after a while. */
static void refuse_early(struct godwit_sink *s, uint64_t now)
{
    struct sink_gate *g = &s->gate;
    struct channel *c = NULL;
    struct err e = ERR_INIT;

    pthread_mutex_lock(&s->lock);
    if (g->busy && g->early.channel && now >= g->early.until_ns) {
        c = g->early.channel;
        g->early.channel = NULL;
        say_busy(g, &e);
    }
    pthread_mutex_unlock(&s->lock);
    if (c) {
        log_warn("migrate", "refused %s: %s", c->peer, e.text);
        door_refuse(c, &e);
    }
}

void sink_tick(void *opaque)
{
    struct godwit_sink *s = opaque;

    pthread_mutex_lock(&s->lock);
    if (s->calling)
        link_nudge(&s->link);
    pthread_mutex_unlock(&s->lock);
    refuse_early(s, clock_now_ns());
}

/* ---- the migrate thread --------------------------------------------------------------------- */

void sink_refuse_early(struct godwit_sink *s)
{
    refuse_early(s, UINT64_MAX);
}

/* With the lock held: opens the gate, or shuts it; *refused: to be told so. */
static void next_case(struct sink_gate *g, bool shut, struct channel **refused, struct err *why)
{
    struct channel *early = g->early.channel;

    g->early.channel = NULL;
    g->shut = shut;
    g->busy = false;
    if (early && !shut) {
        occupy(g, early, g->early.token);
    } else if (early) {
        *refused = early;
        say_shut(g, why);
    }
}

/* With the lock held. */
static void remember(struct godwit_sink *s, enum native_type outcome, const char *why)
{
    struct sink_past *p = &s->gate.past[s->gate.past_next++ % SINK_PAST_MAX];

    p->type = outcome;
    memcpy(p->word.token, s->token, sizeof(p->word.token));
    snprintf(p->word.text, sizeof(p->word.text), "%s", why);
}

void sink_close_case(struct godwit_sink *s, enum native_type outcome, const char *why)
{
    struct channel *left[GODWIT_LANES_MAX], *again, *refused = NULL;
    struct err e = ERR_INIT;
    struct sink_past past;

    pthread_mutex_lock(&s->lock);
    remember(s, outcome, why);
    past = *find_past(&s->gate, s->token);
    again = s->gate.again;
    s->gate.again = NULL;
    memcpy(left, s->gate.lane, sizeof(left));
    memset(s->gate.lane, 0, sizeof(s->gate.lane));
    s->gate.lanes = 0;
    next_case(&s->gate, outcome == NATIVE_RUNNING, &refused, &e);
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < GODWIT_LANES_MAX; i++)
        channel_free(left[i]);
    if (again)
        say_past(again, &past);
    channel_free(again);
    if (refused)
        door_refuse(refused, &e);
}

void sink_clear_gate(struct godwit_sink *s)
{
    struct sink_gate *g = &s->gate;

    channel_free(g->control);
    channel_free(g->again);
    channel_free(g->early.channel);
    for (uint32_t i = 0; i < GODWIT_LANES_MAX; i++)
        channel_free(g->lane[i]);
}
