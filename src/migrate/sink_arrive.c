/* hello, manifest, precopy, state: from a source's first word until its machine is loaded. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/sink.h"
#include "stream/native/manifest.h"

#define STAGE "migrate"

/* Whatever ends an arrival. 1: *rec is for the caller; 0: look again; -ETIME; -errno with *why. */
static int wait_once(struct godwit_sink *s, uint64_t deadline_ns, struct link_record *rec,
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
        return err_set(e, -EPIPE, STAGE, "the source gave up this link and opened another");
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
    *why = SINK_FAIL;
    return 1;
}

/* The next record, whatever it is. */
static int next_record(struct godwit_sink *s, struct link_record *rec, enum sink_event *why,
                       struct err *e)
{
    int ret = 0;

    while (!ret)
        ret = wait_once(s, 0, rec, why, e);
    return ret < 0 ? ret : 0;
}

static int expect(struct godwit_sink *s, enum native_type type, struct link_record *rec,
                  enum sink_event *why, struct err *e)
{
    int ret = next_record(s, rec, why, e);

    if (ret || rec->type == type)
        return ret;
    return err_set(e, -EPROTO, STAGE, "the source sent a %s record where a %s was expected",
                   native_type_name(rec->type), native_type_name(type));
}

/* ---- hello, manifest ------------------------------------------------------------------------ */

static int say_welcome(struct godwit_sink *s, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_welcome_encode(&b);
    return link_post(&s->link, &b, ret, e);
}

static void announce_regions(struct godwit_sink *s, const struct native_manifest *m)
{
    s->nregions = m->nregions;
    s->lanes = m->lanes;
    s->total = 0;
    for (uint32_t i = 0; i < m->nregions; i++) {
        s->regions[i] = (struct godwit_region){.id = i, .size = m->regions[i].size};
        snprintf(s->regions[i].name, sizeof(s->regions[i].name), "%s", m->regions[i].name);
        s->total += m->regions[i].size;
    }
    stats_plan(&s->stats, s->total, s->lanes);
    atomic_store(&s->stats.remaining, s->total);
}

static int build(struct godwit_sink *s, const struct native_manifest *m, struct err *e)
{
    int ret;

    handover_sink(&s->state, SINK_ARRIVE); /* from here on there may be something to discard */
    sink_call_begin(s);
    ret =
        s->config.ops->manifest(s->config.opaque, m->text, m->text_len, s->regions, s->nregions, e);
    sink_call_end(s);
    if (ret)
        return ret;
    for (uint32_t i = 0; i < s->nregions; i++)
        if (!s->regions[i].host)
            return err_set(e, -EINVAL, STAGE, "no memory was given for region %s",
                           s->regions[i].name);
    return 0;
}

static int hear_manifest(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    struct native_manifest m;
    struct link_record rec;
    struct buf body;
    int ret;

    ret = expect(s, NATIVE_MANIFEST, &rec, why, e);
    if (ret)
        return ret;
    stats_stage(&s->stats, GODWIT_STAGE_MANIFEST);
    ret = native_manifest_decode(rec.body, rec.len, &m, e);
    if (ret)
        return ret;
    link_keep_body(&s->link, &body);
    announce_regions(s, &m);
    ret = build(s, &m, e);
    buf_fini(&body);
    return ret;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static int start_receiver(struct godwit_sink *s, struct channel **channels, struct err *e)
{
    struct receiver_config config = {.regions = s->regions,
                                     .nregions = s->nregions,
                                     .lanes = s->lanes,
                                     .stats = &s->stats,
                                     .dense = s->config.ops->dense,
                                     .opaque = s->config.opaque,
                                     .bell = &s->bell};

    return receiver_new(&config, channels, &s->receiver, e);
}

/* Only now that all are there: nothing can come on the control channel before that. */
static int welcome_lanes(struct godwit_sink *s, struct channel **channels, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_welcome_encode(&b);
    if (ret)
        err_set_errno(e, ret, STAGE, "building a welcome");
    for (uint32_t i = 0; !ret && i < s->lanes; i++)
        ret = channel_write(channels[i], b.data, b.len, e);
    for (uint32_t i = 0; ret && i < s->lanes; i++)
        channel_free(channels[i]);
    buf_fini(&b);
    return ret;
}

static int accept_lanes(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    struct channel *channels[GODWIT_LANES_MAX];
    struct link_record rec;
    int ret;

    sink_open_lanes(s, s->lanes); /* before anybody is told that they may come */
    ret = sink_say(s, NATIVE_ACCEPT, "", e);
    while (!ret && !sink_take_lanes(s, channels))
        ret = wait_once(s, 0, &rec, why, e);
    if (ret > 0)
        return err_set(e, -EPROTO, STAGE, "the source sent a %s record before its lanes",
                       native_type_name(rec.type));
    if (!ret)
        ret = welcome_lanes(s, channels, e);
    return ret ? ret : start_receiver(s, channels, e);
}

/* ---- precopy, state ------------------------------------------------------------------------- */

static int hear_round(struct godwit_sink *s, const struct link_record *rec, struct err *e)
{
    struct native_round r;
    int ret = native_round_decode(rec->body, rec->len, &r, e);

    if (ret)
        return ret;
    atomic_store(&s->stats.remaining, r.remaining);
    stats_round(&s->stats, r.round, 0, 0, 0);
    return 0;
}

/* The source ends a round by this word, and not by what it has written to its sockets. */
static int say_passed(struct godwit_sink *s, uint64_t *said, struct err *e)
{
    uint64_t passed = receiver_passed(s->receiver);
    struct buf b;
    int ret;

    if (passed == *said)
        return 0;
    *said = passed;
    buf_init(&b, 0);
    ret = native_ping_encode(&b, NATIVE_PASSED, passed);
    return link_post(&s->link, &b, ret, e);
}

static int hear_rounds(struct godwit_sink *s, struct link_record *rec, enum sink_event *why,
                       struct err *e)
{
    uint64_t said = 0;
    int ret;

    for (;;) {
        ret = wait_once(s, 0, rec, why, e);
        if (ret > 0 && rec->type != NATIVE_ROUND)
            break;
        if (ret > 0)
            ret = hear_round(s, rec, e);
        if (!ret)
            ret = say_passed(s, &said, e);
        if (ret)
            return ret;
    }
    if (rec->type == NATIVE_STATE)
        return 0;
    return err_set(e, -EPROTO, STAGE, "the source sent a %s record among the rounds",
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
        ret = wait_once(s, 0, &rec, why, e);
    if (ret > 0)
        return err_set(e, -EPROTO, STAGE, "the source sent a %s record before READY",
                       native_type_name(rec.type));
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
    int ret = wait_once(s, clock_now_ns(), &rec, why, e);

    if (ret > 0)
        return err_set(e, -EPROTO, STAGE, "the source sent a %s record before READY",
                       native_type_name(rec.type));
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
        ret = look_for_abort(s, why, e);
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

static int hear_state(struct godwit_sink *s, const struct link_record *rec, enum sink_event *why,
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

int sink_arrive(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    struct link_record rec;
    int ret;

    *why = SINK_LOST;
    ret = say_welcome(s, e);
    if (!ret)
        ret = hear_manifest(s, why, e);
    if (!ret)
        ret = accept_lanes(s, why, e);
    if (ret)
        return ret;
    stats_status(&s->stats, GODWIT_ACTIVE, NULL);
    stats_stage(&s->stats, GODWIT_STAGE_PRECOPY);
    ret = hear_rounds(s, &rec, why, e);
    return ret ? ret : hear_state(s, &rec, why, e);
}
