#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "wire/crc.h"

static bool settled_source(struct pair *p)
{
    enum godwit_status s = pair_source_stats(p).status;

    return s == GODWIT_COMPLETED || s == GODWIT_FAILED || s == GODWIT_UNRESOLVED;
}

/* The sink is settled when it runs, waits for a person, or holds nothing (any more). */
static bool settled_sink(struct pair *p)
{
    enum godwit_status s = pair_sink_stats(p).status;

    return s == GODWIT_COMPLETED || s == GODWIT_FAILED || s == GODWIT_UNRESOLVED ||
           s == GODWIT_NONE;
}

static void expect_same(struct pair *p, const struct judge_look *look)
{
    const char *difference = look->may_differ ? NULL : fake_compare(&p->from, &p->to);

    if (difference)
        fail_msg("%s", difference);
}

/* Nobody knows: a person looks at both sides and decides. */
static void resolve_both(struct pair *p, const struct judge_look *look)
{
    struct err e = ERR_INIT;

    assert_int_equal(p->world.running, 0);
    assert_int_equal(p->from.runs || p->to.runs, 0);
    if (look->here) {
        assert_int_equal(godwit_sink_resolve(p->sink, false, &e), 0);
        assert_int_equal(godwit_source_resolve(p->source, true, &e), 0);
        wait_until(p->from.resumes == 1);
        wait_until(p->to.discards == 1);
        pair_expect_source(p, GODWIT_FAILED);
    } else {
        assert_int_equal(godwit_sink_resolve(p->sink, true, &e), 0);
        assert_int_equal(godwit_source_resolve(p->source, false, &e), 0);
        wait_until(p->from.finishes == 1);
        pair_expect_sink(p, GODWIT_COMPLETED);
        assert_int_equal(p->to.runs_count, 1);
        expect_same(p, look);
    }
}

static void expect_moved(struct pair *p, const struct judge_look *look)
{
    pair_expect_sink(p, GODWIT_COMPLETED);
    assert_int_equal(p->to.runs_count, 1);
    expect_same(p, look);
    wait_until(p->from.finishes == 1);
    expect_same(p, look);
}

static void expect_kept(struct pair *p)
{
    struct err e = ERR_INIT;

    wait_until(settled_sink(p));
    assert_int_equal(p->from.runs, 1);
    if (pair_sink_stats(p).status == GODWIT_UNRESOLVED)
        assert_int_equal(godwit_sink_resolve(p->sink, false, &e), 0);
    wait_until(!p->to.built);
    assert_int_equal(p->to.runs_count, 0);
    assert_false(p->from.tracking);
    assert_true(pair_source_stats(p).error.code < 0 && pair_source_stats(p).error.text[0]);
}

enum judge_end judge(struct pair *p, const struct judge_look *look)
{
    enum judge_end end = JUDGE_KEPT;
    enum godwit_status from, to;
    struct err e = ERR_INIT;

    wait_until(settled_source(p));
    wait_until(settled_sink(p));
    from = pair_source_stats(p).status;
    to = pair_sink_stats(p).status;
    assert_false(p->world.broken);
    if (from == GODWIT_UNRESOLVED && to == GODWIT_UNRESOLVED) {
        resolve_both(p, look);
        end = JUDGE_DECIDED;
    } else if (from == GODWIT_UNRESOLVED) {
        assert_int_equal(to, GODWIT_COMPLETED);
        assert_int_equal(godwit_source_resolve(p->source, false, &e), 0);
        expect_moved(p, look);
        end = JUDGE_DECIDED;
    } else if (from == GODWIT_COMPLETED) {
        expect_moved(p, look);
        end = JUDGE_MOVED;
    } else {
        expect_kept(p);
    }
    assert_int_equal(p->world.running, 1);
    assert_false(p->world.broken);
    assert_true(p->from.resumes <= 1);
    return end;
}

void judge_next_moves(struct pair *p, const char *uri)
{
    wait_until(!p->to.built);
    pair_end_source(p);
    for (int i = 0; i < FAKE_CALL_COUNT; i++) {
        atomic_store(&p->from.slots[i].calls, 0);
        atomic_store(&p->to.slots[i].calls, 0);
    }
    p->from.resumes = 0;
    if (uri != p->dial)
        snprintf(p->dial, sizeof(p->dial), "%s", uri);
    p->params.link_timeout_ms = p->params.ready_timeout_ms = 10000; /* nothing is wrong any more */
    godwit_sink_set_params(p->sink, &p->params);
    pair_migrate(p);
    pair_expect_moved(p);
}

uint32_t judge_memory(const struct pair *p, uint64_t pages)
{
    const struct godwit_region *r = &p->from.memory.regions[0];

    return crc32c(0, (const uint8_t *)r->host + pages * GODWIT_PAGE_SIZE,
                  r->size - pages * GODWIT_PAGE_SIZE);
}
