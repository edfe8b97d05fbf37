/* How a source that lost its link finds the destination again (doc/spec/handover.md, "Again"). */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"

#define STAGE "handover"

/* One attempt; the caller tries again. */
#define ATTEMPT_NS (3 * NS_PER_S)

static int reconnect(struct godwit_source *s, const atomic_bool *cancel, uint64_t deadline_ns,
                     struct err *e)
{
    struct godwit_params p;
    struct channel *c;
    struct buf b;
    uint64_t now = clock_now_ns();
    int ret;

    if (now >= deadline_ns)
        return err_set(e, -ETIMEDOUT, STAGE, "no time is left to reach %s", s->uri);
    ret =
        dialer_connect(&s->dialer, (uint32_t)((deadline_ns - now) / NS_PER_MS) + 1, cancel, &c, e);
    if (ret)
        return ret;
    source_params(s, &p);
    link_attach(&s->link, c, p.link_timeout_ms);
    buf_init(&b, 0);
    ret = native_hello_encode(&b, NATIVE_ROLE_AGAIN, 0, s->token);
    return link_post(&s->link, &b, ret, e);
}

static int judge_answer(const struct link_record *rec, struct err *e)
{
    struct err theirs = ERR_INIT;

    switch (rec->type) {
    case NATIVE_WELCOME:
        return native_welcome_decode(rec->body, rec->len, e);
    case NATIVE_RUNNING:
    case NATIVE_NEVER_RAN:
        return 1;
    case NATIVE_ERROR:
        if (native_error_decode(rec->body, rec->len, &theirs, e))
            return -EPROTO;
        *e = theirs;
        return theirs.code;
    default:
        return err_set(e, -EPROTO, STAGE, "the destination answered with a %s record",
                       native_type_name(rec->type));
    }
}

int source_seek(struct godwit_source *s, const atomic_bool *cancel, uint64_t deadline_ns,
                struct link_record *rec, struct err *e)
{
    uint64_t attempt = clock_now_ns() + ATTEMPT_NS;
    int ret;

    if (deadline_ns < attempt)
        attempt = deadline_ns;
    rec->type = 0;
    ret = reconnect(s, cancel, attempt, e);
    while (!ret && !atomic_load(cancel)) {
        ret = link_wait(&s->link, attempt, rec, e);
        if (ret == -ETIME)
            ret = err_set(e, -ETIMEDOUT, STAGE, "%s took the connection but says nothing", s->uri);
        if (ret > 0)
            return judge_answer(rec, e);
    }
    if (!ret)
        ret = err_set(e, -ECANCELED, STAGE, "interrupted");
    return ret;
}
