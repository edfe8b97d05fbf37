/* hello and manifest: the destination judges before anything else happens; then the lanes. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "stream/native/hello.h"
#include "stream/native/manifest.h"
#include "stream/native/words.h"

#define STAGE       "setup"
#define FEW_CPUS    4
#define LANES_LIMIT 8
/* Room for the manifest's frame and the regions' names. */
#define FRAME_MAX 16384

static uint32_t choose_lanes(void)
{
    cpu_set_t set;
    uint32_t cpus = 1;

    if (!sched_getaffinity(0, sizeof(set), &set))
        cpus = (uint32_t)CPU_COUNT(&set);
    if (cpus <= FEW_CPUS)
        return cpus < 2 ? 1 : 2;
    return cpus / 2 < LANES_LIMIT ? cpus / 2 : LANES_LIMIT;
}

static uint64_t link_deadline(struct godwit_source *s)
{
    struct godwit_params p;

    source_params(s, &p);
    return p.link_timeout_ms ? clock_now_ns() + p.link_timeout_ms * NS_PER_MS : 0;
}

static int connect_channel(struct godwit_source *s, struct channel **out, struct err *e)
{
    struct godwit_params p;

    source_params(s, &p);
    return dialer_connect(&s->dialer, p.link_timeout_ms, &s->stop, out, e);
}

static int say_hello(struct link *l, enum native_role role, uint32_t index, const uint8_t *token,
                     struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_hello_encode(&b, role, index, token);
    return link_post(l, &b, ret, e);
}

static int hello(struct godwit_source *s, struct err *e)
{
    struct channel *c;
    struct godwit_params p;
    struct link_record rec;
    int ret;

    ret = connect_channel(s, &c, e);
    if (ret)
        return ret;
    source_params(s, &p);
    link_attach(&s->link, c, p.link_timeout_ms);
    ret = say_hello(&s->link, NATIVE_ROLE_CONTROL, 0, s->token, e);
    if (!ret)
        ret = source_expect(s, NATIVE_WELCOME, link_deadline(s), &rec, e);
    return ret ? ret : native_welcome_decode(rec.body, rec.len, e);
}

static int send_manifest(struct godwit_source *s, const struct buf *text, struct err *e)
{
    struct native_manifest m = {.lanes = s->lanes,
                                .nregions = s->config.nregions,
                                .text = text->data,
                                .text_len = text->len};
    struct buf b;
    int ret;

    for (uint32_t i = 0; i < m.nregions; i++) {
        m.regions[i].size = s->regions[i].size;
        snprintf(m.regions[i].name, sizeof(m.regions[i].name), "%s", s->regions[i].name);
    }
    buf_init(&b, GODWIT_MANIFEST_MAX + FRAME_MAX);
    ret = native_manifest_encode(&b, &m);
    return link_post(&s->link, &b, ret, e);
}

static int manifest(struct godwit_source *s, struct err *e)
{
    struct link_record rec;
    struct buf text;
    int ret;

    buf_init(&text, GODWIT_MANIFEST_MAX);
    ret = s->config.ops->manifest(s->config.opaque, &text, e);
    if (!ret && text.len > GODWIT_MANIFEST_MAX)
        ret = err_set(e, -EMSGSIZE, STAGE, "the manifest has %zu bytes, at most %u are allowed",
                      text.len, GODWIT_MANIFEST_MAX);
    if (!ret)
        ret = send_manifest(s, &text, e);
    buf_fini(&text);
    /* The verdict takes as long as it takes; a link that dies meanwhile is noticed. */
    if (!ret)
        ret = link_ping(&s->link, e);
    return ret ? ret : source_expect(s, NATIVE_ACCEPT, 0, &rec, e);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static int hear_welcome(struct link *l, uint64_t deadline, struct err *e)
{
    struct link_record rec;
    struct err theirs = ERR_INIT;
    int ret = 0;

    while (!ret)
        ret = link_wait(l, deadline, &rec, e);
    if (ret == -ETIME)
        return err_set(e, -ETIMEDOUT, STAGE, "the destination did not answer a lane's hello");
    if (ret < 0)
        return ret;
    if (rec.type == NATIVE_WELCOME)
        return native_welcome_decode(rec.body, rec.len, e);
    if (rec.type == NATIVE_ERROR && !native_error_decode(rec.body, rec.len, &theirs, e)) {
        *e = theirs;
        return theirs.code;
    }
    return err_set(e, -EPROTO, STAGE, "a lane's hello was answered by a %s record",
                   native_type_name(rec.type));
}

/* Says hello on a lane, or hears the answer. A link only for the length of the exchange, so that
 * the bell is heard. */
static int greet_lane(struct godwit_source *s, struct channel *c, uint32_t index, bool answer,
                      struct err *e)
{
    struct godwit_params p;
    struct link l;
    int ret;

    source_params(s, &p);
    link_init(&l, &s->bell, &s->stop, &s->stats.transferred, false);
    link_attach(&l, c, p.link_timeout_ms);
    if (answer)
        ret = hear_welcome(&l, link_deadline(s), e);
    else
        ret = say_hello(&l, NATIVE_ROLE_LANE, index, s->token, e);
    l.channel = NULL;
    link_fini(&l);
    channel_set_timeout(c, p.link_timeout_ms);
    return ret;
}

/* On a lane: the destination does not take a long callback here for silence. */
static void keep_alive(void *arg)
{
    struct godwit_source *s = arg;

    pthread_mutex_lock(&s->lock);
    if (s->calling)
        link_nudge(&s->link);
    pthread_mutex_unlock(&s->lock);
}

static int start_sender(struct godwit_source *s, struct channel **channels, struct err *e)
{
    struct sender_config config = {
        .ops = s->config.ops,
        .opaque = s->config.opaque,
        .regions = s->regions,
        .nregions = s->config.nregions,
        .lanes = s->lanes,
        .pace = &s->pace,
        .stats = &s->stats,
        .bell = &s->bell,
        .idle = keep_alive,
        .idle_arg = s,
    };
    struct sender *sender;
    int ret = sender_new(&config, channels, &sender, e);

    if (ret)
        return ret;
    pthread_mutex_lock(&s->lock);
    s->sender = sender;
    if (s->asked) /* just before there was something to stop */
        sender_stop(sender);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* All are called before any answer is waited for: the destination answers when all are there. */
static int lanes(struct godwit_source *s, struct err *e)
{
    struct channel *channels[GODWIT_LANES_MAX] = {NULL};
    uint32_t n = 0;
    int ret = 0;

    while (!ret && n < s->lanes) {
        ret = connect_channel(s, &channels[n], e);
        if (!ret)
            ret = greet_lane(s, channels[n], n, false, e);
        if (!ret || channels[n])
            n++;
    }
    for (uint32_t i = 0; !ret && i < n; i++)
        ret = greet_lane(s, channels[i], i, true, e);
    if (!ret)
        return start_sender(s, channels, e);
    while (n > 0)
        channel_free(channels[--n]);
    return ret;
}

int source_setup(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    s->lanes = dialer_is_single(&s->dialer) ? 1 : p.lanes ? p.lanes : choose_lanes();
    if (s->lanes > GODWIT_LANES_MAX)
        s->lanes = GODWIT_LANES_MAX;
    stats_plan(&s->stats, s->total, s->lanes);
    atomic_store(&s->stats.remaining, s->total);
    ret = hello(s, e);
    if (ret)
        return ret;
    stats_stage(&s->stats, GODWIT_STAGE_MANIFEST);
    ret = manifest(s, e);
    return ret ? ret : lanes(s, e);
}
