/*
 * The first proof, inside the blackout: did all pages arrive as they were sent?  Two roots are
 * compared by the destination; where they differ, sums over ever smaller ranges lead to the page.
 */
#include <errno.h>
#include <inttypes.h>

#include "migrate/source.h"
#include "stream/native/proof.h"

#define STAGE "digest"

static int say_digest(struct godwit_source *s, const struct native_digest *d, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_digest_encode(&b, d);
    return link_post(&s->link, &b, ret, e);
}

int source_send_digest(struct godwit_source *s, struct err *e)
{
    struct native_digest d = {.kind = NATIVE_DIGEST_ROOT, .sequence = s->sequence};

    if (!s->digest)
        return 0;
    d.root = digest_root(s->digest);
    return say_digest(s, &d, e);
}

static bool same_span(const struct native_span *a, const struct native_span *b)
{
    return a->region == b->region && a->count == b->count && a->first == b->first &&
           a->each == b->each;
}

/* *at: the first range whose sums differ; UINT32_MAX: none. */
static int compare(struct godwit_source *s, const struct native_span *span, uint64_t deadline_ns,
                   uint32_t *at, struct err *e)
{
    struct native_digest d = {.kind = NATIVE_DIGEST_ASK, .ask = *span};
    struct native_differs theirs;
    struct link_record rec;
    int ret = say_digest(s, &d, e);

    if (!ret)
        ret = source_expect(s, NATIVE_DIFFERS, deadline_ns, &rec, e);
    if (!ret)
        ret = native_differs_decode(rec.body, rec.len, &theirs, e);
    if (ret)
        return ret;
    if (!same_span(&theirs.span, span))
        return err_set(e, -EPROTO, STAGE, "the destination answered another question");
    *at = UINT32_MAX;
    for (uint32_t i = 0; i < span->count && *at == UINT32_MAX; i++)
        if (native_differs_sum(&theirs, i) !=
            digest_sum(s->digest, span->region, span->first + i * span->each, span->each))
            *at = i;
    return 0;
}

/* n pages from `first` on, in as few pages each as one answer has room for. */
static struct native_span cover(uint32_t region, uint64_t first, uint64_t n)
{
    uint64_t each = (n + NATIVE_SUMS_MAX - 1) / NATIVE_SUMS_MAX;

    return (struct native_span){
        .region = region, .first = first, .each = each, .count = (uint32_t)((n + each - 1) / each)};
}

/* *page: the first of the region that differs; UINT64_MAX: none does. */
static int search_region(struct godwit_source *s, uint32_t region, uint64_t deadline_ns,
                         uint64_t *page, struct err *e)
{
    const uint64_t pages = s->digest->pages[region];
    struct native_span span = cover(region, 0, pages);

    for (;;) {
        uint32_t at = UINT32_MAX;
        int ret = compare(s, &span, deadline_ns, &at, e);

        if (ret)
            return ret;
        *page = at == UINT32_MAX ? UINT64_MAX : span.first + at * span.each;
        if (at == UINT32_MAX || span.each == 1)
            return 0;
        span = cover(region, *page, span.each < pages - *page ? span.each : pages - *page);
    }
}

int source_find_difference(struct godwit_source *s, uint64_t deadline_ns, struct err *e)
{
    for (uint32_t i = 0; i < s->config.nregions; i++) {
        uint64_t page;
        int ret = search_region(s, i, deadline_ns, &page, e);

        if (ret)
            return err_prefix(e, "memory differs after transport, and the page was not found");
        if (page != UINT64_MAX)
            return err_set(e, -EBADMSG, STAGE, "memory differs after transport: %s page 0x%" PRIx64,
                           s->regions[i].name, page);
    }
    return err_set(e, -EBADMSG, STAGE, "memory differs after transport, but no page does");
}
