#include "migrate/batch.h"

#include <isa-l/mem_routines.h>

_Static_assert(BATCH_PAGES <= NATIVE_PAGES_DATA_MAX, "a batch fits a record");
_Static_assert(GODWIT_PAGE_SIZE == NATIVE_PAGE_SIZE, "pages of the interface and of the stream");

void batch_begin(struct batch *b, const struct godwit_region *region)
{
    b->region = region;
    b->nruns = 0;
    b->data_pages = 0;
    b->zero_pages = 0;
    b->niov = 1;
}

static uint8_t *page_at(const struct batch *b, uint64_t page)
{
    return (uint8_t *)b->region->host + page * GODWIT_PAGE_SIZE;
}

/* Most pages that are not zero show it in the first or in a middle word; only the rest is read. */
static bool is_zero(const uint8_t *page)
{
    const uint64_t *w = (const uint64_t *)(const void *)page;

    if (__atomic_load_n(&w[0], __ATOMIC_RELAXED) || __atomic_load_n(&w[255], __ATOMIC_RELAXED))
        return false;
    return isal_zero_detect((void *)(uintptr_t)page, GODWIT_PAGE_SIZE) == 0;
}

static bool joins(const struct batch *b, uint64_t page, uint32_t kind)
{
    const struct native_run *last = b->nruns ? &b->runs[b->nruns - 1] : NULL;

    return last && last->kind == kind && last->first + last->count == page &&
           last->count < UINT32_MAX;
}

static void add_data(struct batch *b, uint64_t page, bool joined)
{
    if (joined)
        b->iov[b->niov - 1].iov_len += GODWIT_PAGE_SIZE;
    else
        b->iov[b->niov++] =
            (struct iovec){.iov_base = page_at(b, page), .iov_len = GODWIT_PAGE_SIZE};
    b->data_pages++;
}

/* false: no room. */
static bool add(struct batch *b, uint64_t page)
{
    uint32_t kind = is_zero(page_at(b, page)) ? NATIVE_RUN_ZERO : NATIVE_RUN_DATA;
    bool joined = joins(b, page, kind);

    if (!joined && b->nruns == NATIVE_RUNS_MAX)
        return false;
    if (kind == NATIVE_RUN_DATA)
        add_data(b, page, joined);
    else
        b->zero_pages++;
    if (joined)
        b->runs[b->nruns - 1].count++;
    else
        b->runs[b->nruns++] = (struct native_run){.first = page, .count = 1, .kind = kind};
    return true;
}

uint64_t batch_scan(struct batch *b, uint64_t first, uint64_t end)
{
    while (first < end && b->data_pages < BATCH_PAGES && add(b, first))
        first++;
    return first;
}

size_t batch_seal(struct batch *b)
{
    uint32_t id = b->region->id;

    b->iov[0].iov_base = b->head;
    b->iov[0].iov_len = native_pages_encode(b->head, id, b->runs, b->nruns);
    return b->iov[0].iov_len + (size_t)b->data_pages * GODWIT_PAGE_SIZE;
}
