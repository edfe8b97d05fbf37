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
    assert_int_equal(converge_predict(&c, 0), 3 * NS_PER_MS);
    converge_sent(&c, 4096, 1); /* a page that went into a buffer measures nothing */
    assert_in_range(c.bandwidth, 999 * MIB, 1001 * MIB);
}

static void test_idle_guest_switches_at_once(void **state)
{
    struct converge c;

    converge_init(&c, NS_PER_MS);
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    assert_int_equal(converge_judge(&c, 0, NS_PER_S, 100 * NS_PER_MS), CONVERGE_SWITCH);
    assert_int_equal(c.polished, 0);
}

/* Rounds of a guest that writes at `rate` into at most `set`, over a link of 1000 MiB/s. */
static unsigned rounds_until_switch(uint64_t rate, uint64_t set, uint64_t limit_ns,
                                    uint64_t *last_dirty)
{
    uint64_t ns = NS_PER_S, dirty;
    struct converge c;

    converge_init(&c, NS_PER_MS);
    converge_sent(&c, 1000 * MIB, NS_PER_S);
    for (unsigned round = 1; round < 200; round++) {
        dirty = (uint64_t)((double)rate * (double)ns / 1e9);
        dirty = dirty < set ? dirty : set;
        if (converge_judge(&c, dirty, ns, limit_ns) == CONVERGE_SWITCH) {
            *last_dirty = dirty;
            return round;
        }
        ns = (uint64_t)((double)dirty / (1000.0 * (double)MIB) * 1e9) + 50 * NS_PER_US;
    }
    return 200;
}

/* The limit alone would have allowed 100 MiB in the blackout; a few quick rounds make it KiBs. */
static void test_polishing(void **state)
{
    uint64_t last;
    unsigned rounds = rounds_until_switch(100 * MIB, 1024 * MIB, 200 * NS_PER_MS, &last);

    assert_in_range(rounds, 2, 6);
    assert_true(last < MIB);
}

/* Polishing ends when it does not help: a hot set no round gets ahead of. */
static void test_polishing_ends(void **state)
{
    uint64_t last;

    assert_in_range(rounds_until_switch(5000 * MIB, 20 * MIB, 100 * NS_PER_MS, &last), 1, 3);
    assert_in_range(rounds_until_switch(900 * MIB, 2000 * MIB, 2000 * NS_PER_MS, &last), 1, 14);
}

static void test_above_the_limit_goes_on(void **state)
{
    uint64_t last;

    assert_int_equal(rounds_until_switch(5000 * MIB, 500 * MIB, 100 * NS_PER_MS, &last), 200);
    assert_int_equal(rounds_until_switch(0, MIB, 0, &last), 200); /* the state alone is too dear */
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
    assert_string_equal(godwit_status_name(GODWIT_CANCELED), "canceled");
    assert_string_equal(godwit_status_name(GODWIT_STATUS_COUNT), "unknown");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_HELLO), "hello");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_DONE), "done");
    assert_string_equal(godwit_stage_name(GODWIT_STAGE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_idle_guest_switches_at_once),
        cmocka_unit_test(test_polishing),
        cmocka_unit_test(test_polishing_ends),
        cmocka_unit_test(test_above_the_limit_goes_on),
        cmocka_unit_test(test_unlimited),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_waiters_wake),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
