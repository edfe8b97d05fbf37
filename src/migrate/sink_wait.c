/* How the destination waits: for the source, its lanes, the door and the clock, all at once. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/sink.h"

#define STAGE "migrate"
/* A link-timeout that is off does not let a stranger stay for ever. */
#define PATIENCE_MS 30000U

/* The source is back on another link.  On the one here its manifest may still wait to be read,
 * without which there is nothing to come back to. */
static bool has_moved(struct godwit_sink *s)
{
    return sink_has_again(s) && (s->state != SINK_EMPTY || !link_has_input(&s->link));
}

/* Whatever ends an arrival. 1: *rec is for the caller; 0: look again; -ETIME; -errno with *why. */
int sink_wait_once(struct godwit_sink *s, uint64_t deadline_ns, struct link_record *rec,
                   enum sink_event *why, struct err *e)
{
    struct native_word w;
    struct godwit_params p;
    int ret;

    sink_params(s, &p);
    *why = SINK_FAIL;
    ret = s->receiver ? receiver_error(s->receiver, e) : 0;
    if (ret)
        return ret;
    *why = SINK_LOST;
    if (has_moved(s))
        return err_set(e, -EPIPE, "link", "the source gave up this link and opened another");
    if (!link_has_input(&s->link))
        sink_refuse_early(s);
    ret = link_wait(&s->link, deadline_ns, rec, e);
    if (ret <= 0)
        return ret;
    if (rec->type == NATIVE_ABORT) {
        *why = SINK_ABORT;
        ret = native_word_decode(rec->body, rec->len, &w, e);
        return ret ? ret : err_set(e, -ECANCELED, STAGE, "called off by the source: %s", w.text);
    }
    if (rec->type == NATIVE_QUERY)
        return 0; /* there is nothing to say yet */
    *why = SINK_FAIL;
    return 1;
}

uint64_t sink_patience(struct godwit_sink *s)
{
    struct godwit_params p;

    sink_params(s, &p);
    return clock_now_ns() + (p.link_timeout_ms ? 2 * p.link_timeout_ms : PATIENCE_MS) * NS_PER_MS;
}

/* The next record, whatever it is. */
static int next_record(struct godwit_sink *s, uint64_t deadline_ns, struct link_record *rec,
                       enum sink_event *why, struct err *e)
{
    int ret = 0;

    while (!ret)
        ret = sink_wait_once(s, deadline_ns, rec, why, e);
    return ret < 0 ? ret : 0;
}

int sink_expect(struct godwit_sink *s, enum native_type type, uint64_t deadline_ns,
                struct link_record *rec, enum sink_event *why, struct err *e)
{
    int ret = next_record(s, deadline_ns, rec, why, e);

    if (ret == -ETIME) {
        *why = SINK_FAIL;
        return err_set(e, -ETIMEDOUT, STAGE, "the source sent no whole %s record in time",
                       native_type_name(type));
    }
    if (ret || rec->type == type)
        return ret;
    return err_set(e, -EPROTO, STAGE, "the source sent a %s record where a %s was expected",
                   native_type_name(rec->type), native_type_name(type));
}
