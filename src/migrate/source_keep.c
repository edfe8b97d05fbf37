/*
 * The migration will not happen.  First the guest goes on, as it was; then everything that was set
 * up is taken down; then, without anybody waiting for it, the destination is told, for if it was
 * READY it would wait for ever.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/source.h"
#include "stream/native/words.h"

#define STAGE "handover"

#define ABORT_NS        (50 * NS_PER_MS)
#define FAREWELL_NS     (200 * NS_PER_MS)
#define RETRY_NS        (200 * NS_PER_MS)
#define COURTESY_NS     (3 * NS_PER_S)
#define REFUSALS_ENOUGH 5 /* in a row, RETRY_NS apart: nobody listens there any more */

/* 1: it knows; 0: not yet. */
static int heed(struct godwit_source *s, const struct link_record *rec)
{
    if (rec->type == NATIVE_RUNNING) {
        log_error("migrate",
                  "%s says that it runs the machine that was resumed here: a person "
                  "must have told it so; stop one of the two",
                  s->uri);
        return 1;
    }
    return rec->type == NATIVE_NEVER_RAN || rec->type == NATIVE_ERROR;
}

/* Waits for the answer to ABORT on the link as it is. 1: it knows; -errno: the link is gone. */
static int hear_answer(struct godwit_source *s, uint64_t deadline)
{
    struct link_record rec;
    int ret = 0;

    while (!ret) {
        ret = link_wait(&s->link, deadline, &rec, NULL);
        if (ret > 0)
            ret = heed(s, &rec);
        if (!ret && clock_now_ns() >= deadline)
            ret = -ETIME; /* it says this and that, but not what was asked */
    }
    return ret;
}

/* Said by whoever listens there now, who does not hold this machine; not by connect, of a UNIX path
 * that is gone. */
static bool is_unknown(const struct godwit_source *s, int ret)
{
    return ret == -ENOENT && link_up(&s->link);
}

/* Nobody listens there. */
static bool is_refusal(const struct godwit_source *s, int ret)
{
    return !link_up(&s->link) && (ret == -ECONNREFUSED || ret == -ENOENT);
}

static int tell_again(struct godwit_source *s, const char *why, uint64_t deadline, struct err *e)
{
    struct link_record rec;
    int ret;

    link_drop(&s->link); /* whether there is one afterwards tells who failed */
    ret = source_seek(s, &s->hurry, deadline, &rec, e);
    if (ret > 0)
        return heed(s, &rec);
    if (!ret)
        ret = source_say(s, NATIVE_ABORT, why, e);
    return ret ? ret : hear_answer(s, deadline);
}

/* It may be READY: it must be told, if it can be. */
static void tell_until_heard(struct godwit_source *s, const char *why, int ret)
{
    struct godwit_params p;
    uint64_t deadline;
    int refusals = 0;

    source_params(s, &p);
    deadline = clock_now_ns() + p.handover_timeout_ms * NS_PER_MS;
    if (!ret)
        ret = hear_answer(s, deadline);
    while (ret <= 0 && clock_now_ns() < deadline && refusals < REFUSALS_ENOUGH) {
        struct err e = ERR_INIT;

        ret = tell_again(s, why, deadline, &e);
        if (is_unknown(s, ret))
            return;
        refusals = is_refusal(s, ret) ? refusals + 1 : 0;
        if (ret <= 0)
            bell_wait(&s->bell, clock_now_ns() + RETRY_NS);
    }
    if (ret <= 0)
        log_warn("migrate",
                 "%s could not be told that the migration was called off; if it is "
                 "ready it stays paused until it is told",
                 s->uri);
}

/* The link is gone, and the destination keeps what it has until network-timeout: nothing is at
 * stake, but it would refuse the next migration until then. */
static void tell_suspended(struct godwit_source *s, const char *why)
{
    uint64_t deadline = clock_now_ns() + COURTESY_NS;
    int refusals = 0, ret = -EPIPE;

    while (ret <= 0 && clock_now_ns() < deadline && refusals < 2 && !source_is_leaving(s)) {
        struct err e = ERR_INIT;

        ret = tell_again(s, why, deadline, &e);
        if (is_unknown(s, ret))
            return;
        refusals = is_refusal(s, ret) ? refusals + 1 : 0;
        if (ret <= 0)
            bell_wait(&s->bell, clock_now_ns() + RETRY_NS);
    }
}

/* Says ABORT on the link as it is; hardly ever waits. 0: an answer may come. */
static int say_abort(struct godwit_source *s, const char *why)
{
    int ret;

    s->link.stop = NULL;
    s->link.send_by_ns = clock_now_ns() + ABORT_NS;
    ret = s->refused ? -EPIPE : source_say(s, NATIVE_ABORT, why, NULL);
    s->link.send_by_ns = 0;
    return ret;
}

/* ret: what say_abort returned. */
static void see_told(struct godwit_source *s, const char *why, int ret)
{
    if (s->refused)
        return;
    if (s->state_sent)
        tell_until_heard(s, why, ret);
    else if (!ret)
        hear_answer(s, clock_now_ns() + FAREWELL_NS);
    else if (s->offered)
        tell_suspended(s, why);
}

void source_tell(struct godwit_source *s, const char *why)
{
    see_told(s, why, say_abort(s, why));
}

static void journal_abort(struct godwit_source *s)
{
    struct err e = ERR_INIT;

    if (s->intent && s->config.ops->journal &&
        s->config.ops->journal(s->config.opaque, GODWIT_JOURNAL_ABORT, s->token, s->uri, &e))
        log_error("migrate", "journal: %s", e.text);
}

void source_keep(struct godwit_source *s, int code, struct err *e)
{
    enum godwit_status status;
    int ret;

    if (handover_source(&s->state, SOURCE_FAIL) == HANDOVER_RESUME) {
        s->config.ops->resume(s->config.opaque);
        stats_downtime(&s->stats, clock_now_ns() - s->stopped_ns);
    }
    source_blame(s, code, e);
    /* Before the lanes end, which would look like a cut, and before the status: who sees that may
     * begin the next migration in the same instant. */
    ret = say_abort(s, e->text);
    source_drop_lanes(s);
    if (s->tracking)
        s->config.ops->dirty_stop(s->config.opaque);
    s->tracking = false;
    journal_abort(s);
    pthread_mutex_lock(&s->lock);
    status = s->asked ? s->asked_status : GODWIT_FAILED;
    pthread_mutex_unlock(&s->lock);
    stats_status(&s->stats, status, e);
    see_told(s, e->text, ret);
}
