/* The dress rehearsal: the state travels once for practice, while the guest runs. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "migrate/wait.h"
#include "stream/native/course.h"

#define STAGE     "rehearsal"
#define FRAME_MAX 4096
#define TICK_NS   (100 * NS_PER_MS)
/* The patience with it when there is no link-timeout. */
#define PATIENCE_NS (10 * NS_PER_S)

static int send_rehearsal(struct godwit_source *s, const struct buf *state, struct err *e)
{
    struct native_rehearsal v = {.data = state->data, .len = state->len};
    struct buf b;
    int ret;

    if (state->len > GODWIT_STATE_MAX)
        return err_set(e, -EMSGSIZE, STAGE, "the state has %zu bytes, at most %u are allowed",
                       state->len, GODWIT_STATE_MAX);
    buf_init(&b, GODWIT_STATE_MAX + FRAME_MAX);
    ret = native_rehearsal_encode(&b, &v);
    return link_post(&s->link, &b, ret, e);
}

/* The destination lives, by its keep-alive, but does not come to an end: it is done without. */
static int give_up(struct godwit_source *s)
{
    s->rehearsing = true;
    story_decide(&s->stats, "rehearsal",
                 "the destination has not loaded the state in time: it is "
                 "not known how long that takes");
    return -ENOTSUP;
}

/* Takes as long as loading takes, within reason. The guest runs: deadline and throttle count on. */
static int hear_rehearsed(struct godwit_source *s, struct native_rehearsed *v, struct err *e)
{
    uint64_t limit = source_link_deadline(s), until = limit ? limit : clock_now_ns() + PATIENCE_NS;
    struct link_record rec;
    int ret;

    for (;;) {
        ret = source_hear(s, NATIVE_REHEARSED, wait_earlier(until, clock_now_ns() + TICK_NS), &rec,
                          e);
        if (!ret)
            return native_rehearsed_decode(rec.body, rec.len, v, e);
        if (ret == -ETIME && clock_now_ns() >= until)
            return give_up(s);
        if (ret == -ETIME)
            ret = source_tick(s, e);
        if (ret)
            return ret;
    }
}

/* It did not load for longer than it was waited for, whatever it says: the guest's pause and the
 * patience with the destination follow from this figure. */
static uint64_t believable(uint64_t load_ns, uint64_t waited_ns)
{
    return load_ns < waited_ns ? load_ns : waited_ns;
}

int source_rehearse(struct godwit_source *s, uint64_t *stop_ns, uint64_t *save_ns,
                    uint64_t *load_ns, struct err *e)
{
    struct native_rehearsed v;
    uint64_t began;
    struct buf state;
    int ret;

    if (!s->config.ops->rehearse || s->rehearsing)
        return -ENOTSUP;
    buf_init(&state, GODWIT_STATE_MAX);
    source_call_begin(s);
    ret = s->config.ops->rehearse(s->config.opaque, &state, stop_ns, save_ns, e);
    source_call_end(s);
    began = clock_now_ns();
    if (!ret)
        ret = send_rehearsal(s, &state, e);
    buf_fini(&state);
    if (!ret)
        ret = hear_rehearsed(s, &v, e);
    if (ret)
        return ret;
    *load_ns = believable(v.load_ns, clock_now_ns() - began);
    return v.loaded ? 0 : -ENOTSUP;
}
