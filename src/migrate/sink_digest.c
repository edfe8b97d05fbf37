/*
 * Is the memory that arrived what was sent?  The source says its root when its lanes are done; only
 * when ours is the same may READY be said.  Where it is not, the source looks for the page, and we
 * answer until it calls the migration off, naming it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/sink.h"
#include "migrate/story.h"
#include "stream/native/proof.h"

#define STAGE "digest"

int sink_digest_begin(struct godwit_sink *s, struct err *e)
{
    int ret = digest_init(&s->hashes, s->regions, s->nregions, e);

    if (ret)
        return ret;
    s->digest = &s->hashes;
    story_verified(&s->stats, GODWIT_VERIFIED_PENDING, NULL, 0);
    return 0;
}

void sink_digest_end(struct godwit_sink *s)
{
    if (s->digest)
        digest_fini(s->digest);
    s->digest = NULL;
    s->theirs.heard = false;
}

int sink_hear_digest(struct godwit_sink *s, const struct link_record *rec, struct err *e)
{
    struct native_digest d;
    int ret = native_digest_decode(rec->body, rec->len, &d, e);

    if (ret)
        return ret;
    if (s->theirs.heard || d.kind != NATIVE_DIGEST_ROOT)
        return err_set(e, -EPROTO, STAGE, "the source sent a digest out of turn");
    s->theirs.heard = true;
    s->theirs.sequence = d.sequence;
    s->theirs.root = d.root;
    return 0;
}

/* ---- where it differs ----------------------------------------------------------------------- */

static int say_differs(struct godwit_sink *s, const struct native_span *span, const uint64_t *sums,
                       struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_differs_encode(&b, span, sums);
    return link_post(&s->link, &b, ret, e);
}

static int check_span(const struct digest *d, const struct native_span *v, struct err *e)
{
    if (v->region >= d->nregions || v->first >= d->pages[v->region] ||
        (d->pages[v->region] - v->first - 1) / v->each < v->count - 1)
        return err_set(e, -EPROTO, STAGE, "the source asks for pages that no region has");
    return 0;
}

static int answer(struct godwit_sink *s, const struct link_record *rec, struct err *e)
{
    struct native_digest d;
    uint64_t *sums;
    int ret = -EPROTO;

    if (rec->type != NATIVE_DIGEST || native_digest_decode(rec->body, rec->len, &d, NULL) ||
        d.kind != NATIVE_DIGEST_ASK)
        return err_set(e, ret, STAGE, "the source sent a %s record while memory differs",
                       native_type_name(rec->type));
    ret = check_span(s->digest, &d.ask, e);
    if (ret)
        return ret;
    sums = malloc(d.ask.count * sizeof(sums[0]));
    if (!sums)
        return err_set(e, -ENOMEM, STAGE, "no memory for %u sums", d.ask.count);
    for (uint32_t i = 0; i < d.ask.count; i++)
        sums[i] = digest_sum(s->digest, d.ask.region, d.ask.first + i * d.ask.each, d.ask.each);
    ret = say_differs(s, &d.ask, sums, e);
    free(sums);
    return ret;
}

/* Answers until the source says what it has found (ABORT) or is gone. Never 0. */
static int help_to_find(struct godwit_sink *s, enum sink_event *why, struct err *e)
{
    const struct native_span none = {.count = 0};
    struct link_record rec;
    int ret = say_differs(s, &none, NULL, e);

    log_error("migrate", "the memory that arrived is not what was sent");
    while (ret >= 0) {
        ret = sink_wait_once(s, 0, &rec, why, e);
        if (ret > 0)
            ret = answer(s, &rec, e);
    }
    return ret;
}

int sink_prove(struct godwit_sink *s, uint64_t sequence, enum sink_event *why, struct err *e)
{
    struct link_record rec;
    int ret = 0;

    /* It may be here already; if so, this sees whether it was called off meanwhile. */
    do {
        ret = sink_wait_once(s, s->theirs.heard ? clock_now_ns() : 0, &rec, why, e);
        if (ret > 0 && rec.type != NATIVE_DIGEST)
            return err_set(e, -EPROTO, STAGE, "the source sent a %s record before READY",
                           native_type_name(rec.type));
        if (ret > 0)
            ret = sink_hear_digest(s, &rec, e);
    } while (!ret && !s->theirs.heard);
    if (ret && ret != -ETIME)
        return ret;
    *why = SINK_FAIL;
    if (s->theirs.sequence != sequence)
        return err_set(e, -EPROTO, STAGE, "the source's digest is not of the last page");
    return s->theirs.root == digest_root(s->digest) ? 0 : help_to_find(s, why, e);
}
