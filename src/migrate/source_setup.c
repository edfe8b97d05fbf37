/* hello and manifest: the destination judges before anything else happens; then the lanes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/lanes.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "stream/native/hello.h"
#include "stream/native/manifest.h"
#include "stream/native/words.h"

#define STAGE "setup"
/* Room for the manifest's frame and the regions' names. */
#define FRAME_MAX 16384

uint64_t source_link_deadline(struct godwit_source *s)
{
    struct godwit_params p;

    source_params(s, &p);
    return p.link_timeout_ms ? clock_now_ns() + p.link_timeout_ms * NS_PER_MS : 0;
}

int source_connect(struct godwit_source *s, struct channel **out, struct err *e)
{
    struct godwit_params p;

    source_params(s, &p);
    return dialer_connect(&s->dialer, p.link_timeout_ms, &s->stop, out, e);
}

int source_hello(struct link *l, enum native_role role, uint32_t index, const uint8_t *token,
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

    ret = source_connect(s, &c, e);
    if (ret)
        return ret;
    source_params(s, &p);
    link_attach(&s->link, c, p.link_timeout_ms);
    ret = source_hello(&s->link, NATIVE_ROLE_CONTROL, 0, s->token, e);
    if (!ret)
        ret = source_expect(s, NATIVE_WELCOME, source_link_deadline(s), &rec, e);
    return ret ? ret : native_welcome_decode(rec.body, rec.len, e);
}

static int send_manifest(struct godwit_source *s, const struct buf *text, struct err *e)
{
    struct native_manifest m = {.lanes = s->lanes,
                                .verify = s->digest != NULL,
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
    s->offered = !ret;
    buf_fini(&text);
    /* The verdict takes as long as it takes; a link that dies meanwhile is noticed. */
    if (!ret)
        ret = link_ping(&s->link, e);
    return ret ? ret : source_expect(s, NATIVE_ACCEPT, 0, &rec, e);
}

static int begin_digest(struct godwit_source *s, struct err *e)
{
    int ret = digest_init(&s->hashes, s->regions, s->config.nregions, e);

    if (ret)
        return ret;
    s->digest = &s->hashes;
    story_verified(&s->stats, GODWIT_VERIFIED_PENDING, NULL, 0);
    return 0;
}

/* Once it is known who is at the other end. */
static void plan_lanes(struct godwit_source *s, const struct godwit_params *p)
{
    if (dialer_is_single(&s->dialer))
        s->lanes = 1;
    else if (p->lanes)
        s->lanes = p->lanes < GODWIT_LANES_MAX ? p->lanes : GODWIT_LANES_MAX;
    else
        s->lanes = lanes_choose(s->link.channel, s->dialer.tls != NULL);
    stats_plan(&s->stats, s->total, s->lanes);
}

int source_setup(struct godwit_source *s, struct err *e)
{
    struct godwit_params p;
    int ret;

    source_params(s, &p);
    stats_plan(&s->stats, s->total, 0);
    atomic_store(&s->stats.remaining, s->total);
    ret = p.verify ? begin_digest(s, e) : 0;
    if (!ret)
        ret = hello(s, e);
    if (ret)
        return ret;
    plan_lanes(s, &p);
    stats_stage(&s->stats, GODWIT_STAGE_MANIFEST);
    ret = manifest(s, e);
    if (!ret)
        ret = source_lanes(s, NULL, e);
    return ret ? source_reconnect(s, ret, e) : 0;
}
