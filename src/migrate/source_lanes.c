/* The lanes' channels: opened when the manifest was accepted, and again after a cut. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "migrate/wait.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"

#define STAGE   "setup"
#define LOOK_NS (20 * NS_PER_MS)

static int look_at_control(struct godwit_source *s, struct err *e)
{
    int ret = source_listen(s, clock_now_ns(), e);

    return ret == -ETIME ? 0 : ret;
}

/* Not blind to the control channel: a destination that lost it welcomes no lane. */
static int hear_welcome(struct godwit_source *s, struct link *l, struct err *e)
{
    uint64_t deadline = source_link_deadline(s);
    struct link_record rec;
    struct err theirs = ERR_INIT;
    int ret = 0;

    while (!ret) {
        ret = link_wait(l, wait_earlier(deadline, clock_now_ns() + LOOK_NS), &rec, e);
        if (ret == -ETIME && (!deadline || clock_now_ns() < deadline))
            ret = look_at_control(s, e);
    }
    if (ret == -ETIME)
        return err_set(e, -ETIMEDOUT, "link", "the destination did not answer a lane's hello");
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
        ret = hear_welcome(s, &l, e);
    else
        ret = source_hello(&l, NATIVE_ROLE_LANE, index, s->token, e);
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
        .digest = s->digest,
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

/* After a cut: the lanes go on with new channels and what was lost. */
static int resume_sender(struct godwit_source *s, struct channel **channels,
                         const struct native_resume *have, struct err *e)
{
    /* The next job's mark is the one the destination waits for. */
    bool lost = have->passed != s->sequence;
    int ret;

    ret = sender_resume(s->sender, channels, have->records, lost ? have->lanes : 0, e);
    s->sequence = s->passed = have->passed;
    pthread_mutex_lock(&s->lock);
    if (s->asked)
        sender_stop(s->sender);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

/* All are called before any answer is waited for: the destination answers when all are there. */
static int open_lanes(struct godwit_source *s, struct channel **channels, uint64_t *seen,
                      struct err *e)
{
    uint32_t n = 0;
    int ret = 0;

    while (!ret && n < s->lanes) {
        ret = source_connect(s, &channels[n], e);
        if (!ret)
            ret = greet_lane(s, channels[n], n, false, e);
        if (!ret || channels[n])
            n++;
    }
    for (uint32_t i = 0; !ret && i < n; i++)
        ret = greet_lane(s, channels[i], i, true, e);
    if (!ret)
        ret = source_offer_view(s, channels[0], source_link_deadline(s), seen, e);
    while (ret && n > 0)
        channel_free(channels[--n]);
    return ret;
}

int source_lanes(struct godwit_source *s, const struct native_resume *have, struct err *e)
{
    struct channel *channels[GODWIT_LANES_MAX] = {NULL};
    uint64_t seen = 0;
    int ret = open_lanes(s, channels, &seen, e);

    if (!ret)
        ret = s->sender ? resume_sender(s, channels, have, e) : start_sender(s, channels, e);
    if (!ret)
        sender_set_seen(s->sender, seen);
    return ret;
}
