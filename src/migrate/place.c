#include "migrate/place.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "stream/native/packed.h"

#define STAGE "precopy"

/* A zero run of so many pages over old content is given back to the system, not overwritten. */
#define PUNCH_PAGES 512U

#define CACHE_LINE 64U

#define BLOCK_PAGES 512U /* 2 MiB */
/* A record of no more pages than are packed together does not tell of a whole block how much of it
 * there is: half of what it can hold stands for half of the block. */
#define ENOUGH_OF_SMALL (NATIVE_PACKED_DATA_MAX / 2)

int place_init(struct place *p, struct err *e)
{
    for (uint32_t i = 0; i < p->nregions; i++) {
        p->received[i] = bitmap_new(place_pages(p, i));
        if (!p->received[i])
            return err_set(e, -ENOMEM, STAGE, "no memory for the bitmap of region %s",
                           p->regions[i].name);
    }
    return 0;
}

void place_fini(struct place *p)
{
    view_close(&p->view);
    for (uint32_t i = 0; i < p->nregions; i++)
        bitmap_free(p->received[i], place_pages(p, i));
}

uint64_t place_pages(const struct place *p, uint32_t region)
{
    return p->regions[region].size / GODWIT_PAGE_SIZE;
}

uint8_t *place_at(const struct place *p, uint32_t region, uint64_t page)
{
    return (uint8_t *)p->regions[region].host + page * GODWIT_PAGE_SIZE;
}

/* ---- dense blocks --------------------------------------------------------------------------- */

/* A whole block of which nothing was written so far. */
static bool is_fresh(const struct place *p, uint32_t region, uint64_t first)
{
    const uint64_t *word = p->received[region] + first / 64;

    if (first + BLOCK_PAGES > place_pages(p, region))
        return false;
    for (uint32_t i = 0; i < BLOCK_PAGES / 64; i++)
        if (__atomic_load_n(&word[i], __ATOMIC_RELAXED))
            return false;
    return true;
}

struct tally {
    uint64_t block;
    uint64_t pages;
};

static void judge_block(struct place *p, uint32_t region, const struct tally *t, uint64_t enough)
{
    uint64_t first = t->block * BLOCK_PAGES;

    if (t->pages >= enough && is_fresh(p, region, first))
        p->dense(p->opaque, region, first, BLOCK_PAGES);
}

/* Counts what the runs put into each block; the source sends a block in one record where it can. */
static void find_dense(struct place *p, uint32_t region, const struct native_run *runs, uint32_t n)
{
    bool small = native_runs_data(runs, n) <= NATIVE_PACKED_DATA_MAX;
    uint64_t enough = small ? ENOUGH_OF_SMALL : BLOCK_PAGES / 2;
    struct tally t = {.pages = 0};

    for (uint32_t i = 0; i < n; i++) {
        uint64_t page = runs[i].first, end = page + runs[i].count, to;

        if (runs[i].kind != NATIVE_RUN_DATA)
            continue;
        for (; page < end; page = to) {
            to = (page / BLOCK_PAGES + 1) * BLOCK_PAGES;
            to = to < end ? to : end;
            if (page / BLOCK_PAGES != t.block) {
                judge_block(p, region, &t, enough);
                t = (struct tally){.block = page / BLOCK_PAGES};
            }
            t.pages += to - page;
        }
    }
    judge_block(p, region, &t, enough);
}

void place_expect(struct place *p, uint32_t region, const struct native_run *runs, uint32_t n)
{
    if (p->dense)
        find_dense(p, region, runs, n);
    for (uint32_t i = 0; i < n; i++)
        if (runs[i].kind == NATIVE_RUN_DATA)
            bitmap_set_range_atomic(p->received[region], runs[i].first, runs[i].count);
}

/* ---- zeros ---------------------------------------------------------------------------------- */

/* Whole blocks only: of huge pages a part cannot be given back, and some kernels leave it as it is.
 */
static void clear_pages(uint8_t *at, uint64_t n)
{
    const uintptr_t mask = PUNCH_PAGES * GODWIT_PAGE_SIZE - 1;
    uint8_t *end = at + n * GODWIT_PAGE_SIZE;
    uint8_t *from = at + (-(uintptr_t)at & mask), *to = end - ((uintptr_t)end & mask);

    /* Works on shared memory; on private memory it is refused, and the pages are written. */
    if (n < PUNCH_PAGES || from >= to || madvise(from, (size_t)(to - from), MADV_REMOVE))
        from = to = end;
    memset(at, 0, (size_t)(from - at));
    memset(to, 0, (size_t)(end - to));
}

/* Only pages that hold something; those never written here are zero as they are, in the digest too.
 */
static uint64_t clear_run(struct place *p, uint32_t region, const struct native_run *run)
{
    const uint64_t *received = p->received[region];
    uint64_t end = run->first + run->count, from = run->first, to, change = 0;

    while ((from = bitmap_next_set(received, end, from)) < end) {
        to = bitmap_next_clear(received, end, from);
        clear_pages(place_at(p, region, from), to - from);
        for (; from < to; from++)
            change += p->digest ? digest_set(p->digest, region, from, 0) : 0;
    }
    return change;
}

uint64_t place_zeros(struct place *p, uint32_t region, const struct native_run *runs, uint32_t n)
{
    uint64_t change = 0;

    for (uint32_t i = 0; i < n; i++)
        if (runs[i].kind == NATIVE_RUN_ZERO)
            change += clear_run(p, region, &runs[i]);
    return change;
}

/* ---- the digest ----------------------------------------------------------------------------- */

/* So that the next read finds the lines it writes to in the cache. */
static void prefetch_page(uint8_t *page)
{
    for (uint32_t at = 0; at < GODWIT_PAGE_SIZE; at += CACHE_LINE)
        __builtin_prefetch(page + at, 1, 2);
}

uint64_t place_written(struct place *p, uint32_t region, uint64_t first, uint64_t n, uint64_t ahead)
{
    uint64_t change = 0;

    for (uint64_t i = 0; p->digest && i < n; i++) {
        if (i < ahead)
            prefetch_page(place_at(p, region, first + n + i));
        change +=
            digest_set(p->digest, region, first + i, digest_hash(place_at(p, region, first + i)));
    }
    return change;
}
