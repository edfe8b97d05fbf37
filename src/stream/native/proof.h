/*
 * DIGEST and DIFFERS: the two sides' hashes of memory compared, and, where they are not the same,
 * the way to the page.  The source compares: it asks for the destination's sums over ranges of
 * pages (DIGEST, NATIVE_DIGEST_ASK), finds the first that is not its own, and asks for finer ones
 * of that.
 */
#ifndef GODWIT_STREAM_NATIVE_PROOF_H
#define GODWIT_STREAM_NATIVE_PROOF_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"

#define NATIVE_SUMS_MAX 65536U /* in one DIFFERS */

enum native_digest_kind { NATIVE_DIGEST_ROOT, NATIVE_DIGEST_ASK, NATIVE_DIGEST_KIND_COUNT };

/* `count` ranges of `each` pages of a region, from page `first` on; the last may be shorter, for it
 * ends with the region. */
struct native_span {
    uint32_t region, count;
    uint64_t first, each;
};

struct native_digest {
    enum native_digest_kind kind;
    uint64_t sequence, root; /* ROOT: after the mark of this sequence */
    struct native_span ask;  /* ASK */
};

int native_digest_encode(struct buf *out, const struct native_digest *v);
/* ASK: count is 1 .. NATIVE_SUMS_MAX and each not 0; whether the region has these pages is for the
 * caller to see. */
int native_digest_decode(const void *body, size_t len, struct native_digest *v, struct err *e);

struct native_differs {
    struct native_span span; /* count 0: the roots differ; else the answer to an ASK: */
    const uint8_t *sums;     /* span.count little-endian u64; decoding: a view of the body */
};

int native_differs_encode(struct buf *out, const struct native_span *span, const uint64_t *sums);
int native_differs_decode(const void *body, size_t len, struct native_differs *v, struct err *e);
uint64_t native_differs_sum(const struct native_differs *v, uint32_t i);

#endif
