#include "migrate/work.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"

#define STAGE "precopy"

#define CHUNK_MIN 64U /* a word of the bitmap */
/* Round 1.  Not less than a large page, whose pages are to go in one record; not much more, or a
 * lane is left alone with the last one. */
#define CHUNK_FIRST     2048U
#define CHUNK_FIRST_MIN 512U
#define CHUNKS_PER_LANE 32
/* Later rounds: what is dirty lies close together and has to be spread. */
#define CHUNK_LATER 1024U
#define CHUNKS_MAX  16384

static uint64_t pages_of(const struct godwit_region *r)
{
    return r->size / GODWIT_PAGE_SIZE;
}

static uint32_t chunk_pages(const struct work *w, bool first)
{
    uint32_t chunk = first ? CHUNK_FIRST_MIN : CHUNK_MIN, most = first ? CHUNK_FIRST : CHUNK_LATER;
    uint64_t total = 0, want;

    for (uint32_t i = 0; i < w->nregions; i++)
        total += pages_of(&w->regions[i]);
    want = first ? total / (w->lanes * CHUNKS_PER_LANE) : total / CHUNKS_MAX;
    while (chunk < most && chunk < want)
        chunk *= 2;
    return chunk;
}

static void lay_out(struct work *w, bool first)
{
    w->chunk = chunk_pages(w, first);
    for (uint32_t i = 0; i < w->nregions; i++)
        w->chunks_before[i + 1] =
            w->chunks_before[i] + (pages_of(&w->regions[i]) + w->chunk - 1) / w->chunk;
}

static uint64_t chunks_at_most(struct work *w)
{
    uint64_t first, later;

    lay_out(w, true);
    first = w->chunks_before[w->nregions];
    lay_out(w, false);
    later = w->chunks_before[w->nregions];
    return first > later ? first : later;
}

int work_init(struct work *w, const struct godwit_region *regions, uint32_t nregions,
              uint32_t lanes, struct err *e)
{
    *w = (struct work){.regions = regions, .nregions = nregions, .lanes = lanes};
    for (uint32_t i = 0; i < nregions; i++) {
        w->due[i] = bitmap_new(pages_of(&regions[i]));
        w->taken[i] = bitmap_new(pages_of(&regions[i]));
        if (!w->due[i] || !w->taken[i])
            return err_set(e, -ENOMEM, STAGE, "no memory for the dirty bitmap of region %s",
                           regions[i].name);
    }
    w->claims = calloc(chunks_at_most(w) + 1, sizeof(*w->claims));
    if (!w->claims)
        return err_set(e, -ENOMEM, STAGE, "no memory for the list of chunks");
    return 0;
}

void work_fini(struct work *w)
{
    for (uint32_t i = 0; i < w->nregions; i++) {
        bitmap_free(w->due[i], pages_of(&w->regions[i]));
        bitmap_free(w->taken[i], pages_of(&w->regions[i]));
    }
    free(w->claims);
}

void work_begin(struct work *w, bool first)
{
    lay_out(w, first);
    w->job++;
    atomic_store(&w->cursor, 0);
}

/* ---- the lanes' side ------------------------------------------------------------------------ */

static void locate(const struct work *w, uint64_t index, struct work_chunk *out)
{
    uint32_t region = 0;
    uint64_t pages;

    while (index >= w->chunks_before[region + 1])
        region++;
    out->region = &w->regions[region];
    pages = pages_of(out->region);
    out->first = (index - w->chunks_before[region]) * w->chunk;
    out->n = pages - out->first < w->chunk ? pages - out->first : w->chunk;
    out->bits = w->taken[region] + out->first / 64;
    out->claim = &w->claims[index];
}

/*
 * The first chunk at or after `index` that has a bit set.  Empty stretches are passed over here,
 * without a word to the other lanes, which may be clearing bits before their cursor meanwhile: what
 * is found is good only if the cursor has not moved.
 */
static uint64_t find_due(const struct work *w, uint64_t index)
{
    uint64_t per_chunk = w->chunk / 64;

    for (uint32_t i = 0; i < w->nregions; i++) {
        uint64_t before = w->chunks_before[i], words = BITMAP_WORDS(pages_of(&w->regions[i])), at;

        if (index >= w->chunks_before[i + 1])
            continue;
        at = index > before ? (index - before) * per_chunk : 0;
        while (at < words && !__atomic_load_n(&w->due[i][at], __ATOMIC_RELAXED))
            at++;
        if (at < words)
            return before + at / per_chunk;
    }
    return w->chunks_before[w->nregions];
}

bool work_next(struct work *w, uint32_t lane, struct work_chunk *out)
{
    uint64_t at = atomic_load(&w->cursor), found, *due;

    do {
        found = find_due(w, at);
        if (found == w->chunks_before[w->nregions])
            return false;
    } while (!atomic_compare_exchange_weak(&w->cursor, &at, found + 1));
    locate(w, found, out);
    *out->claim = (struct work_claim){.records = UINT64_MAX, .lane = lane, .job = w->job};
    due = w->due[out->region->id] + out->first / 64;
    for (size_t i = 0; i < BITMAP_WORDS(out->n); i++) {
        out->bits[i] = due[i];
        __atomic_store_n(&due[i], 0, __ATOMIC_RELAXED);
    }
    return true;
}

void work_skip(const struct work_chunk *c, uint64_t first, uint64_t n)
{
    bitmap_clear_range(c->bits, first - c->first, n);
}

void work_put(const struct work_chunk *c, uint64_t records)
{
    c->claim->records = records;
}

/* ---- after a cut ---------------------------------------------------------------------------- */

uint64_t work_restore(struct work *w, const uint64_t *records, uint32_t n)
{
    uint64_t pages = 0;

    for (uint64_t i = 0; i < w->chunks_before[w->nregions]; i++) {
        const struct work_claim *claim = &w->claims[i];
        struct work_chunk c;
        uint64_t *due;

        if (claim->job != w->job || (claim->lane < n && claim->records <= records[claim->lane]))
            continue;
        locate(w, i, &c);
        due = w->due[c.region->id] + c.first / 64;
        for (size_t at = 0; at < BITMAP_WORDS(c.n); at++) {
            pages += (uint64_t)__builtin_popcountll(c.bits[at] & ~due[at]);
            due[at] |= c.bits[at];
        }
    }
    w->job++; /* told once: a link that is cut again before the next job has lost nothing more */
    return pages;
}
