/* PACKED records: unpacked into their places, or applied to what is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/delta.h"
#include "migrate/inlet.h"
#include "migrate/pack.h"
#include "stream/native/packed.h"

#define STAGE "precopy"

_Static_assert(NATIVE_PACKED_BYTES_MAX == PACK_BOUND, "what a packer takes is what a record has");

struct inlet_packed {
    struct packer *packer;
    uint8_t bytes[PACK_BOUND + 8]; /* as they came, padding included */
    uint8_t pages[PACK_BOUND];     /* unpacked, when they lie apart */
};

static int need(struct inlet *in, struct err *e)
{
    int ret;

    if (in->packed)
        return 0;
    in->packed = malloc(sizeof(*in->packed));
    if (!in->packed)
        return err_set(e, -ENOMEM, STAGE, "no memory to unpack pages in");
    ret = packer_new(&in->packed->packer, e);
    if (ret) {
        free(in->packed);
        in->packed = NULL;
    }
    return ret;
}

void inlet_packed_free(struct inlet_packed *p)
{
    if (p)
        packer_free(p->packer);
    free(p);
}

/* ---- compressed pages ----------------------------------------------------------------------- */

/* The only data run, or NULL: there are several. */
static const struct native_run *only_run(const struct inlet *in, uint32_t nruns)
{
    const struct native_run *found = NULL;

    for (uint32_t i = 0; i < nruns; i++) {
        if (in->runs[i].kind != NATIVE_RUN_DATA)
            continue;
        if (found)
            return NULL;
        found = &in->runs[i];
    }
    return found;
}

static void spread(struct inlet *in, uint32_t region, uint32_t nruns)
{
    const uint8_t *from = in->packed->pages;

    for (uint32_t i = 0; i < nruns; i++) {
        size_t len = (size_t)in->runs[i].count * GODWIT_PAGE_SIZE;

        if (in->runs[i].kind != NATIVE_RUN_DATA)
            continue;
        memcpy(place_at(in->place, region, in->runs[i].first), from, len);
        from += len;
    }
}

/* Straight to where they belong when that is one place. */
static int unpack_pages(struct inlet *in, const struct native_packed *p, uint32_t pages,
                        struct err *e)
{
    const struct native_run *run = only_run(in, p->nruns);
    uint8_t *to = run ? place_at(in->place, p->region, run->first) : in->packed->pages;
    int ret = unpack(in->packed->packer, (enum godwit_compression)p->codec, in->packed->bytes,
                     p->packed, to, (size_t)pages * GODWIT_PAGE_SIZE, e);

    if (!ret && !run)
        spread(in, p->region, p->nruns);
    if (!ret) {
        in->figures.compression = (enum godwit_compression)p->codec;
        atomic_fetch_add(&in->stats->packed_pages, pages);
        atomic_fetch_add(&in->stats->packed_bytes, p->packed);
    }
    return ret;
}

/* ---- differences ---------------------------------------------------------------------------- */

static int apply_run(struct inlet *in, uint32_t region, const struct native_run *run,
                     struct reader *r, struct err *e)
{
    const uint8_t *difference;
    size_t len;
    int ret = 0;

    for (uint32_t i = 0; !ret && i < run->count; i++) {
        ret = native_packed_next(r, &difference, &len, e);
        if (!ret)
            ret = delta_apply(place_at(in->place, region, run->first + i), difference, len, e);
        if (!ret) {
            atomic_fetch_add(&in->stats->delta_pages, 1);
            atomic_fetch_add(&in->stats->delta_bytes, len);
        }
    }
    return ret;
}

static int apply_pages(struct inlet *in, const struct native_packed *p, struct err *e)
{
    struct reader r;
    int ret = 0;

    reader_init(&r, in->packed->bytes, p->packed);
    for (uint32_t i = 0; !ret && i < p->nruns; i++)
        if (in->runs[i].kind == NATIVE_RUN_DATA)
            ret = apply_run(in, p->region, &in->runs[i], &r, e);
    if (!ret && !reader_done(&r))
        ret = err_set(e, -EPROTO, STAGE, "more differences came than there are pages");
    return ret;
}

/* ---- the record ----------------------------------------------------------------------------- */

static uint64_t written(struct inlet *in, const struct native_packed *p)
{
    uint64_t change = 0;

    for (uint32_t i = 0; i < p->nruns; i++)
        if (in->runs[i].kind == NATIVE_RUN_DATA)
            change += place_written(in->place, p->region, in->runs[i].first, in->runs[i].count, 0);
    return change;
}

static int hear_bytes(struct inlet *in, const struct record_header *h, uint32_t packed,
                      struct err *e)
{
    size_t padding = (size_t)(record_padded(h->length) - h->length);
    int ret = need(in, e);

    if (!ret)
        ret = inlet_take(in, in->packed->bytes, packed + padding, e);
    for (size_t i = 0; !ret && i < padding; i++)
        if (in->packed->bytes[packed + i])
            ret = err_set(e, -EPROTO, STAGE, "a packed record is padded with more than zeros");
    return ret;
}

static int hear_head(struct inlet *in, const struct record_header *h, struct native_packed *p,
                     uint32_t *pages, struct err *e)
{
    uint8_t fixed[NATIVE_PACKED_FIXED];
    int ret;

    if (h->length < sizeof(fixed))
        return err_set(e, -EPROTO, STAGE, "a packed record of %" PRIu64 " bytes is too short",
                       h->length);
    ret = inlet_take(in, fixed, sizeof(fixed), e);
    if (!ret)
        ret = native_packed_fixed(h, fixed, p, e);
    if (!ret)
        ret = inlet_check_region(in, p->region, e);
    if (!ret)
        ret = inlet_take(in, in->table, NATIVE_PACKED_TABLE(p->nruns), e);
    if (!ret)
        ret = native_packed_table(h, fixed, in->table, place_pages(in->place, p->region), in->runs,
                                  pages, e);
    return ret;
}

int inlet_hear_packed(struct inlet *in, const struct record_header *h, struct err *e)
{
    struct native_packed p;
    uint32_t pages;
    int ret;

    ret = hear_head(in, h, &p, &pages, e);
    inlet_trust(in);
    if (!ret)
        ret = hear_bytes(in, h, p.packed, e);
    if (ret)
        return ret;
    place_expect(in->place, p.region, in->runs, p.nruns);
    ret = p.codec == NATIVE_CODEC_DELTA ? apply_pages(in, &p, e) : unpack_pages(in, &p, pages, e);
    if (!ret)
        inlet_placed(in, p.region, p.nruns, written(in, &p));
    return ret;
}
