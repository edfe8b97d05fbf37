#include "stream/native/proof.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire/reader.h"
#include "wire/record.h"
#include "wire/writer.h"

#define STAGE "stream"

static void write_span(struct writer *w, const struct native_span *s)
{
    writer_u32(w, s->region);
    writer_u32(w, s->count);
    writer_u64(w, s->first);
    writer_u64(w, s->each);
}

static void read_span(struct reader *r, struct native_span *s)
{
    s->region = reader_u32(r);
    s->count = reader_u32(r);
    s->first = reader_u64(r);
    s->each = reader_u64(r);
}

static bool span_is_sane(const struct native_span *s)
{
    return s->region < NATIVE_REGIONS_MAX && s->count <= NATIVE_SUMS_MAX && s->each > 0 &&
           s->each <= NATIVE_REGION_MAX && s->first <= NATIVE_REGION_MAX;
}

static int append(struct buf *out, uint32_t type, struct buf *body, const struct writer *w)
{
    int ret = w->failed ? -ENOMEM : record_append(out, type, 0, body->data, body->len);

    buf_fini(body);
    return ret;
}

int native_digest_encode(struct buf *out, const struct native_digest *v)
{
    struct buf body;
    struct writer w;

    buf_init(&body, 0);
    writer_init(&w, &body);
    writer_u32(&w, v->kind);
    writer_u32(&w, 0);
    if (v->kind == NATIVE_DIGEST_ROOT) {
        writer_u64(&w, v->sequence);
        writer_u64(&w, v->root);
    } else {
        write_span(&w, &v->ask);
    }
    return append(out, NATIVE_DIGEST, &body, &w);
}

int native_digest_decode(const void *body, size_t len, struct native_digest *v, struct err *e)
{
    struct reader r;
    uint32_t kind;

    memset(v, 0, sizeof(*v));
    reader_init(&r, body, len);
    kind = reader_u32(&r);
    if (reader_u32(&r) != 0 || kind >= NATIVE_DIGEST_KIND_COUNT)
        r.failed = true;
    v->kind = (enum native_digest_kind)(r.failed ? 0 : kind);
    if (v->kind == NATIVE_DIGEST_ROOT) {
        v->sequence = reader_u64(&r);
        v->root = reader_u64(&r);
    } else {
        read_span(&r, &v->ask);
        if (!span_is_sane(&v->ask) || v->ask.count == 0)
            r.failed = true;
    }
    if (!reader_done(&r))
        return err_set(e, -EPROTO, STAGE, "the digest record (%zu bytes) is malformed", len);
    return 0;
}

int native_differs_encode(struct buf *out, const struct native_span *span, const uint64_t *sums)
{
    struct buf body;
    struct writer w;

    buf_init(&body, 0);
    writer_init(&w, &body);
    write_span(&w, span);
    for (uint32_t i = 0; i < span->count; i++)
        writer_u64(&w, sums[i]);
    return append(out, NATIVE_DIFFERS, &body, &w);
}

int native_differs_decode(const void *body, size_t len, struct native_differs *v, struct err *e)
{
    struct reader r;

    reader_init(&r, body, len);
    read_span(&r, &v->span);
    if (v->span.count ? !span_is_sane(&v->span) : v->span.region | v->span.first | v->span.each)
        r.failed = true;
    v->sums = r.failed ? NULL : reader_view(&r, (size_t)v->span.count * 8);
    if (!reader_done(&r))
        return err_set(e, -EPROTO, STAGE, "the differs record (%zu bytes) is malformed", len);
    return 0;
}

uint64_t native_differs_sum(const struct native_differs *v, uint32_t i)
{
    struct reader r;

    reader_init(&r, v->sums + (size_t)i * 8, 8);
    return reader_u64(&r);
}
