/* The bitmap against a plain array of bools, around every word boundary. */
#include "base/bitmap.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NBITS 200

static size_t model_next(const bool *model, size_t nbits, size_t from, bool value)
{
    while (from < nbits && model[from] != value)
        from++;
    return from < nbits ? from : nbits;
}

static void check(const uint64_t *map, const bool *model)
{
    size_t count = 0;

    for (size_t i = 0; i < NBITS; i++) {
        assert_int_equal(bitmap_test(map, i), model[i]);
        count += model[i];
    }
    assert_int_equal(bitmap_count(map, NBITS), count);
    for (size_t from = 0; from <= NBITS; from++) {
        assert_int_equal(bitmap_next_set(map, NBITS, from), model_next(model, NBITS, from, true));
        assert_int_equal(bitmap_next_clear(map, NBITS, from),
                         model_next(model, NBITS, from, false));
    }
}

/* Positions and lengths that meet each side of a word's edges. */
static const size_t edges[] = {0, 1, 2, 62, 63, 64, 65, 66, 126, 127, 128, 129, 191, 192, 193, 199};
#define NEDGES (sizeof(edges) / sizeof(edges[0]))

static void ranges_match_a_model(void **state)
{
    uint64_t map[BITMAP_WORDS(NBITS)], atomic[BITMAP_WORDS(NBITS)];
    bool model[NBITS];

    for (size_t i = 0; i < NEDGES; i++) {
        for (size_t j = i; j < NEDGES; j++) {
            size_t first = edges[i], n = edges[j] - first;

            memset(map, 0, sizeof(map));
            memset(atomic, 0, sizeof(atomic));
            memset(model, 0, sizeof(model));
            bitmap_set_range(map, first, n);
            bitmap_set_range_atomic(atomic, first, n);
            memset(model + first, true, n);
            check(map, model);
            assert_memory_equal(map, atomic, sizeof(map));
            assert_int_equal(bitmap_count_range(map, first, n), n);
            memset(map, 0xff, sizeof(map));
            bitmap_clear_range(map, first, n);
            for (size_t k = 0; k < NBITS; k++)
                model[k] = k < first || k >= first + n;
            check(map, model);
            assert_int_equal(bitmap_count_range(map, first, n), 0);
        }
    }
}

/* A bit past nbits in the last word must not be found. */
static void what_is_past_the_end_does_not_count(void **state)
{
    uint64_t map[2] = {0, 1ULL << 10};

    assert_int_equal(bitmap_next_set(map, 70, 0), 70);
    assert_int_equal(bitmap_next_set(map, 75, 0), 74);
    assert_int_equal(bitmap_count(map, 74), 0);
    assert_int_equal(bitmap_count(map, 75), 1);
    map[0] = ~0ULL;
    map[1] = 0x3f;
    assert_int_equal(bitmap_next_clear(map, 70, 0), 70);
    assert_int_equal(bitmap_next_set(map, 70, 70), 70);
    assert_int_equal(bitmap_next_set(map, 0, 0), 0);
    assert_int_equal(bitmap_count_range(map, 5, 0), 0);
}

static void single_bits(void **state)
{
    uint64_t map[BITMAP_WORDS(NBITS)] = {0};
    bool model[NBITS] = {0};

    for (size_t i = 0; i < NEDGES; i++) {
        bitmap_set(map, edges[i]);
        model[edges[i]] = true;
        check(map, model);
    }
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * 4;
}

/* A bitmap of 1 TiB of 4 KiB pages is 32 MiB; a bit in it costs at most a huge page. */
static void large_ones_cost_nothing_until_touched(void **state)
{
    size_t nbits = (size_t)1 << 28;
    long before = resident_kib();
    uint64_t *map = bitmap_new(nbits);

    assert_non_null(map);
    bitmap_set(map, nbits - 1);
    assert_true(resident_kib() - before < 8192);
    assert_int_equal(bitmap_next_set(map, nbits, nbits - 100), nbits - 1);
    bitmap_free(map, nbits);
    map = bitmap_new(0);
    assert_non_null(map);
    bitmap_free(map, 0);
    bitmap_free(NULL, 10);
}

#define THREADS 4
#define SHARED  (64 * 100)
#define ROUNDS  200

struct setter {
    uint64_t *map;
    size_t first;
    pthread_barrier_t *start;
};

/* Each thread sets every fourth bit of the same words, all at once, again and again. */
static void *run_setter(void *opaque)
{
    const struct setter *s = opaque;

    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(s->start);
        for (size_t i = s->first; i < SHARED; i += THREADS)
            bitmap_set_range_atomic(s->map + (size_t)round * SHARED / 64, i, 1);
    }
    return NULL;
}

static void atomic_ones_lose_nothing(void **state)
{
    uint64_t *map = bitmap_new((size_t)ROUNDS * SHARED);
    struct setter setters[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        setters[i] = (struct setter){.map = map, .first = i, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, run_setter, &setters[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    assert_int_equal(bitmap_count(map, (size_t)ROUNDS * SHARED), ROUNDS * SHARED);
    bitmap_free(map, (size_t)ROUNDS * SHARED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_match_a_model),
        cmocka_unit_test(what_is_past_the_end_does_not_count),
        cmocka_unit_test(single_bits),
        cmocka_unit_test(large_ones_cost_nothing_until_touched),
        cmocka_unit_test(atomic_ones_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
