/* Whole migrations by every combination of what the data path can do, over a guest that works. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define SIZE (8 * MIB)

/* Half of it text, for what compresses; a quarter noise; a quarter never touched. */
static void fill(struct fake_source *g)
{
    static const char text[] = "who flies from Alaska to Tasmania without landing? ";
    uint8_t *host = g->memory.regions[0].host;

    fake_fill(g, 0, SIZE / GODWIT_PAGE_SIZE / 4, 1);
    for (uint64_t at = SIZE / 4; at < SIZE * 3 / 4; at += 64)
        memcpy(host + at, text + at / 64 % 11, 40);
}

static struct godwit_stats move(enum godwit_compression c, bool delta, uint32_t lanes, bool verify)
{
    struct godwit_stats st;
    struct pair p;

    pair_init(&p, SIZE);
    p.params.compression = c;
    p.params.delta = delta;
    p.params.lanes = lanes;
    p.params.verify = verify;
    fill(&p.from);
    fake_source_dirty(&p.from, 20 * MIB, 400);
    pair_listen(&p, lanes % 2 ? "tcp:127.0.0.1:0" : NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    st = pair_source_stats(&p);
    assert_int_equal(st.lanes, lanes);
    assert_int_equal(pair_sink_stats(&p).packed_pages, st.packed_pages);
    assert_int_equal(pair_sink_stats(&p).delta_pages, st.delta_pages);
    pair_fini(&p);
    return st;
}

static void test_every_way(void **state)
{
    static const uint32_t lanes[] = {1, 2, 5};

    (void)state;
    for (unsigned way = 0; way < GODWIT_COMPRESS_COUNT * 2 * 3 * 2; way++) {
        enum godwit_compression c = (enum godwit_compression)(way % GODWIT_COMPRESS_COUNT);
        struct godwit_stats st = move(c, way / 4 % 2, lanes[way / 8 % 3], way / 24);

        if (c == GODWIT_COMPRESS_LZ4 || c == GODWIT_COMPRESS_ZSTD)
            assert_true(st.packed_pages >= SIZE / GODWIT_PAGE_SIZE / 2);
        if (c == GODWIT_COMPRESS_NONE)
            assert_int_equal(st.packed_pages, 0);
        if (!(way / 4 % 2))
            assert_int_equal(st.delta_hits + st.delta_misses, 0);
    }
}

/* A slow link, which is what max-bandwidth makes of this one: it is worth packing, and the reason
 * is told. */
static void test_auto_packs_on_a_slow_link(void **state)
{
    struct godwit_record *r = malloc(sizeof(*r));
    bool told = false;
    struct pair p;

    (void)state;
    assert_non_null(r);
    pair_init(&p, SIZE);
    p.params.compression = GODWIT_COMPRESS_AUTO;
    p.params.lanes = 1;
    p.params.max_bandwidth = 10 * MIB;
    fill(&p.from);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    godwit_source_record(p.source, r);
    assert_true(r->stats.packed_pages > SIZE / GODWIT_PAGE_SIZE / 4);
    for (uint32_t i = 0; i < r->ndecisions; i++)
        told |= !strcmp(r->decisions[i].what, "compress");
    assert_true(told);
    assert_int_equal(r->nlanes, 1);
    assert_true(r->lanes[0].blocked_ns > 0);
    assert_in_range(r->lanes[0].bytes, 1, r->stats.transferred);
    pair_fini(&p);
    free(r);
}

/* Whatever is asked while it goes on: counters only grow. */
static void test_progress_never_runs_backwards(void **state)
{
    struct godwit_stats last = {.status = GODWIT_NONE}, now;
    struct pair p;

    (void)state;
    pair_init(&p, SIZE);
    p.params.compression = GODWIT_COMPRESS_LZ4;
    p.params.delta = true;
    p.params.lanes = 5;
    p.params.max_bandwidth = 10 * MIB;
    fill(&p.from);
    fake_source_dirty(&p.from, 20 * MIB, 400);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    do {
        now = pair_source_stats(&p);
        assert_true(now.transferred >= last.transferred);
        assert_true(now.normal_pages >= last.normal_pages);
        assert_true(now.zero_pages >= last.zero_pages);
        assert_true(now.skipped_pages >= last.skipped_pages);
        assert_true(now.packed_pages >= last.packed_pages);
        assert_true(now.rounds >= last.rounds);
        assert_true(now.remaining <= SIZE);
        last = now;
    } while (now.status != GODWIT_COMPLETED && now.status != GODWIT_FAILED);
    pair_expect_moved(&p);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way),
        cmocka_unit_test(test_auto_packs_on_a_slow_link),
        cmocka_unit_test(test_progress_never_runs_backwards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
