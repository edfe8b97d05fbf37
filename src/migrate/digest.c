#include "migrate/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* makes XXH3_64bits the one with the widest vectors of this CPU */
#else
#include <xxhash.h>
#endif

#include "migrate/zero.h"

#define STAGE "digest"

/* XXH3 of 4096 zeros.  Who hashes a page has mostly seen already that it is not zero; only where
 * this comes out is it looked at again. */
#define HASH_OF_ZEROS 0x93d76fe148c689baULL

_Static_assert(GODWIT_PAGE_SIZE == 4096, "HASH_OF_ZEROS is that of 4096 bytes");

uint64_t digest_hash(const void *page)
{
    uint64_t hash = XXH3_64bits(page, GODWIT_PAGE_SIZE);

    if (hash == HASH_OF_ZEROS && zero_page(page))
        return 0;
    return hash ? hash : 1;
}

/*
 * What a page adds to a sum: its place and its hash, mixed until they cannot be told apart (the
 * finisher of SplitMix64), or pages that change places would leave the sum as it is.  A page of
 * zeros adds nothing, wherever it is.
 */
static uint64_t mix(uint32_t region, uint64_t page, uint64_t hash)
{
    uint64_t x = hash ^ (((uint64_t)region << 48) + page + 1) * 0x9e3779b97f4a7c15ULL;

    if (!hash)
        return 0;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

/* Populated by use, in small pages: a huge one would stand for 1 GiB of the guest. */
static uint64_t *table_map(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_NOHUGEPAGE); /* a kernel without huge pages says EINVAL */
    return p;
}

int digest_init(struct digest *d, const struct godwit_region *regions, uint32_t n, struct err *e)
{
    memset(d, 0, sizeof(*d));
    if (n > GODWIT_REGIONS_MAX)
        return err_set(e, -EINVAL, STAGE, "%u regions are more than %d", n, GODWIT_REGIONS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t pages = regions[i].size / GODWIT_PAGE_SIZE;

        d->hashes[i] = table_map(pages * sizeof(uint64_t));
        if (!d->hashes[i]) {
            digest_fini(d);
            return err_set_errno(e, -ENOMEM, STAGE, "hashes of %" PRIu64 " pages", pages);
        }
        d->pages[i] = pages;
        d->nregions = i + 1;
    }
    return 0;
}

void digest_fini(struct digest *d)
{
    for (uint32_t i = 0; i < d->nregions; i++)
        munmap(d->hashes[i], d->pages[i] * sizeof(uint64_t));
    memset(d, 0, sizeof(*d));
}

uint64_t digest_set(struct digest *d, uint32_t region, uint64_t page, uint64_t hash)
{
    uint64_t *at = &d->hashes[region][page];
    uint64_t old = *at;

    if (old == hash)
        return 0; /* zeros that stay zeros populate nothing */
    *at = hash;
    return mix(region, page, hash) - mix(region, page, old);
}

void digest_add(struct digest *d, uint64_t change)
{
    atomic_fetch_add_explicit(&d->root, change, memory_order_relaxed);
}

uint64_t digest_root(struct digest *d)
{
    return atomic_load_explicit(&d->root, memory_order_relaxed);
}

uint64_t digest_blocks(const struct digest *d, uint32_t region)
{
    return (d->pages[region] + DIGEST_BLOCK_PAGES - 1) / DIGEST_BLOCK_PAGES;
}

uint64_t digest_sum(const struct digest *d, uint32_t region, uint64_t first, uint64_t n)
{
    uint64_t left = first < d->pages[region] ? d->pages[region] - first : 0, sum = 0;

    if (n > left)
        n = left;
    for (uint64_t page = first; page < first + n; page++)
        sum += mix(region, page, d->hashes[region][page]);
    return sum;
}

uint64_t digest_block(const struct digest *d, uint32_t region, uint64_t block)
{
    return digest_sum(d, region, block * DIGEST_BLOCK_PAGES, DIGEST_BLOCK_PAGES);
}

uint64_t digest_check(const struct digest *d, const struct godwit_region *r, uint64_t first,
                      uint64_t n)
{
    const uint8_t *host = r->host;

    for (uint64_t page = first; page < first + n; page++)
        if (digest_hash(host + page * GODWIT_PAGE_SIZE) != d->hashes[r->id][page])
            return page;
    return UINT64_MAX;
}
