/* What a process that knows nothing but its journal asks the destination (doc/spec/handover.md). */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "godwit/migrate.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"
#include "transport/dial.h"
#include "wire/record.h"

#define STAGE       "handover"
#define ANSWER_MAX  65536
#define RECORDS_MAX 16 /* of no interest, before the answer */

struct ask {
    struct channel *channel;
    const uint8_t *token;
    uint64_t deadline_ns;
    uint8_t body[ANSWER_MAX + 8]; /* of the record heard last, */
    size_t len;                   /* without its check sum */
};

static int say(struct ask *a, struct buf *b, int ret, struct err *e)
{
    if (ret)
        err_set_errno(e, ret, STAGE, "building a record");
    else
        ret = channel_write(a->channel, b->data, b->len, e);
    buf_fini(b);
    return ret;
}

static int say_hello(struct ask *a, struct err *e)
{
    struct buf b;

    buf_init(&b, 0);
    return say(a, &b, native_hello_encode(&b, NATIVE_ROLE_AGAIN, 0, a->token), e);
}

static int say_word(struct ask *a, enum native_type type, struct err *e)
{
    struct native_word w = {.text = "the source's process died"};
    struct buf b;

    memcpy(w.token, a->token, sizeof(w.token));
    buf_init(&b, 0);
    return say(a, &b, native_word_encode(&b, type, &w), e);
}

static int hear(struct ask *a, struct record_header *h, struct err *e)
{
    uint8_t head[RECORD_HEADER_SIZE];
    uint64_t now = clock_now_ns();
    int ret;

    if (now >= a->deadline_ns)
        return err_set(e, -ETIMEDOUT, STAGE, "no answer came in time");
    channel_set_timeout(a->channel, (uint32_t)((a->deadline_ns - now) / NS_PER_MS) + 1);
    ret = channel_read(a->channel, head, sizeof(head), e);
    if (!ret)
        ret = record_header_decode(head, ANSWER_MAX, h, e);
    if (!ret)
        ret = channel_read(a->channel, a->body, (size_t)record_padded(h->length), e);
    return ret ? ret : record_check(h, a->body, &a->len, e);
}

static int heed_error(struct ask *a, enum godwit_answer *out, struct err *e)
{
    struct err theirs = ERR_INIT;
    int ret = native_error_decode(a->body, a->len, &theirs, e);

    if (ret)
        return ret;
    if (theirs.code != -ENOENT) {
        *e = theirs;
        return theirs.code;
    }
    *out = GODWIT_ANSWER_UNKNOWN;
    return 1;
}

static int heed_word(struct ask *a, enum godwit_answer answer, enum godwit_answer *out,
                     struct err *e)
{
    struct native_word w;
    int ret = native_word_decode(a->body, a->len, &w, e);

    if (ret)
        return ret;
    if (memcmp(w.token, a->token, sizeof(w.token)))
        return err_set(e, -EPROTO, STAGE, "the destination speaks of another migration");
    *out = answer;
    return 1;
}

/* 1: that was the answer; 0: not yet. */
static int heed(struct ask *a, uint32_t type, enum godwit_answer *out, struct err *e)
{
    switch (type) {
    case NATIVE_WELCOME: /* it has the machine: how is it? */
        return say_word(a, NATIVE_QUERY, e);
    case NATIVE_RESUME: /* a part of it, of which no other part will come */
        return say_word(a, NATIVE_ABORT, e);
    case NATIVE_READY:
        return heed_word(a, GODWIT_ANSWER_READY, out, e);
    case NATIVE_RUNNING:
        return heed_word(a, GODWIT_ANSWER_RUNNING, out, e);
    case NATIVE_NEVER_RAN:
        return heed_word(a, GODWIT_ANSWER_NEVER_RAN, out, e);
    case NATIVE_ERROR:
        return heed_error(a, out, e);
    default:
        return 0;
    }
}

static int converse(struct ask *a, enum godwit_answer *out, struct err *e)
{
    struct record_header h;
    int ret = say_hello(a, e);

    for (int i = 0; !ret && i < RECORDS_MAX; i++) {
        ret = hear(a, &h, e);
        if (!ret)
            ret = heed(a, h.type, out, e);
    }
    if (!ret)
        return err_set(e, -EPROTO, STAGE, "the destination says much, but does not answer");
    return ret > 0 ? 0 : ret;
}

int godwit_ask(const char *uri, const uint8_t token[GODWIT_TOKEN_SIZE],
               const struct godwit_tls *tls, const char *tls_hostname, uint32_t timeout_ms,
               enum godwit_answer *out, struct err *e)
{
    struct ask a = {.token = token,
                    .deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS};
    struct dialer dialer = {.tls = NULL};
    struct address address;
    int ret = address_parse(uri, &address, e);

    if (!ret && address.kind == ADDRESS_FD)
        ret = err_set(e, -EINVAL, STAGE, "%s was a connection of a process that has ended", uri);
    if (!ret)
        ret = dialer_init(&dialer, &address, tls, tls_hostname, e);
    if (ret)
        return ret;
    ret = dialer_connect(&dialer, timeout_ms, NULL, &a.channel, e);
    if (!ret) {
        ret = converse(&a, out, e);
        channel_free(a.channel);
    }
    dialer_fini(&dialer);
    return ret;
}
