/* The parts that decide when and how fast: the blackout model, the token bucket, the statistics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "migrate/converge.h"
#include "migrate/pace.h"
#include "migrate/stats.h"

#define MIB (1ULL << 20)

/* ---- the model ------------------------------------------------------------------------------ */

static void test_prediction(void **state)
{
    struct converge c;

    converge_init(&c, 2 * NS_PER_MS);
    c.rtt_ns = 500 * NS_PER_US;
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    assert_in_range(converge_predict(&c, 100 * MIB), 102 * NS_PER_MS, 104 * NS_PER_MS);
    assert_in_range(converge_predict(&c, 0), 3 * NS_PER_MS, 3500 * NS_PER_US);
    assert_true(converge_bound(&c, 100 * MIB) > converge_predict(&c, 100 * MIB));
    converge_sent(&c, 4096, 1); /* a page that went into a buffer measures nothing */
    assert_in_range(c.bandwidth, 999 * MIB, 1002 * MIB);
    c.switchover = 100 * MIB; /* what a person says counts for the last pages, not for rounds */
    assert_in_range(converge_predict(&c, 100 * MIB), 1003 * NS_PER_MS, 1005 * NS_PER_MS);
    assert_in_range(converge_round_ns(&c, 100 * MIB), 99 * NS_PER_MS, 102 * NS_PER_MS);
    c.cap = 10 * MIB;
    assert_in_range(converge_round_ns(&c, 10 * MIB), 999 * NS_PER_MS, 1010 * NS_PER_MS);
}

static void test_rehearsal_counts(void **state)
{
    struct converge c;

    converge_init(&c, 50 * NS_PER_MS);
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    converge_rehearsed(&c, NS_PER_MS, 3 * NS_PER_MS, 6 * NS_PER_MS);
    assert_in_range(converge_predict(&c, 0), 10 * NS_PER_MS, 10500 * NS_PER_US);
    assert_in_range(converge_floor(&c), 10 * NS_PER_MS, 10500 * NS_PER_US);
    converge_found(&c, 100 * MIB, 100 * NS_PER_MS, 0); /* dirtied until it stands still: 1 ms of it */
    assert_in_range(converge_predict(&c, 0), 11 * NS_PER_MS, 11500 * NS_PER_US);
}

/* Small sets cost more than their share: pages here and there, and the sockets' own time. */
static void test_learns_from_small_rounds(void **state)
{
    struct converge c;
    uint64_t truth = 5 * NS_PER_MS, naive;

    converge_init(&c, 0);
    converge_sent(&c, 2000 * MIB, NS_PER_S);
    naive = converge_round_ns(&c, 2 * MIB);
    for (int i = 0; i < 10; i++)
        converge_sent(&c, 2 * MIB, truth);
    assert_true(naive < truth / 4);
    assert_in_range(converge_round_ns(&c, 2 * MIB), truth * 9 / 10, truth * 11 / 10);
    for (int i = 0; i < 20; i++)
        converge_sent(&c, 8192, 700 * NS_PER_US);
    assert_in_range(converge_round_ns(&c, 4096), 600 * NS_PER_US, 800 * NS_PER_US);
    assert_in_range(converge_round_ns(&c, 4000 * MIB), 2000 * NS_PER_MS, 2050 * NS_PER_MS);
}

/* A link that flickers makes the bound careful, a steady one makes it trust itself again. */
static void test_learns_its_error(void **state)
{
    uint64_t careful, calm;
    struct converge c;

    converge_init(&c, 0);
    for (int i = 0; i < 20; i++)
        converge_sent(&c, 100 * MIB, (i % 2 ? 100 : 200) * NS_PER_MS);
    careful = converge_bound(&c, 100 * MIB);
    assert_true(careful > 200 * NS_PER_MS);
    for (int i = 0; i < 40; i++)
        converge_sent(&c, 100 * MIB, 100 * NS_PER_MS);
    calm = converge_bound(&c, 100 * MIB);
    assert_in_range(calm, 100 * NS_PER_MS, 110 * NS_PER_MS);
}

/* Two rounds of different length show where the set that is dirtied ends. */
static void test_working_set_is_seen(void **state)
{
    struct converge c;

    converge_init(&c, 0);
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    converge_found(&c, 1000 * MIB, 2 * NS_PER_S, 0);
    assert_in_range(converge_dirtied(&c, NS_PER_S, 0), 490 * MIB, 510 * MIB); /* no bend seen yet */
    converge_found(&c, 950 * MIB, NS_PER_S, 0);
    assert_in_range(converge_dirtied(&c, NS_PER_S, 0), 940 * MIB, 960 * MIB);
    assert_in_range(converge_dirtied(&c, 20 * NS_PER_S, 0), 950 * MIB, 1300 * MIB);
    assert_in_range(converge_dirtied(&c, NS_PER_S / 10, 0), 200 * MIB, 700 * MIB);
    /* Under a throttle the same curve is gone through more slowly. */
    assert_int_equal(converge_dirtied(&c, NS_PER_S, 0.9) / MIB,
                     converge_dirtied(&c, NS_PER_S / 10, 0) / MIB);
}

static void test_steady_rate_has_no_end(void **state)
{
    struct converge c;

    converge_init(&c, 0);
    converge_found(&c, 300 * MIB, 3 * NS_PER_S, 0);
    converge_found(&c, 100 * MIB, NS_PER_S, 0);
    assert_in_range(converge_dirtied(&c, 100 * NS_PER_S, 0), 9900 * MIB, 10100 * MIB);
    converge_found(&c, 70 * MIB, NS_PER_S, 0.3); /* seen through a throttle: the same guest */
    assert_in_range(converge_dirtied(&c, 10 * NS_PER_S, 0), 990 * MIB, 1010 * MIB);
    converge_found(&c, 0, NS_PER_S, 0);
    assert_int_equal(converge_dirtied(&c, NS_PER_S, 0), 0);
    converge_found(&c, 5 * MIB, 0, 0); /* says nothing */
    assert_int_equal(converge_dirtied(&c, NS_PER_S, 0), 0);
}

static void test_forecast(void **state)
{
    struct converge_forecast f;
    struct converge c;

    converge_init(&c, NS_PER_MS);
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    converge_found(&c, 500 * MIB, NS_PER_S, 0);
    /* 500, 250, 125, 62.5: halved in every round, so 0.5 + 0.25 + 0.125 s and the last of 63 ms. */
    converge_forecast(&c, 500 * MIB, 0, 100 * NS_PER_MS, &f);
    assert_true(f.reached);
    assert_int_equal(f.rounds, 3);
    assert_in_range(f.ns, 930 * NS_PER_MS, 950 * NS_PER_MS);
    assert_in_range(f.blackout_ns, 60 * NS_PER_MS, 67 * NS_PER_MS);
    converge_found(&c, 1500 * MIB, NS_PER_S, 0);
    converge_forecast(&c, 1500 * MIB, 0, 100 * NS_PER_MS, &f);
    assert_false(f.reached);
    converge_forecast(&c, 1500 * MIB, 0.8, 100 * NS_PER_MS, &f);
    assert_true(f.reached);
    converge_forecast(&c, 1500 * MIB, 0.8, NS_PER_MS, &f); /* less than the state alone */
    assert_false(f.reached);
}

/* ---- the bucket ----------------------------------------------------------------------------- */

static void test_unlimited(void **state)
{
    struct pace p;

    assert_int_equal(pace_init(&p, 0), 0);
    assert_int_equal(pace_take(&p, 4096), 4096);
    assert_true(pace_take(&p, 1ULL << 40) <= (ssize_t)(8 * MIB)); /* no endless piece either */
    pace_fini(&p);
}

static uint64_t take_for(struct pace *p, uint64_t ms)
{
    uint64_t end = clock_now_ns() + ms * NS_PER_MS, sum = 0;

    while (clock_now_ns() < end) {
        ssize_t n = pace_take(p, MIB);

        assert_true(n > 0);
        sum += (uint64_t)n;
    }
    return sum;
}

static void test_rate(void **state)
{
    struct pace p;

    assert_int_equal(pace_init(&p, 50 * MIB), 0);
    assert_in_range(take_for(&p, 400), 14 * MIB, 23 * MIB);
    pace_set_rate(&p, 5 * MIB);
    assert_in_range(take_for(&p, 400), MIB, 3 * MIB);
    assert_true(pace_take(&p, MIB) <= (ssize_t)(MIB / 9)); /* 20 ms worth at most */
    pace_fini(&p);
}

struct waiter {
    struct pace *pace;
    uint64_t took_ns;
    ssize_t last;
};

static void *wait_for_tokens(void *arg)
{
    struct waiter *w = arg;
    uint64_t began = clock_now_ns();

    for (int i = 0; i < 100; i++) {
        w->last = pace_take(w->pace, MIB);
        if (w->last < 0)
            break;
    }
    w->took_ns = clock_now_ns() - began;
    return NULL;
}

/* Who waits for tokens of a very slow rate feels a faster one, or the end, at once. */
static void test_waiters_wake(void **state)
{
    for (int stop = 0; stop < 2; stop++) {
        struct waiter w;
        struct pace p;
        pthread_t t;

        assert_int_equal(pace_init(&p, 100), 0);
        w.pace = &p;
        assert_int_equal(pthread_create(&t, NULL, wait_for_tokens, &w), 0);
        clock_sleep_ns(50 * NS_PER_MS);
        if (stop)
            pace_stop(&p);
        else
            pace_set_rate(&p, 0);
        pthread_join(t, NULL);
        assert_true(w.took_ns < 250 * NS_PER_MS);
        assert_true(stop ? w.last == -ECANCELED : w.last > 0);
        pace_fini(&p);
    }
}

/* ---- statistics ----------------------------------------------------------------------------- */

static enum godwit_event_kind events[16];
static unsigned nevents;

static void on_event(void *opaque, enum godwit_event_kind kind, const struct godwit_stats *st)
{
    if (nevents < 16)
        events[nevents++] = kind;
}

static void test_stats(void **state)
{
    struct godwit_stats st;
    struct stats s;

    nevents = 0;
    assert_int_equal(stats_init(&s, on_event, NULL), 0);
    stats_get(&s, &st);
    assert_int_equal(st.status, GODWIT_NONE);
    assert_int_equal(st.total_ns, 0);
    stats_begin(&s);
    stats_get(&s, &st);
    assert_int_equal(st.status, GODWIT_SETUP);
    assert_int_equal(nevents, 0); /* not from the thread that begins it */
    stats_tell_begun(&s);
    assert_int_equal(nevents, 2);
    clock_sleep_ns(2 * NS_PER_MS);
    stats_stage(&s, GODWIT_STAGE_PRECOPY);
    s.transferred += 100;
    stats_stop(&s);
    s.transferred += 11;
    stats_stage(&s, GODWIT_STAGE_DONE);
    stats_status(&s, GODWIT_COMPLETED, NULL);
    stats_get(&s, &st);
    assert_int_equal(st.precopy_bytes, 100);
    assert_int_equal(st.downtime_bytes, 11);
    assert_true(st.stages[GODWIT_STAGE_HELLO].duration_ns >= 2 * NS_PER_MS);
    assert_int_equal(st.stages[GODWIT_STAGE_PRECOPY].start_ns, st.setup_ns);
    assert_int_equal(st.stages[GODWIT_STAGE_STOP].start_ns, 0);
    clock_sleep_ns(2 * NS_PER_MS);
    assert_int_equal(s.s.total_ns, st.total_ns); /* the clock has stopped */
    stats_begin(&s);
    stats_tell_begun(&s);
    stats_get(&s, &st);
    assert_int_equal(st.transferred, 0);
    assert_int_equal(st.stages[GODWIT_STAGE_DONE].start_ns, 0);
    assert_int_equal(nevents, 7);
    assert_int_equal(events[0], GODWIT_EVENT_STATUS);
    assert_int_equal(events[2], GODWIT_EVENT_STAGE);
    stats_fini(&s);
}

static void test_names(void **state)
{
    assert_string_equal(godwit_status_name(GODWIT_NONE), "none");
    assert_string_equal(godwit_status_name(GODWIT_CANCELED), "cancelled");
    assert_string_equal(godwit_status_name(GODWIT_STATUS_COUNT), "unknown");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_HELLO), "hello");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_DONE), "done");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_rehearsal_counts),
        cmocka_unit_test(test_learns_from_small_rounds),
        cmocka_unit_test(test_learns_its_error),
        cmocka_unit_test(test_working_set_is_seen),
        cmocka_unit_test(test_steady_rate_has_no_end),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_unlimited),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_waiters_wake),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
