/* The destination's side of pages: dense blocks, zeros that are not written, the digest. */
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "migrate/place.h"

#define PAGES 4096U /* 8 blocks */

struct bench {
    struct godwit_region region;
    struct digest digest;
    struct place place;
    uint64_t calls[16];
    unsigned ncalls;
};

static void note_dense(void *opaque, uint32_t region, uint64_t first, uint64_t n)
{
    struct bench *b = opaque;

    assert_int_equal(region, 0);
    assert_int_equal(n, 512);
    assert_int_equal(first % 512, 0);
    assert_true(b->ncalls < 16);
    b->calls[b->ncalls++] = first;
}

static void bench_init(struct bench *b, uint64_t pages)
{
    struct err e = ERR_INIT;

    memset(b, 0, sizeof(*b));
    b->region = (struct godwit_region){.size = pages * GODWIT_PAGE_SIZE, .name = "ram"};
    b->region.host =
        mmap(NULL, b->region.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(b->region.host != MAP_FAILED);
    assert_int_equal(digest_init(&b->digest, &b->region, 1, &e), 0);
    b->place = (struct place){.regions = &b->region,
                              .nregions = 1,
                              .digest = &b->digest,
                              .dense = note_dense,
                              .opaque = b};
    assert_int_equal(place_init(&b->place, &e), 0);
}

static void bench_fini(struct bench *b)
{
    place_fini(&b->place);
    digest_fini(&b->digest);
    munmap(b->region.host, b->region.size);
}

#define DATA(f, n)                                                                                 \
    {                                                                                              \
        .first = (f), .count = (n), .kind = NATIVE_RUN_DATA                                        \
    }
#define ZERO(f, n)                                                                                 \
    {                                                                                              \
        .first = (f), .count = (n), .kind = NATIVE_RUN_ZERO                                        \
    }
#define EXPECT(b, runs) place_expect(&(b)->place, 0, runs, sizeof(runs) / sizeof((runs)[0]))

static void test_dense(void **state)
{
    const struct native_run whole[] = {DATA(0, 512)};
    const struct native_run pieces[] = {ZERO(512, 100), DATA(612, 100), ZERO(712, 1),
                                        DATA(713, 156), ZERO(869, 155), DATA(1024, 255),
                                        DATA(1536, 100)};
    const struct native_run over[] = {DATA(2048 - 300, 900)};
    struct bench b;

    (void)state;
    bench_init(&b, PAGES);
    EXPECT(&b, whole);
    assert_int_equal(b.ncalls, 1);
    assert_int_equal(b.calls[0], 0);
    EXPECT(&b, whole); /* it is written already */
    assert_int_equal(b.ncalls, 1);
    EXPECT(&b, pieces); /* 256 of one block, 255 of the next, 100 of a third */
    assert_int_equal(b.ncalls, 2);
    assert_int_equal(b.calls[1], 512);
    EXPECT(&b, over); /* 300 of a block that has 100 already, 512, and 88 */
    assert_int_equal(b.ncalls, 3);
    assert_int_equal(b.calls[2], 2048);
    bench_fini(&b);
}

/* Records that are too small to tell. */
static void test_dense_small(void **state)
{
    const struct native_run full[] = {DATA(0, 64)}, next[] = {DATA(64, 64)};
    const struct native_run few[] = {DATA(512, 31), DATA(1024, 33)};
    struct bench b;

    (void)state;
    bench_init(&b, PAGES);
    EXPECT(&b, full);
    EXPECT(&b, next);
    EXPECT(&b, few);
    assert_int_equal(b.ncalls, 2);
    assert_int_equal(b.calls[0], 0);
    assert_int_equal(b.calls[1], 1024);
    bench_fini(&b);
}

/* The piece of a block at a region's end is none. */
static void test_dense_end(void **state)
{
    const struct native_run all[] = {DATA(0, 1000)};
    struct bench b;

    (void)state;
    bench_init(&b, 1000);
    EXPECT(&b, all);
    assert_int_equal(b.ncalls, 1);
    bench_fini(&b);
}

static unsigned resident(const struct bench *b)
{
    unsigned char map[PAGES];
    unsigned n = 0;

    assert_int_equal(mincore(b->region.host, b->region.size, map), 0);
    for (unsigned i = 0; i < PAGES; i++)
        n += map[i] & 1;
    return n;
}

static void test_zeros(void **state)
{
    const struct native_run data[] = {DATA(10, 5)}, zeros[] = {ZERO(0, PAGES)};
    uint64_t root = 0;
    struct bench b;

    (void)state;
    bench_init(&b, PAGES);
    EXPECT(&b, data);
    memset(place_at(&b.place, 0, 10), 0x5a, 5 * GODWIT_PAGE_SIZE);
    root += place_written(&b.place, 0, 10, 5, 0);
    assert_int_not_equal(root, 0);
    assert_int_equal(resident(&b), 5);
    root += place_zeros(&b.place, 0, data, 1); /* none of them */
    root += place_zeros(&b.place, 0, zeros, 1);
    assert_int_equal(root, 0);
    assert_int_equal(resident(&b), 5); /* the others were not touched */
    for (uint64_t i = 0; i < 5 * GODWIT_PAGE_SIZE; i++)
        assert_int_equal(place_at(&b.place, 0, 10)[i], 0);
    bench_fini(&b);
}

/* What lies at the edges of whole blocks is zero, too, and what lies beside the run is left alone. */
static void test_long_zeros(void **state)
{
    const struct native_run data[] = {DATA(0, PAGES)}, zeros[] = {ZERO(3, PAGES - 8)};
    struct bench b;
    uint8_t *at;

    (void)state;
    bench_init(&b, PAGES);
    EXPECT(&b, data);
    at = place_at(&b.place, 0, 0);
    memset(at, 0x5a, (size_t)PAGES * GODWIT_PAGE_SIZE);
    place_zeros(&b.place, 0, zeros, 1);
    for (uint64_t i = 0; i < PAGES; i++)
        for (uint64_t k = 0; k < GODWIT_PAGE_SIZE; k += 8)
            assert_int_equal(at[i * GODWIT_PAGE_SIZE + k], i < 3 || i >= PAGES - 5 ? 0x5a : 0);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_dense_small),
        cmocka_unit_test(test_dense_end),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_long_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
