#include "migrate/batch.h"

#include "migrate/zero.h"
#include "stream/native/view.h"

_Static_assert(BATCH_PAGES_MAX <= NATIVE_PAGES_DATA_MAX, "a batch fits a record");
_Static_assert(GODWIT_PAGE_SIZE == NATIVE_PAGE_SIZE, "pages of the interface and of the stream");

#define CACHE_LINE 64U

void batch_begin(struct batch *b, const struct godwit_region *region, uint32_t pages, uint32_t runs)
{
    b->region = region;
    b->pages_max = pages;
    b->runs_max = runs;
    b->nruns = 0;
    b->data_pages = 0;
    b->zero_pages = 0;
    b->niov = 1;
    b->seen = false;
    b->digested = false;
    b->hashed = 0;
    b->hash_run = 0;
    b->hash_page = 0;
}

static uint8_t *page_at(const struct batch *b, uint64_t page)
{
    return (uint8_t *)b->region->host + page * GODWIT_PAGE_SIZE;
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
    uint32_t kind = zero_page(page_at(b, page)) ? NATIVE_RUN_ZERO : NATIVE_RUN_DATA;
    bool joined = joins(b, page, kind);

    if (!joined && b->nruns == b->runs_max)
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

/* It has enough; a large one also takes what is left of the block. */
static bool is_full(const struct batch *b, uint64_t page)
{
    const struct native_run *last;

    if (b->data_pages < b->pages_max)
        return false;
    if (b->pages_max < BATCH_BLOCK_PAGES)
        return true;
    last = &b->runs[b->nruns - 1];
    return page / BATCH_BLOCK_PAGES != (last->first + last->count - 1) / BATCH_BLOCK_PAGES;
}

uint64_t batch_scan(struct batch *b, uint64_t first, uint64_t end)
{
    while (first < end && !is_full(b, first) && add(b, first))
        first++;
    return first;
}

size_t batch_seal(struct batch *b)
{
    uint32_t id = b->region->id;

    if (b->seen) {
        b->head_len = native_seen_encode(b->head, id, b->runs, b->nruns);
        b->niov = 1;
    } else {
        b->head_len = native_pages_encode(b->head, id, b->runs, b->nruns);
    }
    b->iov[0] = (struct iovec){.iov_base = b->head, .iov_len = b->head_len};
    return b->head_len + (size_t)b->data_pages * GODWIT_PAGE_SIZE;
}

/* The CPU's own prefetching stops at the end of a page; with this, hashing and the copy after it
 * take hardly longer than the copy alone. */
static void prefetch_page(const uint8_t *page)
{
    for (uint32_t at = 0; at < GODWIT_PAGE_SIZE; at += CACHE_LINE)
        __builtin_prefetch(page + at, 0, 2);
}

static uint64_t digest_zeros(const struct batch *b, struct digest *d)
{
    uint64_t change = 0;

    for (uint32_t i = 0; i < b->nruns; i++)
        for (uint32_t n = 0; b->runs[i].kind == NATIVE_RUN_ZERO && n < b->runs[i].count; n++)
            change += digest_set(d, b->region->id, b->runs[i].first + n, 0);
    return change;
}

uint64_t batch_digest(struct batch *b, struct digest *d, size_t bytes)
{
    size_t head = b->head_len, data = bytes > head ? bytes - head : 0;
    uint32_t until = (uint32_t)((data + GODWIT_PAGE_SIZE - 1) / GODWIT_PAGE_SIZE);
    uint64_t change = 0;

    if (!b->digested && b->zero_pages)
        change = digest_zeros(b, d);
    b->digested = true;
    while (b->hashed < until) {
        const struct native_run *run = &b->runs[b->hash_run];
        uint64_t page = run->first + b->hash_page;

        if (run->kind != NATIVE_RUN_DATA || b->hash_page == run->count) {
            b->hash_run++;
            b->hash_page = 0;
            continue;
        }
        if (++b->hash_page < run->count)
            prefetch_page(page_at(b, page + 1));
        change += digest_set(d, b->region->id, page, digest_hash(page_at(b, page)));
        b->hashed++;
    }
    return change;
}
