#include "stream/native/course.h"

#include <errno.h>
#include <string.h>

#include "stream/native/body.h"
#include "wire/reader.h"
#include "wire/record.h"

#define STAGE "stream"

/* ---- RESUME --------------------------------------------------------------------------------- */

int native_resume_encode(struct buf *out, const struct native_resume *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u64(&b.w, v->passed);
    writer_u32(&b.w, v->lanes);
    writer_u32(&b.w, 0);
    for (uint32_t i = 0; i < v->lanes; i++)
        writer_u64(&b.w, v->records[i]);
    return body_end(&b, out, NATIVE_RESUME, 0);
}

int native_resume_decode(const void *body, size_t len, struct native_resume *v, struct err *e)
{
    struct reader r;

    memset(v, 0, sizeof(*v));
    reader_init(&r, body, len);
    v->passed = reader_u64(&r);
    v->lanes = reader_u32(&r);
    if (reader_u32(&r) != 0 || v->lanes == 0 || v->lanes > NATIVE_LANES_MAX)
        return err_set(e, -EPROTO, STAGE, "the resume record (%u lanes) is malformed", v->lanes);
    for (uint32_t i = 0; i < v->lanes; i++)
        v->records[i] = reader_u64(&r);
    return body_check(&r, NATIVE_RESUME, e);
}

/* ---- the rehearsal -------------------------------------------------------------------------- */

int native_rehearsal_encode(struct buf *out, const struct native_rehearsal *v)
{
    struct body b;

    body_begin(&b, v->len + 16);
    writer_u32(&b.w, 0);
    writer_u32(&b.w, (uint32_t)v->len);
    writer_bytes(&b.w, v->data, v->len);
    return body_end(&b, out, NATIVE_REHEARSAL, 0);
}

int native_rehearsal_decode(const void *body, size_t len, struct native_rehearsal *v, struct err *e)
{
    struct reader r;

    reader_init(&r, body, len);
    if (reader_u32(&r) != 0)
        r.failed = true;
    v->len = reader_u32(&r);
    v->data = reader_view(&r, v->len);
    return body_check(&r, NATIVE_REHEARSAL, e);
}

int native_rehearsed_encode(struct buf *out, const struct native_rehearsed *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u32(&b.w, v->loaded);
    writer_u32(&b.w, 0);
    writer_u64(&b.w, v->load_ns);
    return body_end(&b, out, NATIVE_REHEARSED, 0);
}

int native_rehearsed_decode(const void *body, size_t len, struct native_rehearsed *v, struct err *e)
{
    struct reader r;
    uint32_t loaded;

    reader_init(&r, body, len);
    loaded = reader_u32(&r);
    if (loaded > 1 || reader_u32(&r) != 0)
        r.failed = true;
    v->loaded = loaded;
    v->load_ns = reader_u64(&r);
    return body_check(&r, NATIVE_REHEARSED, e);
}

/* ---- TIMES ---------------------------------------------------------------------------------- */

int native_times_encode(struct buf *out, const struct native_times *v)
{
    struct body b;

    body_begin(&b, 0);
    writer_u32(&b.w, v->kind);
    writer_u32(&b.w, v->verdict);
    writer_u64(&b.w, v->own_ns);
    writer_u64(&b.w, v->rtt_ns);
    for (int i = 0; i < NATIVE_PHASES; i++)
        writer_u64(&b.w, v->phase_ns[i]);
    writer_string(&b.w, v->differs);
    return body_end(&b, out, NATIVE_TIMES, RECORD_OPTIONAL);
}

static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

int native_times_decode(const void *body, size_t len, struct native_times *v, struct err *e)
{
    uint32_t kind, verdict;
    struct reader r;

    reader_init(&r, body, len);
    kind = reader_u32(&r);
    verdict = reader_u32(&r);
    v->own_ns = reader_u64(&r);
    v->rtt_ns = reader_u64(&r);
    for (int i = 0; i < NATIVE_PHASES; i++)
        v->phase_ns[i] = reader_u64(&r);
    reader_string(&r, v->differs, sizeof(v->differs));
    make_printable(v->differs);
    if (kind >= NATIVE_TIMES_KIND_COUNT || verdict > NATIVE_VERDICT_DIFFERS)
        r.failed = true;
    v->kind = (enum native_times_kind)(r.failed ? 0 : kind);
    v->verdict = (enum native_verdict)(r.failed ? 0 : verdict);
    return body_check(&r, NATIVE_TIMES, e);
}
