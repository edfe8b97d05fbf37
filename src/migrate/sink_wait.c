/* How the destination waits: for the source, its lanes, the door and the clock, all at once. */
#include <errno.h>

#include "migrate/sink.h"

#define STAGE "migrate"

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
    if (sink_has_again(s))
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

/* The next record, whatever it is. */
static int next_record(struct godwit_sink *s, struct link_record *rec, enum sink_event *why,
                       struct err *e)
{
    int ret = 0;

    while (!ret)
        ret = sink_wait_once(s, 0, rec, why, e);
    return ret < 0 ? ret : 0;
}

int sink_expect(struct godwit_sink *s, enum native_type type, struct link_record *rec,
                enum sink_event *why, struct err *e)
{
    int ret = next_record(s, rec, why, e);

    if (ret || rec->type == type)
        return ret;
    return err_set(e, -EPROTO, STAGE, "the source sent a %s record where a %s was expected",
                   native_type_name(rec->type), native_type_name(type));
}
