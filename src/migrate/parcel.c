#include "migrate/parcel.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGE "precopy"

_Static_assert(NATIVE_PACKED_DATA_MAX == PACK_PAGES_MAX, "a batch to be packed fits a record");
_Static_assert(NATIVE_PACKED_HEAD_MAX >= NATIVE_PAGES_HEAD_MAX, "one head for both records");
_Static_assert(GODWIT_COMPRESS_LZ4 == (int)NATIVE_CODEC_LZ4 &&
                   GODWIT_COMPRESS_ZSTD == (int)NATIVE_CODEC_ZSTD,
               "codecs of the interface and of the stream");

int parcel_new(struct parcel **out, struct err *e)
{
    struct parcel *p = malloc(sizeof(*p));
    int ret;

    if (!p)
        return err_set(e, -ENOMEM, STAGE, "no memory to pack pages in");
    ret = packer_new(&p->packer, e);
    if (ret)
        free(p);
    else
        *out = p;
    return ret;
}

void parcel_free(struct parcel *p)
{
    if (p)
        packer_free(p->packer);
    free(p);
}

/* ---- filling -------------------------------------------------------------------------------- */

static void add(struct parcel_part *part, uint64_t first, uint32_t count, uint32_t kind)
{
    struct native_run *last = part->nruns ? &part->runs[part->nruns - 1] : NULL;

    if (last && last->kind == kind && last->first + last->count == first)
        last->count += count;
    else
        part->runs[part->nruns++] =
            (struct native_run){.first = first, .count = count, .kind = kind};
    if (kind == NATIVE_RUN_DATA)
        part->pages += count;
}

static void copy_pages(struct parcel *p, const struct batch *b)
{
    size_t at = 0;

    for (int i = 1; i < b->niov; i++) {
        memcpy(p->copy + at, b->iov[i].iov_base, b->iov[i].iov_len);
        at += b->iov[i].iov_len;
    }
}

static void count_result(struct stats *st, enum delta_result result, size_t len)
{
    if (result == DELTA_MISS)
        atomic_fetch_add(&st->delta_misses, 1);
    else if (result == DELTA_OVERFLOW)
        atomic_fetch_add(&st->delta_overflows, 1);
    else
        atomic_fetch_add(&st->delta_hits, 1);
    if (result == DELTA_FOUND) {
        atomic_fetch_add(&st->delta_pages, 1);
        atomic_fetch_add(&st->delta_bytes, len);
    }
}

/* What becomes of a page of data.  One that has not changed since it was sent is at the
 * destination: it goes nowhere. */
static enum delta_result sort_page(struct parcel *p, uint64_t page, const uint8_t *copy,
                                   struct delta *delta, struct stats *st)
{
    uint8_t *out = p->changes + p->changed_len;
    enum delta_result result = DELTA_MISS;
    uint16_t prefix;
    size_t len = 0;

    if (delta) {
        result = delta_encode(delta, p->region, page, copy, out + sizeof(prefix), &len);
        count_result(st, result, len);
    }
    if (result == DELTA_FOUND) {
        prefix = htole16((uint16_t)len);
        memcpy(out, &prefix, sizeof(prefix));
        p->changed_len += sizeof(prefix) + len;
        add(&p->changed, page, 1, NATIVE_RUN_DATA);
    } else if (result != DELTA_SAME) {
        uint8_t *to = p->copy + (size_t)p->whole.pages * GODWIT_PAGE_SIZE;

        if (to != copy)
            memcpy(to, copy, GODWIT_PAGE_SIZE);
        add(&p->whole, page, 1, NATIVE_RUN_DATA);
    }
    return result;
}

static uint64_t sort_data(struct parcel *p, const struct native_run *run, const uint8_t **copy,
                          struct delta *delta, struct digest *digest, struct stats *st)
{
    uint64_t change = 0;

    for (uint32_t i = 0; i < run->count; i++, *copy += GODWIT_PAGE_SIZE) {
        uint64_t hash = digest ? digest_hash(*copy) : 0; /* before anything is moved over it */

        if (sort_page(p, run->first + i, *copy, delta, st) != DELTA_SAME && digest)
            change += digest_set(digest, p->region, run->first + i, hash);
    }
    return change;
}

static uint64_t sort_zeros(struct parcel *p, const struct native_run *run, struct delta *delta,
                           struct digest *digest)
{
    uint64_t change = 0;

    add(&p->whole, run->first, run->count, NATIVE_RUN_ZERO);
    for (uint32_t i = 0; i < run->count; i++) {
        if (delta)
            delta_drop(delta, p->region, run->first + i);
        if (digest)
            change += digest_set(digest, p->region, run->first + i, 0);
    }
    return change;
}

uint64_t parcel_fill(struct parcel *p, const struct batch *b, struct delta *delta,
                     struct digest *digest, struct stats *st)
{
    const uint8_t *copy = p->copy;
    uint64_t change = 0;

    p->region = b->region->id;
    p->whole.nruns = p->whole.pages = 0;
    p->changed.nruns = p->changed.pages = 0;
    p->changed_len = 0;
    copy_pages(p, b);
    for (uint32_t i = 0; i < b->nruns; i++) {
        if (b->runs[i].kind == NATIVE_RUN_DATA)
            change += sort_data(p, &b->runs[i], &copy, delta, digest, st);
        else
            change += sort_zeros(p, &b->runs[i], delta, digest);
    }
    return change;
}

/* ---- records -------------------------------------------------------------------------------- */

/* A PACKED record; `bytes` has room for the padding. */
static size_t seal(struct parcel *p, const struct parcel_part *part, uint32_t codec, uint8_t *bytes,
                   size_t len, struct iovec iov[2])
{
    struct native_packed head = {
        .region = p->region, .codec = codec, .nruns = part->nruns, .packed = (uint32_t)len};
    size_t padded = (len + 7) / 8 * 8;

    memset(bytes + len, 0, padded - len);
    iov[0].iov_base = p->head;
    iov[0].iov_len = native_packed_encode(p->head, &head, part->runs);
    iov[1] = (struct iovec){.iov_base = bytes, .iov_len = padded};
    return iov[0].iov_len + padded;
}

size_t parcel_changed(struct parcel *p, struct iovec iov[2])
{
    if (!p->changed.nruns)
        return 0;
    return seal(p, &p->changed, NATIVE_CODEC_DELTA, p->changes, p->changed_len, iov);
}

size_t parcel_whole(struct parcel *p, enum godwit_compression codec, uint32_t level,
                    struct iovec iov[2], size_t *packed)
{
    size_t len = (size_t)p->whole.pages * GODWIT_PAGE_SIZE;

    *packed = 0;
    if (!p->whole.nruns)
        return 0;
    if (len && codec != GODWIT_COMPRESS_NONE)
        *packed = pack(p->packer, codec, level, p->copy, len, p->packed, len);
    if (*packed)
        return seal(p, &p->whole, (uint32_t)codec, p->packed, *packed, iov);
    iov[0].iov_base = p->head;
    iov[0].iov_len = native_pages_encode(p->head, p->region, p->whole.runs, p->whole.nruns);
    iov[1] = (struct iovec){.iov_base = p->copy, .iov_len = len};
    return iov[0].iov_len + len;
}
