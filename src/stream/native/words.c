#include "stream/native/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream/native/body.h"
#include "wire/reader.h"
#include "wire/record.h"

#define MARK_LAST       (1U << 0)
#define STATE_RUNNING   (1U << 0)
#define ERRNO_MAX       4095
#define STATE_HEAD_SIZE 16

/* What a peer says ends up in logs and on terminals. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < 0x20 && *s != '\n') || *s == 0x7f)
            *s = '?';
}

int native_round_encode(struct buf *out, const struct native_round *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u64(&b.w, v->round);
    writer_u64(&b.w, v->remaining);
    return body_end(&b, out, NATIVE_ROUND, RECORD_OPTIONAL);
}

int native_round_decode(const void *body, size_t len, struct native_round *v, struct err *e)
{
    struct reader r;

    reader_init(&r, body, len);
    v->round = reader_u64(&r);
    v->remaining = reader_u64(&r);
    return body_check(&r, NATIVE_ROUND, e);
}

int native_mark_encode(struct buf *out, const struct native_mark *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u64(&b.w, v->sequence);
    writer_u32(&b.w, v->last ? MARK_LAST : 0);
    return body_end(&b, out, NATIVE_MARK, 0);
}

int native_mark_decode(const void *body, size_t len, struct native_mark *v, struct err *e)
{
    struct reader r;
    uint32_t flags;

    reader_init(&r, body, len);
    v->sequence = reader_u64(&r);
    flags = reader_u32(&r);
    if (flags & ~MARK_LAST)
        r.failed = true;
    v->last = flags & MARK_LAST;
    return body_check(&r, NATIVE_MARK, e);
}

int native_state_encode(struct buf *out, const struct native_state *v)
{
    struct body b;

    body_begin(&b, v->len + STATE_HEAD_SIZE);
    writer_u64(&b.w, v->sequence);
    writer_u32(&b.w, v->was_running ? STATE_RUNNING : 0);
    writer_u32(&b.w, (uint32_t)v->len);
    writer_bytes(&b.w, v->data, v->len);
    return body_end(&b, out, NATIVE_STATE, 0);
}

int native_state_decode(const void *body, size_t len, struct native_state *v, struct err *e)
{
    struct reader r;
    uint32_t flags;

    reader_init(&r, body, len);
    v->sequence = reader_u64(&r);
    flags = reader_u32(&r);
    v->len = reader_u32(&r);
    v->data = reader_view(&r, v->len);
    if (flags & ~STATE_RUNNING)
        r.failed = true;
    v->was_running = flags & STATE_RUNNING;
    return body_check(&r, NATIVE_STATE, e);
}

int native_word_encode(struct buf *out, enum native_type type, const struct native_word *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_bytes(&b.w, v->token, sizeof(v->token));
    writer_string(&b.w, v->text);
    return body_end(&b, out, type, 0);
}

int native_word_decode(const void *body, size_t len, struct native_word *v, struct err *e)
{
    struct reader r;

    reader_init(&r, body, len);
    reader_bytes(&r, v->token, sizeof(v->token));
    reader_string(&r, v->text, sizeof(v->text));
    make_printable(v->text);
    return body_check(&r, NATIVE_COMMIT, e);
}

int native_error_encode(struct buf *out, const struct err *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u32(&b.w, v->code < 0 && v->code >= -ERRNO_MAX ? (uint32_t)-v->code : EPROTO);
    writer_string(&b.w, v->stage);
    writer_string(&b.w, v->text);
    return body_end(&b, out, NATIVE_ERROR, 0);
}

int native_error_decode(const void *body, size_t len, struct err *v, struct err *e)
{
    struct reader r;
    uint32_t code;

    reader_init(&r, body, len);
    code = reader_u32(&r);
    reader_string(&r, v->stage, sizeof(v->stage));
    reader_string(&r, v->text, sizeof(v->text));
    make_printable(v->stage);
    make_printable(v->text);
    if (code == 0 || code > ERRNO_MAX)
        r.failed = true;
    v->code = -(int)(code & ERRNO_MAX);
    return body_check(&r, NATIVE_ERROR, e);
}

int native_ping_encode(struct buf *out, enum native_type type, uint64_t stamp)
{
    struct body b;

    body_begin(&b, 0);
    writer_u64(&b.w, stamp);
    return body_end(&b, out, type, RECORD_OPTIONAL);
}

int native_ping_decode(const void *body, size_t len, uint64_t *stamp, struct err *e)
{
    struct reader r;

    reader_init(&r, body, len);
    *stamp = reader_u64(&r);
    return body_check(&r, NATIVE_PING, e);
}
