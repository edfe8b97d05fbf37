/* How the source waits: for the destination, its lanes, a person and the clock, all at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "stream/native/words.h"

/* What a failed lane is explained by travels on the control channel, maybe a moment later. */
#define LAST_WORDS_NS (250 * NS_PER_MS)

void source_params(struct godwit_source *s, struct godwit_params *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->params;
    pthread_mutex_unlock(&s->lock);
    s->link.timeout_ms = out->link_timeout_ms;
}

bool source_is_leaving(struct godwit_source *s)
{
    bool leaving;

    pthread_mutex_lock(&s->lock);
    leaving = s->leaving;
    pthread_mutex_unlock(&s->lock);
    return leaving;
}

void source_call_begin(struct godwit_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->calling = link_up(&s->link);
    pthread_mutex_unlock(&s->lock);
}

void source_call_end(struct godwit_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->calling = false;
    pthread_mutex_unlock(&s->lock);
}

static const char *stage_name(struct godwit_source *s)
{
    struct godwit_stats st;

    stats_get(&s->stats, &st);
    return godwit_stage_name(st.stage);
}

static int hear_error(struct godwit_source *s, const struct link_record *rec, struct err *e)
{
    struct err theirs = ERR_INIT;
    int ret = native_error_decode(rec->body, rec->len, &theirs, e);

    if (ret)
        return ret;
    s->refused = true;
    if (e)
        *e = theirs;
    return theirs.code;
}

static int hear_unexpected(struct godwit_source *s, const struct link_record *rec, struct err *e)
{
    if (rec->type == NATIVE_ERROR)
        return hear_error(s, rec, e);
    return err_set(e, -EPROTO, "link", "the destination sent a %s record out of turn",
                   native_type_name(rec->type));
}

/* Only the length of rounds depends on it: one that lies harms the downtime of its own machine. */
static int hear_passed(struct godwit_source *s, const struct link_record *rec, struct err *e)
{
    uint64_t sequence;
    int ret = native_ping_decode(rec->body, rec->len, &sequence, e);

    if (!ret && sequence > s->passed)
        s->passed = sequence;
    return ret;
}

/* 0: something happened that is no record for the caller; look again. */
static int wait_once(struct godwit_source *s, uint64_t deadline_ns, struct link_record *rec,
                     struct err *e)
{
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    if (s->sender) { /* only this thread sets it */
        ret = sender_error(s->sender, e);
        if (ret)
            return ret;
    }
    ret = link_wait(&s->link, deadline_ns, rec, e);
    if (ret > 0 && rec->type == NATIVE_PASSED)
        return hear_passed(s, rec, e);
    if (ret > 0 && rec->type == NATIVE_REHEARSED && s->rehearsing) {
        s->rehearsing = false; /* too late to be of use */
        return 0;
    }
    return ret;
}

int source_hear(struct godwit_source *s, enum native_type type, uint64_t until_ns,
                struct link_record *rec, struct err *e)
{
    int ret = 0;

    while (!ret)
        ret = wait_once(s, until_ns, rec, e);
    if (ret < 0)
        return ret;
    return rec->type == type ? 0 : hear_unexpected(s, rec, e);
}

int source_expect(struct godwit_source *s, enum native_type type, uint64_t deadline_ns,
                  struct link_record *rec, struct err *e)
{
    int ret = source_hear(s, type, deadline_ns, rec, e);

    if (ret == -ETIME)
        return err_set(e, -ETIMEDOUT, "link", "the destination did not answer in time (%s)",
                       native_type_name(type));
    return ret;
}

int source_wait_lanes(struct godwit_source *s, uint64_t until_ns, struct err *e)
{
    struct link_record rec;
    int ret = 0;

    /* What is written to a socket is not yet there: megabytes in its buffers would be waited for in
     * the blackout, and would flatter the bandwidth. */
    while (!ret && (!sender_idle(s->sender) || s->passed < s->sequence))
        ret = wait_once(s, until_ns, &rec, e);
    if (!ret)
        ret = sender_error(s->sender, e);
    return ret > 0 ? hear_unexpected(s, &rec, e) : ret;
}

int source_wait_ready(struct godwit_source *s, uint64_t deadline_ns, struct err *e)
{
    bool sent = false, ready = false;
    struct link_record rec;
    int ret;

    while (!sent || !ready) {
        if (!sent && sender_idle(s->sender)) {
            sent = true;
            stats_stage(&s->stats, GODWIT_STAGE_READY);
            ret = source_send_digest(s, e);
            if (ret)
                return ret;
            continue;
        }
        ret = wait_once(s, deadline_ns, &rec, e);
        if (ret == -ETIME)
            return err_set(e, -ETIMEDOUT, "link", "%s",
                           sent ? "no READY came" : "it takes the pages too slowly");
        if (ret > 0 && rec.type == NATIVE_READY && !ready && (sent || !s->digest))
            ready = true; /* it cannot have compared what it was not told */
        else if (ret > 0 && rec.type == NATIVE_DIFFERS && sent && s->digest)
            return source_find_difference(s, deadline_ns, e);
        else if (ret > 0)
            return hear_unexpected(s, &rec, e);
        else if (ret < 0)
            return ret;
    }
    s->ready_ns = clock_now_ns();
    return sender_error(s->sender, e);
}

int source_listen(struct godwit_source *s, uint64_t until_ns, struct err *e)
{
    struct link_record rec;
    int ret = wait_once(s, until_ns, &rec, e);

    return ret > 0 ? hear_unexpected(s, &rec, e) : ret;
}

int source_pause(struct godwit_source *s, uint64_t ns, struct err *e)
{
    uint64_t deadline = clock_now_ns() + ns;
    struct link_record rec;
    int ret = 0;

    while (!ret && clock_now_ns() < deadline)
        ret = wait_once(s, deadline, &rec, e);
    if (ret == -ETIME)
        return 0;
    return ret > 0 ? hear_unexpected(s, &rec, e) : ret;
}

int source_say(struct godwit_source *s, enum native_type type, const char *text, struct err *e)
{
    struct native_word w = {.text = ""};
    struct buf b;
    int ret;

    memcpy(w.token, s->token, sizeof(w.token));
    snprintf(w.text, sizeof(w.text), "%s", text);
    buf_init(&b, 0);
    ret = native_word_encode(&b, type, &w);
    return link_post(&s->link, &b, ret, e);
}

int source_last_words(struct godwit_source *s, struct err *e)
{
    uint64_t deadline = clock_now_ns() + LAST_WORDS_NS;
    struct link_record rec;
    struct err theirs = ERR_INIT;
    int ret = 0;

    while (!ret && link_up(&s->link)) {
        ret = link_wait(&s->link, deadline, &rec, NULL);
        if (ret == 1 && rec.type == NATIVE_PASSED)
            ret = 0;
    }
    if (ret != 1 || rec.type != NATIVE_ERROR || !hear_error(s, &rec, &theirs))
        return 0;
    *e = theirs;
    return theirs.code;
}

void source_blame(struct godwit_source *s, int code, struct err *e)
{
    bool asked;

    pthread_mutex_lock(&s->lock);
    asked = s->asked;
    if (asked)
        *e = s->asked_error;
    s->over = true;
    pthread_mutex_unlock(&s->lock);
    if (!asked && (code == -EPIPE || code == -ECONNRESET))
        source_last_words(s, e);
    if (e->code >= 0)
        err_set_errno(e, code < 0 ? code : -EIO, "", "the monitor's callback failed");
    snprintf(e->stage, sizeof(e->stage), "%s", stage_name(s));
}

void source_drop_lanes(struct godwit_source *s)
{
    struct sender *sender;

    pthread_mutex_lock(&s->lock);
    sender = s->sender;
    s->sender = NULL;
    pthread_mutex_unlock(&s->lock);
    sender_free(sender);
}
