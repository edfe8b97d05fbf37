/*
 * Differences: whatever changes in a page, the difference from what was sent before gives it again;
 * the cache forgets what was used least recently, what is dropped and what it is told to forget;
 * lanes share it; malformed differences are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "migrate/delta.h"

#define SET (4U * GODWIT_PAGE_SIZE) /* bytes */

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static struct delta *cache(uint64_t bytes)
{
    struct delta *d;

    assert_int_equal(delta_new(bytes, &d, NULL), 0);
    return d;
}

static enum delta_result encode(struct delta *d, uint64_t page, const uint8_t *bytes)
{
    uint8_t out[DELTA_MAX];
    size_t len;

    return delta_encode(d, 0, page, bytes, out, &len);
}

/* Changes n bytes, every `step`th from `at`; the difference has to give the new page. */
static enum delta_result change(struct delta *d, uint8_t *page, size_t at, size_t n, size_t step,
                                size_t *len)
{
    uint8_t other[GODWIT_PAGE_SIZE], *out = malloc(DELTA_MAX);
    enum delta_result result;

    assert_non_null(out);
    memcpy(other, page, sizeof(other));
    for (size_t i = 0; i < n; i++)
        page[(at + i * step) % GODWIT_PAGE_SIZE] ^= (uint8_t)(1 + i % 255);
    result = delta_encode(d, 3, 77, page, out, len);
    if (result == DELTA_FOUND || result == DELTA_SAME) {
        assert_true(*len <= DELTA_MAX);
        assert_int_equal(delta_apply(other, out, *len, NULL), 0);
        assert_memory_equal(other, page, sizeof(other));
    }
    free(out);
    return result;
}

static void test_changes(void **state)
{
    struct delta *d = cache(1 << 20);
    uint8_t page[GODWIT_PAGE_SIZE];
    size_t len;

    memset(page, 0x5a, sizeof(page));
    assert_int_equal(change(d, page, 0, 0, 1, &len), DELTA_MISS);
    assert_int_equal(change(d, page, 0, 0, 1, &len), DELTA_SAME);
    assert_int_equal(len, 0);
    for (size_t at = 0; at < GODWIT_PAGE_SIZE; at++) {
        assert_int_equal(change(d, page, at, 1, 1, &len), DELTA_FOUND);
        assert_in_range(len, 3, 4); /* same, 1, the byte */
    }
    for (size_t n = 2; n < 64; n++)
        for (size_t step = 1; step < 200; step += 7)
            assert_int_equal(change(d, page, 8 * n, n, step, &len), DELTA_FOUND);
    delta_free(d);
}

/* Numbers of one and of two bytes, pages that change to the last byte and to the byte too much. */
static void test_how_much(void **state)
{
    struct delta *d = cache(1 << 20);
    uint8_t page[GODWIT_PAGE_SIZE];
    size_t len;

    memset(page, 0x5a, sizeof(page));
    assert_int_equal(change(d, page, 0, 0, 1, &len), DELTA_MISS);
    assert_int_equal(change(d, page, 127, 127, 1, &len), DELTA_FOUND);
    assert_int_equal(len, 2 + 127);
    assert_int_equal(change(d, page, 128, 128, 1, &len), DELTA_FOUND);
    assert_int_equal(len, 4 + 128);
    assert_int_equal(change(d, page, GODWIT_PAGE_SIZE - 1, 1, 1, &len), DELTA_FOUND);
    assert_int_equal(len, 4);
    assert_int_equal(change(d, page, 0, DELTA_MAX - 4, 1, &len), DELTA_FOUND);
    assert_int_equal(change(d, page, 0, DELTA_MAX, 1, &len), DELTA_OVERFLOW);
    assert_int_equal(change(d, page, 0, 0, 1, &len), DELTA_SAME); /* it has the new page */
    assert_int_equal(change(d, page, 0, GODWIT_PAGE_SIZE, 1, &len), DELTA_OVERFLOW);
    assert_int_equal(change(d, page, 0, 512, 8, &len), DELTA_OVERFLOW);
    delta_free(d);
}

static void test_random_changes(void **state)
{
    struct delta *d = cache(1 << 20);
    uint8_t page[GODWIT_PAGE_SIZE];
    unsigned int found = 0;
    uint64_t seed = 5;
    size_t len;

    memset(page, 0, sizeof(page));
    change(d, page, 0, 0, 1, &len);
    for (unsigned int i = 0; i < 20000; i++) {
        uint64_t r = next_random(&seed);

        found +=
            change(d, page, r % 4096, (r >> 12) % 300, 1 + (r >> 24) % 40, &len) == DELTA_FOUND;
    }
    assert_true(found > 10000);
    delta_free(d);
}

/* A set has four pages; the fifth takes the place of the one used least recently. */
static void test_least_recently_used(void **state)
{
    struct delta *d = cache(SET);
    uint8_t page[GODWIT_PAGE_SIZE] = {0};

    for (uint64_t p = 0; p < 4; p++)
        assert_int_equal(encode(d, p, page), DELTA_MISS);
    for (uint64_t p = 0; p < 4; p++)
        assert_int_equal(encode(d, p, page), DELTA_SAME);
    assert_int_equal(encode(d, 0, page), DELTA_SAME); /* 1 is the oldest now */
    assert_int_equal(encode(d, 4, page), DELTA_MISS);
    assert_int_equal(encode(d, 0, page), DELTA_SAME);
    assert_int_equal(encode(d, 2, page), DELTA_SAME);
    assert_int_equal(encode(d, 3, page), DELTA_SAME);
    assert_int_equal(encode(d, 4, page), DELTA_SAME);
    assert_int_equal(encode(d, 1, page), DELTA_MISS);
    assert_int_equal(encode(d, 0, page), DELTA_MISS);
    delta_free(d);
}

static void test_regions_are_apart(void **state)
{
    uint8_t page[GODWIT_PAGE_SIZE] = {0}, out[DELTA_MAX];
    struct delta *d = cache(1 << 20);
    size_t len;

    assert_int_equal(delta_encode(d, 0, 5, page, out, &len), DELTA_MISS);
    page[9] = 1;
    assert_int_equal(delta_encode(d, 1, 5, page, out, &len), DELTA_MISS);
    assert_int_equal(delta_encode(d, 1, 5, page, out, &len), DELTA_SAME);
    assert_int_equal(delta_encode(d, 0, 5, page, out, &len), DELTA_FOUND);
    delta_free(d);
}

static void test_forgotten(void **state)
{
    struct delta *d = cache(1 << 20);
    uint8_t page[GODWIT_PAGE_SIZE] = {0};

    for (uint64_t p = 0; p < 20; p++)
        assert_int_equal(encode(d, p, page), DELTA_MISS);
    delta_drop(d, 0, 7);
    delta_drop(d, 0, 1000); /* was never there */
    assert_int_equal(encode(d, 7, page), DELTA_MISS);
    assert_int_equal(encode(d, 7, page), DELTA_SAME);
    assert_int_equal(encode(d, 8, page), DELTA_SAME);
    delta_forget(d);
    for (uint64_t p = 0; p < 20; p++)
        assert_int_equal(encode(d, p, page), DELTA_MISS);
    for (uint64_t p = 0; p < 20; p++)
        assert_int_equal(encode(d, p, page), DELTA_SAME);
    delta_free(d);
}

/* Nearly all pages of a working set as large as half the cache stay in it. */
static void test_spread(void **state)
{
    uint64_t pages = 4096, found = 0;
    struct delta *d = cache(2 * pages * GODWIT_PAGE_SIZE);
    uint8_t page[GODWIT_PAGE_SIZE] = {0};

    for (unsigned int round = 0; round < 2; round++)
        for (uint64_t p = 0; p < pages; p++)
            found += encode(d, p, page) == DELTA_SAME;
    assert_true(found > pages * 9 / 10);
    delta_free(d);
}

/* ---- lanes ---- */

#define LANES  4U
#define SHARED 64U /* pages; a round's barrier lies between two sends of one */

struct lane {
    pthread_t thread;
    struct delta *d;
    uint8_t *sent; /* what the destination has of each page */
    unsigned int index;
    pthread_barrier_t *round;
};

static void *lane_work(void *arg)
{
    struct lane *l = arg;
    uint64_t seed = l->index + 1;

    for (unsigned int round = 0; round < 200; round++) {
        for (unsigned int p = (l->index + round) % LANES; p < SHARED; p += LANES) {
            uint8_t page[GODWIT_PAGE_SIZE], out[DELTA_MAX], *theirs = l->sent + p * sizeof(page);
            enum delta_result result;
            size_t len;

            memcpy(page, theirs, sizeof(page));
            page[next_random(&seed) % sizeof(page)]++;
            result = delta_encode(l->d, 0, p, page, out, &len);
            if (result == DELTA_FOUND)
                assert_int_equal(delta_apply(theirs, out, len, NULL), 0);
            else
                memcpy(theirs, page, sizeof(page));
            assert_memory_equal(theirs, page, sizeof(page));
        }
        pthread_barrier_wait(l->round);
    }
    return NULL;
}

static void test_lanes_share_it(void **state)
{
    struct delta *d = cache(8 * SET); /* half of the pages */
    uint8_t *sent = calloc(SHARED, GODWIT_PAGE_SIZE);
    pthread_barrier_t round;
    struct lane l[LANES];

    assert_non_null(sent);
    pthread_barrier_init(&round, NULL, LANES);
    for (unsigned int i = 0; i < LANES; i++) {
        l[i] = (struct lane){.d = d, .sent = sent, .index = i, .round = &round};
        assert_int_equal(pthread_create(&l[i].thread, NULL, lane_work, &l[i]), 0);
    }
    for (unsigned int i = 0; i < LANES; i++)
        pthread_join(l[i].thread, NULL);
    pthread_barrier_destroy(&round);
    free(sent);
    delta_free(d);
}

/* ---- what is refused ---- */

static int apply(const uint8_t *bytes, size_t len)
{
    uint8_t page[GODWIT_PAGE_SIZE], *copy = malloc(len ? len : 1); /* for the sanitizer */
    struct err e = ERR_INIT;
    int ret;

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    ret = delta_apply(page, copy, len, &e);
    assert_int_equal(ret == 0, e.text[0] == '\0');
    free(copy);
    return ret;
}

static void test_malformed(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t len;
        int ret;
    } cases[] = {
        {{0},                             0, 0      }, /* the same */
        {{0, 1, 'x'},                     3, 0      },
        {{0xff, 0x1f, 1, 'x'},            4, 0      }, /* the last byte */
        {{0x80, 0x20, 1, 'x'},            4, -EPROTO}, /* behind it */
        {{0xff, 0x7f, 1, 'x'},            4, -EPROTO},
        {{0},                             1, -EPROTO}, /* ends early */
        {{0, 2, 'x'},                     3, -EPROTO},
        {{0x80},                          1, -EPROTO},
        {{0, 0},                          2, -EPROTO}, /* nothing differs */
        {{0, 1, 'x', 0, 1, 'y'},          6, -EPROTO}, /* nothing is the same */
        {{0, 1, 'x', 1, 1, 'y'},          6, 0      },
        {{0x81, 0, 1, 'x'},               4, -EPROTO}, /* longer than need be */
        {{0x81, 0x80, 0x01, 1, 'x'},      5, -EPROTO},
        {{0xfe, 0x1f, 1, 'x', 1, 1, 'y'}, 7, -EPROTO},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(apply(cases[i].bytes, cases[i].len), cases[i].ret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_how_much),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_least_recently_used),
        cmocka_unit_test(test_regions_are_apart),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_lanes_share_it),
        cmocka_unit_test(test_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
