/* The lanes' channels: taken when the manifest was accepted, and again after a cut. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/sink.h"
#include "migrate/story.h"
#include "stream/native/course.h"

#define STAGE "migrate"

/* Why lanes end travels on the control channel, maybe a moment later. */
#define LAST_WORDS_NS (250 * NS_PER_MS)

static int start_receiver(struct godwit_sink *s, struct channel **channels, struct err *e)
{
    struct receiver_config config = {.regions = s->regions,
                                     .nregions = s->nregions,
                                     .lanes = s->lanes,
                                     .stats = &s->stats,
                                     .digest = s->digest,
                                     .dense = s->config.ops->dense,
                                     .opaque = s->config.opaque,
                                     .bell = &s->bell};
    struct godwit_params p;

    sink_params(s, &p);
    config.link_timeout_ms = p.link_timeout_ms;
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

/* Until all are there and welcomed. -ETIME: they do not come. */
static int await_lanes(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    uint64_t deadline = sink_patience(s);
    struct channel *channels[GODWIT_LANES_MAX];
    struct link_record rec;
    int ret = 0;

    s->link.send_by_ns = deadline;
    while (!ret && !sink_take_lanes(s, channels))
        ret = sink_wait_once(s, deadline, &rec, why, e);
    s->link.send_by_ns = 0;
    if (ret > 0)
        return err_set(e, -EPROTO, STAGE, "the source sent a %s record before its lanes",
                       native_type_name(rec.type));
    if (!ret)
        ret = welcome_lanes(s, channels, e);
    if (ret)
        return ret;
    return s->receiver ? receiver_resume(s->receiver, channels, e) : start_receiver(s, channels, e);
}

int sink_accept(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    int ret;

    sink_open_lanes(s, s->lanes); /* before anybody is told that they may come */
    ret = sink_say(s, NATIVE_ACCEPT, "", e);
    if (!ret)
        ret = await_lanes(s, why, e);
    if (ret != -ETIME)
        return ret;
    *why = SINK_FAIL;
    return err_set(e, -ETIMEDOUT, STAGE, "the source is there, but its lanes do not come");
}

/* ---- after a cut ---------------------------------------------------------------------------- */

bool sink_is_cut(struct godwit_sink *s, int code, const struct err *e)
{
    struct godwit_params p;

    sink_params(s, &p);
    return p.network_timeout_ms && !atomic_load(&s->stop) && link_is_cut(code, e);
}

/* The lanes may have ended because the source calls it off, which it says here. 0: it does not. */
static int hear_last_words(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    uint64_t deadline = clock_now_ns() + LAST_WORDS_NS;
    struct link_record rec;
    struct native_word w;
    int ret = 0;

    while (ret >= 0 && link_up(&s->link) && !sink_has_again(s) && !atomic_load(&s->stop)) {
        ret = link_wait(&s->link, deadline, &rec, NULL);
        if (ret > 0 && rec.type == NATIVE_ABORT) {
            *why = SINK_ABORT;
            ret = native_word_decode(rec.body, rec.len, &w, e);
            return ret ? ret
                       : err_set(e, -ECANCELED, STAGE, "called off by the source: %s", w.text);
        }
    }
    return 0;
}

/* 0: a new link, on which nothing was said yet. */
static int await_source(struct godwit_sink *s, uint64_t deadline, struct err *e)
{
    struct channel *c;
    struct godwit_params p;

    while (!(c = sink_take_again(s))) {
        sink_refuse_early(s);
        sink_params(s, &p);
        if (atomic_load(&s->stop))
            return err_set(e, -ECANCELED, STAGE, "canceled");
        if (clock_now_ns() >= deadline) {
            e->code = -ETIMEDOUT;
            snprintf(e->stage, sizeof(e->stage), STAGE); /* a new link would be too late */
            return err_prefix(e, "the source was gone for %u ms (network-timeout)",
                              p.network_timeout_ms);
        }
        bell_wait(&s->bell, deadline);
    }
    sink_params(s, &p);
    link_attach(&s->link, c, p.link_timeout_ms);
    return 0;
}

static int resume(struct godwit_sink *s, const struct native_resume *have, enum sink_event *why,
                  struct err *e)
{
    struct buf b;
    int ret;

    sink_open_lanes(s, s->lanes);
    buf_init(&b, 0);
    ret = native_welcome_encode(&b);
    if (!ret)
        ret = native_resume_encode(&b, have);
    ret = link_post(&s->link, &b, ret, e);
    if (!ret)
        ret = await_lanes(s, why, e);
    if (ret == -ETIME)
        ret = err_set(e, -ETIMEDOUT, "link", "the source came back, but not its lanes");
    if (ret)
        sink_open_lanes(s, 0);
    return ret;
}

int sink_reunite(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    struct native_resume have = {.lanes = s->lanes};
    struct err first = *e;
    uint64_t began = clock_now_ns();
    struct godwit_params p;
    int ret = hear_last_words(s, why, e);

    if (ret)
        return ret;
    log_warn("migrate", "the link to %s was cut: %s", s->peer, first.text);
    *why = SINK_LOST;
    link_drop(&s->link);
    if (s->receiver)
        receiver_suspend(s->receiver, &have.passed, have.records);
    sink_params(s, &p);
    do {
        *why = SINK_LOST;
        link_drop(&s->link);
        ret = await_source(s, began + p.network_timeout_ms * NS_PER_MS, e);
        if (!ret)
            ret = resume(s, &have, why, e);
    } while (ret && sink_is_cut(s, ret, e));
    if (ret)
        return ret;
    story_reconnected(&s->stats);
    story_decide(&s->stats, "reconnect", "the link was gone for %llu ms: %s",
                 (clock_now_ns() - began) / NS_PER_MS, first.text);
    return 0;
}
