/* hello, manifest, precopy: from a source's first word until the state arrives. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migrate/sink.h"
#include "stream/native/course.h"
#include "stream/native/manifest.h"

#define STAGE "migrate"

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

    s->link.send_by_ns = sink_patience(s); /* PINGs that are to be answered do not extend it */
    ret = sink_expect(s, NATIVE_MANIFEST, s->link.send_by_ns, &rec, why, e);
    s->link.send_by_ns = 0;
    if (ret)
        return ret;
    stats_stage(&s->stats, GODWIT_STAGE_MANIFEST);
    ret = native_manifest_decode(rec.body, rec.len, &m, e);
    if (ret)
        return ret;
    link_keep_body(&s->link, &body);
    announce_regions(s, &m);
    ret = build(s, &m, e);
    if (!ret && m.verify)
        ret = sink_digest_begin(s, e);
    buf_fini(&body);
    return ret;
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

static int say_rehearsed(struct godwit_sink *s, const struct native_rehearsed *v, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_rehearsed_encode(&b, v);
    return link_post(&s->link, &b, ret, e);
}

/* A failure is a verdict on the machine, as the manifest's. */
static int hear_rehearsal(struct godwit_sink *s, const struct link_record *rec, struct err *e)
{
    struct native_rehearsed how = {.loaded = s->config.ops->rehearse != NULL};
    struct native_rehearsal v;
    struct buf body;
    int ret = native_rehearsal_decode(rec->body, rec->len, &v, e);

    if (ret)
        return ret;
    link_keep_body(&s->link, &body);
    if (how.loaded) {
        sink_call_begin(s);
        ret = s->config.ops->rehearse(s->config.opaque, v.data, v.len, &how.load_ns, e);
        sink_call_end(s);
    }
    buf_fini(&body);
    return ret ? ret : say_rehearsed(s, &how, e);
}

/* Until the state arrives: *rec is it. */
static int hear_rounds(struct godwit_sink *s, struct link_record *rec, enum sink_event *why,
                       struct err *e)
{
    uint64_t said = 0;
    int ret;

    for (;;) {
        ret = sink_wait_once(s, 0, rec, why, e);
        if (ret > 0 && rec->type == NATIVE_STATE)
            return 0;
        if (ret > 0 && rec->type == NATIVE_ROUND)
            ret = hear_round(s, rec, e);
        else if (ret > 0 && rec->type == NATIVE_REHEARSAL)
            ret = hear_rehearsal(s, rec, e);
        else if (ret > 0)
            return err_set(e, -EPROTO, STAGE, "the source sent a %s record among the rounds",
                           native_type_name(rec->type));
        if (!ret)
            ret = say_passed(s, &said, e);
        if (ret)
            return ret;
    }
}

/* A cut link suspends it. */
static int precopy(struct godwit_sink *s, struct link_record *rec, enum sink_event *why,
                   struct err *e)
{
    bool active = false;
    int ret = sink_accept(s, why, e);

    for (;;) {
        if (!ret && !active) {
            active = true;
            stats_status(&s->stats, GODWIT_ACTIVE, NULL);
            stats_stage(&s->stats, GODWIT_STAGE_PRECOPY);
        }
        if (!ret)
            ret = hear_rounds(s, rec, why, e);
        if (!ret || !sink_is_cut(s, ret, e))
            return ret;
        ret = sink_reunite(s, why, e);
        if (ret)
            return ret;
    }
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
        ret = precopy(s, &rec, why, e);
    return ret ? ret : sink_hear_state(s, &rec, why, e);
}
