/* The state: from its arrival until the machine is loaded, proven and READY. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/sink.h"

#define STAGE "migrate"

/* What may come while the last pages do. */
static int hear_meanwhile(struct godwit_sink *s, const struct link_record *rec, struct err *e)
{
    if (rec->type == NATIVE_DIGEST && s->digest)
        return sink_hear_digest(s, rec, e);
    return err_set(e, -EPROTO, STAGE, "the source sent a %s record before READY",
                   native_type_name(rec->type));
}

/* The last pages may still be on their way when the state is here.  Afterwards there are no lanes
 * any more: nothing a source sends can reach the regions, which are the monitor's from now on. */
static int await_pages(struct godwit_sink *s, uint64_t sequence, enum sink_event *why,
                       struct err *e)
{
    struct link_record rec;
    int ret = 0;

    while (!ret && receiver_passed(s->receiver) < sequence)
        if ((ret = sink_wait_once(s, 0, &rec, why, e)) > 0)
            ret = hear_meanwhile(s, &rec, e);
    if (ret)
        return ret;
    *why = SINK_FAIL;
    ret = receiver_ended(s->receiver, sequence, e);
    if (ret)
        return ret;
    receiver_free(s->receiver);
    s->receiver = NULL;
    return 0;
}

/* Cheap, and spares a journal entry: did the source call it off while the state was loaded? */
static int look_for_abort(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    struct link_record rec;
    int ret = sink_wait_once(s, clock_now_ns(), &rec, why, e);

    if (ret > 0)
        ret = hear_meanwhile(s, &rec, e);
    return ret == -ETIME ? 0 : ret;
}

static int load(struct godwit_sink *s, const struct native_state *v, enum sink_event *why,
                struct err *e)
{
    int ret;

    sink_call_begin(s);
    ret = s->config.ops->load_state(s->config.opaque, v->data, v->len, e);
    sink_call_end(s);
    *why = SINK_FAIL;
    if (!ret)
        ret = s->digest ? sink_prove(s, v->sequence, why, e) : look_for_abort(s, why, e);
    if (ret)
        return ret;
    *why = SINK_FAIL;
    sink_call_begin(s);
    ret = s->config.ops->ready(s->config.opaque, s->token, s->peer, e);
    sink_call_end(s);
    if (!ret)
        handover_sink(&s->state, SINK_LOADED);
    return ret;
}

int sink_hear_state(struct godwit_sink *s, const struct link_record *rec, enum sink_event *why,
                    struct err *e)
{
    struct native_state v;
    struct buf body;
    int ret;

    s->state_ns = clock_now_ns();
    stats_stop(&s->stats);
    stats_stage(&s->stats, GODWIT_STAGE_STATE);
    ret = native_state_decode(rec->body, rec->len, &v, e);
    if (ret)
        return ret;
    link_keep_body(&s->link, &body);
    s->was_running = v.was_running;
    stats_state_bytes(&s->stats, v.len);
    ret = await_pages(s, v.sequence, why, e);
    if (!ret)
        ret = load(s, &v, why, e);
    buf_fini(&body);
    return ret;
}
