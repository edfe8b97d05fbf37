#include "migrate/story.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- decisions ------------------------------------------------------------------------------ */

/* With the lock held. false: it was the last thing said. */
static bool keep_decision(struct stats *st, const char *what, const char *why)
{
    struct godwit_record *r = st->record;
    struct godwit_decision *last = r->ndecisions ? &r->decisions[r->ndecisions - 1] : NULL;
    struct godwit_decision *d;

    if (last && !strcmp(last->what, what) && !strcmp(last->why, why))
        return false;
    if (r->ndecisions == GODWIT_DECISIONS_KEPT) { /* the first stays: how it began */
        memmove(&r->decisions[1], &r->decisions[2],
                (GODWIT_DECISIONS_KEPT - 2) * sizeof(r->decisions[0]));
        r->ndecisions--;
    }
    d = &r->decisions[r->ndecisions++];
    d->at_ns = clock_now_ns() - st->begun_ns;
    snprintf(d->what, sizeof(d->what), "%s", what);
    snprintf(d->why, sizeof(d->why), "%s", why);
    st->s.decisions++;
    return true;
}

void story_decide(struct stats *st, const char *what, const char *why, ...)
{
    char text[sizeof(st->record->decisions[0].why)];
    va_list args;
    bool news;

    va_start(args, why);
    vsnprintf(text, sizeof(text), why, args);
    va_end(args);
    pthread_mutex_lock(&st->lock);
    news = keep_decision(st, what, text);
    pthread_mutex_unlock(&st->lock);
    if (!news)
        return;
    log_info("migrate", "%s: decision: %s: %s", st->s.id, what, text);
    stats_tell(st, GODWIT_EVENT_DECISION);
}

/* ---- rounds and lanes ----------------------------------------------------------------------- */

void story_round_begin(struct stats *st, uint64_t dirty, uint64_t dirty_rate, uint64_t bandwidth,
                       uint64_t predicted_ns, uint32_t throttle)
{
    struct godwit_record *r = st->record;

    pthread_mutex_lock(&st->lock);
    if (r->nrounds == GODWIT_ROUNDS_KEPT) {
        const uint32_t half = GODWIT_ROUNDS_KEPT / 2;

        memmove(&r->rounds[half], &r->rounds[half + 1], (half - 1) * sizeof(r->rounds[0]));
        r->nrounds--;
    }
    r->rounds[r->nrounds++] = (struct godwit_round){
        .start_ns = clock_now_ns() - st->begun_ns,
        .dirty = dirty,
        .dirty_rate = dirty_rate,
        .bandwidth = bandwidth,
        .predicted_ns = predicted_ns,
        .throttle = throttle,
    };
    st->s.throttle = throttle;
    pthread_mutex_unlock(&st->lock);
}

void story_round_end(struct stats *st, uint64_t sent)
{
    struct godwit_record *r = st->record;

    pthread_mutex_lock(&st->lock);
    if (r->nrounds) {
        struct godwit_round *last = &r->rounds[r->nrounds - 1];

        last->sent = sent;
        last->duration_ns = clock_now_ns() - st->begun_ns - last->start_ns;
    }
    pthread_mutex_unlock(&st->lock);
}

void story_throttle(struct stats *st, uint32_t throttle)
{
    pthread_mutex_lock(&st->lock);
    st->s.throttle = throttle;
    pthread_mutex_unlock(&st->lock);
}

void story_lane(struct stats *st, uint32_t lane, const struct godwit_lane *now)
{
    pthread_mutex_lock(&st->lock);
    if (lane < GODWIT_LANES_MAX) {
        st->record->lanes[lane] = *now;
        if (lane >= st->record->nlanes)
            st->record->nlanes = lane + 1;
    }
    pthread_mutex_unlock(&st->lock);
}

/* ---- the blackout --------------------------------------------------------------------------- */

void story_phase(struct stats *st, enum godwit_phase phase, uint64_t ns)
{
    pthread_mutex_lock(&st->lock);
    st->record->phase_ns[phase] += ns;
    pthread_mutex_unlock(&st->lock);
}

void story_phases(struct stats *st, uint64_t out[GODWIT_PHASE_COUNT])
{
    pthread_mutex_lock(&st->lock);
    memcpy(out, st->record->phase_ns, sizeof(st->record->phase_ns));
    pthread_mutex_unlock(&st->lock);
}

void story_predict(struct stats *st, uint64_t downtime_ns, uint64_t total_ns)
{
    pthread_mutex_lock(&st->lock);
    if (downtime_ns)
        st->record->predicted_downtime_ns = downtime_ns;
    if (total_ns)
        st->record->predicted_total_ns = total_ns;
    pthread_mutex_unlock(&st->lock);
}

void story_blackout(struct stats *st, uint64_t blackout_ns, uint64_t rtt_ns)
{
    pthread_mutex_lock(&st->lock);
    st->s.blackout_ns = blackout_ns;
    st->record->rtt_ns = rtt_ns;
    pthread_mutex_unlock(&st->lock);
}

/* ---- who, and what became of it ------------------------------------------------------------- */

void story_id(struct stats *st, const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer,
              bool is_source)
{
    const uint8_t *t = token;

    pthread_mutex_lock(&st->lock);
    snprintf(st->s.id, sizeof(st->s.id),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", t[0], t[1],
             t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13], t[14],
             t[15]);
    snprintf(st->record->peer, sizeof(st->record->peer), "%s", peer);
    st->record->is_source = is_source;
    pthread_mutex_unlock(&st->lock);
}

void story_reconnected(struct stats *st)
{
    pthread_mutex_lock(&st->lock);
    st->s.reconnections++;
    pthread_mutex_unlock(&st->lock);
}

void story_verified(struct stats *st, enum godwit_verified v, const char *differs, uint64_t ns)
{
    pthread_mutex_lock(&st->lock);
    st->s.verified = v;
    st->record->verify_ns = ns;
    snprintf(st->record->differs, sizeof(st->record->differs), "%s", differs ? differs : "");
    pthread_mutex_unlock(&st->lock);
}

void story_get(struct stats *st, struct godwit_record *out)
{
    struct godwit_stats now;

    stats_get(st, &now);
    pthread_mutex_lock(&st->lock);
    *out = *st->record;
    pthread_mutex_unlock(&st->lock);
    out->stats = now;
}
