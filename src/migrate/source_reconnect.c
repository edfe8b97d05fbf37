/*
 * A cut link suspends the migration, not the guest: the lanes stop where they are, the destination
 * is sought with ever longer pauses, and says what it has.  What is between that and what was sent
 * goes again.  Only what the link did is mended; what the destination, the monitor or a person said
 * is final.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "migrate/wait.h"

#define STAGE "link"

#define BACKOFF_FIRST_NS (20 * NS_PER_MS)
#define BACKOFF_MAX_NS   (1 * NS_PER_S)
#define ANSWER_NS        (3 * NS_PER_S)
#define REFUSALS_ENOUGH  5 /* in a row: nobody listens there any more */

struct search {
    struct err first; /* how the link was cut */
    uint64_t began_ns, deadline_ns, backoff_ns;
    unsigned refusals;
    bool final; /* the last failure is not one of the link */
};

static bool is_asked(struct godwit_source *s)
{
    bool asked;

    pthread_mutex_lock(&s->lock);
    asked = s->asked;
    pthread_mutex_unlock(&s->lock);
    return asked;
}

/* ---- one attempt ---------------------------------------------------------------------------- */

/* It did not come to a connection. */
static void judge_refusal(struct search *h, int code)
{
    switch (code) {
    case -ECONNREFUSED:
    case -ENOENT: /* a UNIX path */
        h->final = ++h->refusals == REFUSALS_ENOUGH;
        break;
    case -ENOTCONN:        /* the only connection there was */
    case -EPROTONOSUPPORT: /* TLS */
    case -ENOTSUP:
    case -EINVAL:
    case -EPROTO:
    case -EACCES:
    case -EPERM:
        h->final = true;
        break;
    default:
        h->refusals = 0;
    }
}

static int seek(struct godwit_source *s, struct search *h, struct err *e)
{
    struct link_record rec;
    int ret = source_seek(s, &s->stop, h->deadline_ns, &rec, e);

    if (!ret)
        return 0;
    if (ret > 0) {
        h->final = s->refused = true; /* whatever it says: it has no use for an ABORT */
        return err_set(e, -ECANCELED, STAGE, "the destination has given up meanwhile");
    }
    if (!link_up(&s->link)) {
        judge_refusal(h, ret);
    } else {
        h->final = rec.type != 0;
        s->refused = rec.type == NATIVE_ERROR;
    }
    return ret;
}

static int hear_resume(struct godwit_source *s, struct search *h, struct native_resume *have,
                       struct err *e)
{
    uint64_t deadline = wait_earlier(h->deadline_ns, clock_now_ns() + ANSWER_NS);
    struct link_record rec;
    int ret = source_expect(s, NATIVE_RESUME, deadline, &rec, e);

    h->final = s->refused || ret == -EPROTO;
    if (ret)
        return ret;
    ret = native_resume_decode(rec.body, rec.len, have, e);
    if (!ret &&
        (have->lanes != s->lanes || have->passed > s->sequence || have->passed + 1 < s->sequence))
        ret = err_set(e, -EPROTO, STAGE,
                      "the destination has passed mark %" PRIu64 " of %u lanes, it cannot have "
                      "(mark %" PRIu64 ", %u lanes)",
                      have->passed, have->lanes, s->sequence, s->lanes);
    h->final = ret;
    return ret;
}

static int attempt(struct godwit_source *s, struct search *h, struct err *e)
{
    struct native_resume have;
    int ret;

    link_drop(&s->link);
    s->rehearsing = false; /* what was owed was owed on that link */
    ret = seek(s, h, e);
    if (!ret)
        ret = hear_resume(s, h, &have, e);
    if (!ret) {
        ret = source_lanes(s, &have, e);
        h->final = ret == -ENOMEM;
    }
    return ret ? ret : link_ping(&s->link, e);
}

/* ---- until there is a link ------------------------------------------------------------------ */

static int give_up(struct godwit_source *s, const struct search *h, int code, struct err *e)
{
    struct godwit_params p;

    source_params(s, &p);
    link_drop(&s->link);
    if (h->refusals == REFUSALS_ENOUGH)
        err_prefix(e, "the link was cut (%s) and nobody listens at %s any more", h->first.text,
                   s->uri);
    else if (h->final)
        err_prefix(e, "the link was cut (%s)", h->first.text);
    else
        err_prefix(e, "the link was gone for %u ms (network-timeout)", p.network_timeout_ms);
    return code;
}

static void back_off(struct godwit_source *s, struct search *h)
{
    uint64_t until = wait_earlier(h->deadline_ns, clock_now_ns() + h->backoff_ns);

    while (!atomic_load(&s->stop) && clock_now_ns() < until)
        bell_wait(&s->bell, until);
    h->backoff_ns = h->backoff_ns * 2 < BACKOFF_MAX_NS ? h->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static int search(struct godwit_source *s, struct search *h, struct err *e)
{
    int ret, over;

    for (;;) {
        *e = h->first;
        ret = attempt(s, h, e);
        if (!ret || atomic_load(&s->stop))
            return ret;
        if (h->final || clock_now_ns() >= h->deadline_ns)
            return give_up(s, h, ret, e);
        over = source_heed_deadline(s, "and there is no link", e);
        if (over)
            return over;
        log_info("migrate", "%s is not reached yet: %s", s->uri, e->text);
        back_off(s, h);
        if (atomic_load(&s->stop))
            return err_set(e, -ECANCELED, STAGE, "canceled");
        if (clock_now_ns() >= h->deadline_ns)
            return give_up(s, h, ret, e);
    }
}

static bool is_links_fault(struct godwit_source *s, int code, const struct err *e)
{
    if (!s->offered || s->state_sent || s->refused || is_asked(s))
        return false;
    return link_is_cut(code, e);
}

int source_reconnect(struct godwit_source *s, int code, struct err *e)
{
    struct search h = {.began_ns = clock_now_ns(), .backoff_ns = BACKOFF_FIRST_NS};
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    if (!is_links_fault(s, code, e) || !p.network_timeout_ms)
        return code;
    ret = source_last_words(s, e);
    if (ret)
        return ret;
    h.first = *e;
    h.deadline_ns = h.began_ns + p.network_timeout_ms * NS_PER_MS;
    log_warn("migrate", "the link to %s was cut: %s", s->uri, e->text);
    if (s->sender)
        sender_suspend(s->sender);
    ret = search(s, &h, e);
    if (ret)
        return ret;
    *e = (struct err)ERR_INIT;
    story_reconnected(&s->stats);
    story_decide(&s->stats, "reconnect", "the link was gone for %llu ms: %s",
                 (clock_now_ns() - h.began_ns) / NS_PER_MS, h.first.text);
    return 0;
}
