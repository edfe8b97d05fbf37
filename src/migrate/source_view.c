/* The offer to see memory rather than be sent it (view.h), made on the first lane. */
#include <errno.h>

#include "migrate/source.h"
#include "migrate/story.h"
#include "migrate/view.h"
#include "stream/native/words.h"

#define STAGE "setup"

static int send_offer(struct channel *c, const struct native_view *offer, const int *fds,
                      struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_view_encode(&b, offer);
    if (ret)
        err_set_errno(e, ret, STAGE, "building an offer");
    else
        ret = channel_send_fds(c, b.data, b.len, fds, offer->n, e);
    buf_fini(&b);
    return ret;
}

/* A link only for the length of the exchange, so that the bell is heard. */
static int hear_answer(struct godwit_source *s, struct channel *c, uint64_t deadline_ns,
                       struct native_view *answer, struct err *e)
{
    struct godwit_params p;
    struct link_record rec;
    struct link l;
    int ret = 0;

    source_params(s, &p);
    link_init(&l, &s->bell, &s->stop, &s->stats.transferred, false);
    link_attach(&l, c, p.link_timeout_ms);
    while (!ret)
        ret = link_wait(&l, deadline_ns, &rec, e);
    if (ret == -ETIME)
        ret = err_set(e, -ETIMEDOUT, STAGE, "the destination did not answer on a lane");
    else if (ret > 0 && rec.type != NATIVE_VIEW)
        ret = err_set(e, -EPROTO, STAGE, "an offer was answered by a %s record",
                      native_type_name(rec.type));
    else if (ret > 0)
        ret = native_view_decode(rec.body, rec.len, answer, e);
    l.channel = NULL;
    link_fini(&l);
    return ret;
}

/* Bit per region that was offered and that the answer names; *ok: it names no other. */
static uint64_t seen_of(const struct native_view *offer, const struct native_view *answer, bool *ok)
{
    uint64_t offered = 0, seen = 0;

    for (uint32_t i = 0; i < offer->n; i++)
        offered |= 1ULL << offer->files[i].region;
    for (uint32_t i = 0; i < answer->n; i++)
        seen |= 1ULL << answer->files[i].region;
    *ok = !(seen & ~offered);
    return seen;
}

int source_offer_view(struct godwit_source *s, struct channel *c, uint64_t deadline_ns,
                      uint64_t *seen, struct err *e)
{
    struct native_view offer, answer;
    int fds[NATIVE_VIEW_MAX], ret;
    bool ok;

    *seen = 0;
    view_offer(s->regions, s->config.nregions, &offer, fds);
    if (!channel_is_own(c) || offer.n == 0)
        return 0;
    ret = send_offer(c, &offer, fds, e);
    if (!ret)
        ret = hear_answer(s, c, deadline_ns, &answer, e);
    if (ret)
        return ret;
    *seen = seen_of(&offer, &answer, &ok);
    if (!ok)
        return err_set(e, -EPROTO, STAGE, "the destination takes a file that was not offered");
    if (*seen)
        story_decide(&s->stats, "view",
                     "both sides are on this host: the destination reads memory where it is");
    return 0;
}
