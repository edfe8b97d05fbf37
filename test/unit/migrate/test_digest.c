/*
 * Digests: only zeros hash to 0, the root is the same whatever the order and the number of lanes,
 * it tells places apart, and a flipped bit is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/mman.h>

#include "migrate/digest.h"

#define PAGES   3000U /* not a multiple of a block */
#define THREADS 4U
#define ROUNDS  20U

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static struct godwit_region *regions_new(void)
{
    struct godwit_region *r = calloc(2, sizeof(*r));
    uint64_t seed = 42;

    for (uint32_t i = 0; i < 2; i++) {
        uint64_t *words;

        r[i] = (struct godwit_region){.id = i, .size = (uint64_t)PAGES * GODWIT_PAGE_SIZE};
        r[i].host = words = calloc(PAGES, GODWIT_PAGE_SIZE);
        assert_non_null(words);
        for (size_t w = 0; w < r[i].size / 8; w++)
            if (w / 512 % 3) /* every third page stays zero */
                words[w] = next_random(&seed);
    }
    return r;
}

static void regions_free(struct godwit_region *r)
{
    free(r[0].host);
    free(r[1].host);
    free(r);
}

static const uint8_t *page_at(const struct godwit_region *r, uint64_t page)
{
    return (const uint8_t *)r->host + page * GODWIT_PAGE_SIZE;
}

static uint64_t fill(struct digest *d, const struct godwit_region *r, uint64_t first, uint64_t step)
{
    uint64_t change = 0;

    for (uint32_t i = 0; i < 2; i++)
        for (uint64_t p = first; p < PAGES; p += step)
            change += digest_set(d, i, p, digest_hash(page_at(&r[i], p)));
    return change;
}

static void test_only_zeros_are_zero(void **state)
{
    static uint8_t page[GODWIT_PAGE_SIZE];
    uint64_t hash;

    assert_true(digest_hash(page) == 0);
    for (size_t bit = 0; bit < 8 * sizeof(page); bit += 61) {
        page[bit / 8] ^= (uint8_t)(1U << bit % 8);
        hash = digest_hash(page);
        assert_true(hash != 0);
        assert_true(digest_hash(page) == hash);
        page[bit / 8] = 0;
    }
}

static void test_order_does_not_matter(void **state)
{
    struct godwit_region *r = regions_new();
    struct digest a, b;

    assert_int_equal(digest_init(&a, r, 2, NULL), 0);
    assert_int_equal(digest_init(&b, r, 2, NULL), 0);
    assert_true(digest_root(&a) == 0);
    digest_add(&a, fill(&a, r, 0, 1));
    for (uint64_t i = 0; i < 7; i++)
        digest_add(&b, fill(&b, r, 6 - i, 7));
    assert_true(digest_root(&a) != 0);
    assert_true(digest_root(&a) == digest_root(&b));
    digest_add(&b, fill(&b, r, 0, 1)); /* once more, nothing changed */
    assert_true(digest_root(&a) == digest_root(&b));
    for (uint64_t p = 0; p < PAGES; p++) /* back to zeros */
        digest_add(&b, digest_set(&b, 0, p, 0) + digest_set(&b, 1, p, 0));
    assert_true(digest_root(&b) == 0);
    digest_fini(&a);
    digest_fini(&b);
    regions_free(r);
}

static void test_places_matter(void **state)
{
    struct godwit_region *r = regions_new();
    struct digest a, b;

    assert_int_equal(digest_init(&a, r, 2, NULL), 0);
    assert_int_equal(digest_init(&b, r, 2, NULL), 0);
    digest_add(&a, digest_set(&a, 0, 1, 111) + digest_set(&a, 0, 2, 222));
    digest_add(&b, digest_set(&b, 0, 1, 222) + digest_set(&b, 0, 2, 111));
    assert_true(digest_root(&a) != digest_root(&b));
    digest_add(&b, digest_set(&b, 0, 1, 0) + digest_set(&b, 0, 2, 0));
    digest_add(&b, digest_set(&b, 1, 1, 111) + digest_set(&b, 0, 2, 222));
    assert_true(digest_root(&a) != digest_root(&b));
    digest_fini(&a);
    digest_fini(&b);
    regions_free(r);
}

struct worker {
    pthread_t thread;
    struct digest *d;
    const struct godwit_region *r;
    uint64_t first;
};

/* Made-up hashes first, so that every page changes ROUNDS times, by a lane of its own. */
static void *work(void *arg)
{
    struct worker *w = arg;
    uint64_t seed = w->first + 1;

    for (unsigned int round = 0; round < ROUNDS; round++)
        for (uint64_t p = w->first; p < PAGES; p += THREADS)
            for (uint32_t i = 0; i < 2; i++)
                digest_add(w->d, digest_set(w->d, i, p, next_random(&seed)));
    digest_add(w->d, fill(w->d, w->r, w->first, THREADS));
    return NULL;
}

static void test_lanes_together(void **state)
{
    struct godwit_region *r = regions_new();
    struct worker w[THREADS];
    struct digest together, alone;

    assert_int_equal(digest_init(&together, r, 2, NULL), 0);
    assert_int_equal(digest_init(&alone, r, 2, NULL), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.d = &together, .r = r, .first = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(w[i].thread, NULL);
    digest_add(&alone, fill(&alone, r, 0, 1));
    assert_true(digest_root(&together) == digest_root(&alone));
    digest_fini(&together);
    digest_fini(&alone);
    regions_free(r);
}

/* The sums over blocks lead to the block, digest_check to the page. */
static void test_a_flipped_bit_is_found(void **state)
{
    static const uint64_t flipped[] = {0, 511, 512, 1500, PAGES - 1};
    struct godwit_region *r = regions_new();
    uint8_t *host = r[1].host;
    struct digest d, other;
    uint64_t sum = 0;

    assert_int_equal(digest_init(&d, r, 2, NULL), 0);
    digest_add(&d, fill(&d, r, 0, 1));
    assert_true(digest_blocks(&d, 1) == 6);
    for (uint32_t i = 0; i < 2; i++)
        for (uint64_t b = 0; b < digest_blocks(&d, i); b++)
            sum += digest_block(&d, i, b);
    assert_true(sum == digest_root(&d));
    assert_true(digest_check(&d, &r[1], 0, PAGES) == UINT64_MAX);
    for (size_t f = 0; f < sizeof(flipped) / sizeof(flipped[0]); f++) {
        uint64_t page = flipped[f];

        host[page * GODWIT_PAGE_SIZE + 4095] ^= 0x10;
        assert_int_equal(digest_init(&other, r, 2, NULL), 0);
        digest_add(&other, fill(&other, r, 0, 1));
        assert_true(digest_root(&other) != digest_root(&d));
        for (uint64_t b = 0; b < digest_blocks(&d, 1); b++)
            assert_int_equal(digest_block(&d, 1, b) == digest_block(&other, 1, b),
                             b != page / DIGEST_BLOCK_PAGES);
        assert_true(digest_check(&d, &r[1], 0, PAGES) == page);
        assert_true(digest_check(&d, &r[1], 0, page) == UINT64_MAX);
        assert_true(digest_check(&d, &r[1], page + 1, PAGES - page - 1) == UINT64_MAX);
        digest_fini(&other);
        host[page * GODWIT_PAGE_SIZE + 4095] ^= 0x10;
    }
    digest_fini(&d);
    regions_free(r);
}

static uint64_t resident(const void *p, uint64_t bytes)
{
    unsigned char *vec = calloc(bytes / 4096, 1);
    uint64_t n = 0;

    assert_non_null(vec);
    assert_int_equal(mincore((void *)(uintptr_t)p, bytes, vec), 0);
    for (uint64_t i = 0; i < bytes / 4096; i++)
        n += vec[i] & 1;
    free(vec);
    return n;
}

/* 1 TiB of which 3 pages are used: what is looked at and written is there, nothing around it. */
static void test_nothing_costs_nothing(void **state)
{
    struct godwit_region r = {.size = 1ULL << 40};
    uint64_t pages = r.size / GODWIT_PAGE_SIZE;
    struct digest d;

    assert_int_equal(digest_init(&d, &r, 1, NULL), 0);
    for (uint64_t p = 0; p < pages; p += pages / 64)
        assert_true(digest_set(&d, 0, p, 0) == 0);
    for (uint64_t p = 1000; p < pages; p += pages / 3)
        digest_add(&d, digest_set(&d, 0, p, p));
    assert_true(resident(d.hashes[0], 1 << 23) <= 2); /* of 2048 */
    digest_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_zeros_are_zero),    cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_places_matter),          cmocka_unit_test(test_lanes_together),
        cmocka_unit_test(test_a_flipped_bit_is_found), cmocka_unit_test(test_nothing_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
