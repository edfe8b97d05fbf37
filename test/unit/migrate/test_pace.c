/* max-bandwidth: the arithmetic in virtual time, and what really arrives at the other side. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness.h"
#include "migrate/pace.h"

#define START    (1000 * NS_PER_S)
#define GRANTS   400000
#define LANES    5
#define WANT     (256U << 10)
#define LATE_MAX (4 * NS_PER_MS) /* how late a thread wakes at most */

/* ---- virtual time --------------------------------------------------------------------------- */

struct grant {
    uint64_t at, bytes;
};

struct flow {
    struct pace pace;
    uint64_t now;
    uint64_t ready[LANES]; /* when each lane asks again */
    uint64_t rng;
    struct grant *grants;
    size_t n;
};

static uint64_t dice(struct flow *f, uint64_t below)
{
    f->rng = f->rng * 6364136223846793005ULL + 1442695040888963407ULL;
    return (f->rng >> 33) % below;
}

static void flow_init(struct flow *f, uint64_t rate)
{
    memset(f, 0, sizeof(*f));
    assert_int_equal(pace_init(&f->pace, rate), 0);
    f->now = f->pace.filled_ns = START;
    f->rng = rate;
    f->grants = calloc(GRANTS, sizeof(*f->grants));
    assert_non_null(f->grants);
    for (int i = 0; i < LANES; i++)
        f->ready[i] = START;
}

static void flow_fini(struct flow *f)
{
    free(f->grants);
    pace_fini(&f->pace);
}

/* Lets the lanes ask until `end`; the link takes ten times the rate, threads wake late. */
static void flow_run(struct flow *f, uint64_t end)
{
    for (;;) {
        uint64_t wait = 0, rate = atomic_load(&f->pace.rate);
        size_t got;
        int next = 0;

        for (int i = 1; i < LANES; i++)
            next = f->ready[i] < f->ready[next] ? i : next;
        if (f->ready[next] >= end)
            break;
        f->now = f->ready[next] > f->now ? f->ready[next] : f->now;
        got = pace_ask(&f->pace, WANT, f->now, &wait);
        if (got) {
            assert_in_range(got, 1, WANT);
            assert_true(f->n < GRANTS);
            f->grants[f->n++] = (struct grant){f->now, got};
            f->ready[next] = f->now + (uint64_t)((double)got * 1e8 / (double)rate) + 1;
        } else {
            assert_true(wait > 0);
            f->ready[next] = f->now + wait + dice(f, LATE_MAX);
        }
    }
    f->now = end;
}

/* Nobody asks for a while. */
static void flow_stall(struct flow *f, uint64_t ns)
{
    f->now += ns;
    for (int i = 0; i < LANES; i++)
        f->ready[i] = f->now;
}

/* The most that went out in any `span` between two moments. */
static uint64_t most(const struct flow *f, uint64_t from, uint64_t to, uint64_t span)
{
    uint64_t sum = 0, best = 0;
    size_t j = 0;

    while (j < f->n && f->grants[j].at < from)
        j++;
    for (size_t i = j; i < f->n && f->grants[i].at < to; i++) {
        sum += f->grants[i].bytes;
        while (f->grants[j].at + span <= f->grants[i].at)
            sum -= f->grants[j++].bytes;
        best = sum > best ? sum : best;
    }
    return best;
}

static uint64_t between(const struct flow *f, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < f->n; i++)
        if (f->grants[i].at >= from && f->grants[i].at < to)
            sum += f->grants[i].bytes;
    return sum;
}

/* Within 5 % over any second, but for the rounding to whole bytes. */
static void expect_kept(const struct flow *f, uint64_t rate, uint64_t from, uint64_t to)
{
    double limit = (double)rate * 1.05 + 8;

    if ((double)most(f, from, to, NS_PER_S) > limit)
        fail_msg("%llu bytes in a second at %llu bytes/s",
                 (unsigned long long)most(f, from, to, NS_PER_S), (unsigned long long)rate);
    for (uint64_t at = from; at + NS_PER_S <= to; at += NS_PER_S / 7)
        if ((double)between(f, at, at + NS_PER_S) < (double)rate * 0.95 - 8)
            fail_msg("only %llu bytes in a second at %llu bytes/s",
                     (unsigned long long)between(f, at, at + NS_PER_S), (unsigned long long)rate);
}

static const uint64_t rates[] = {100,       1000,       30000,       1000000,
                                 125000000, 1000000000, 12500000000, 77777};

static void test_any_second(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct flow f;

        flow_init(&f, rates[i]);
        flow_run(&f, START + 4 * NS_PER_S);
        expect_kept(&f, rates[i], START, START + 4 * NS_PER_S);
        flow_fini(&f);
    }
}

static void test_no_burst_after_a_stall(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        uint64_t again;
        struct flow f;

        flow_init(&f, rates[i]);
        flow_run(&f, START + NS_PER_S);
        flow_stall(&f, 3600 * NS_PER_S);
        again = f.now;
        flow_run(&f, again + 2 * NS_PER_S);
        expect_kept(&f, rates[i], again, again + 2 * NS_PER_S);
        assert_true((double)most(&f, again, again + NS_PER_S, 100 * NS_PER_MS) <=
                    (double)rates[i] * 0.145 + 8);
        flow_fini(&f);
    }
}

/* Every pair of rates: 200 ms after the change nothing is left of the old one. */
static void test_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
        for (size_t j = 0; j < sizeof(rates) / sizeof(rates[0]); j++) {
            uint64_t at = START + NS_PER_S + 12345678, felt = at + 200 * NS_PER_MS;
            struct flow f;

            flow_init(&f, rates[i]);
            flow_run(&f, at);
            pace_change(&f.pace, rates[j], at);
            for (int l = 0; l < LANES; l++) /* who waits is told */
                f.ready[l] = f.ready[l] > at + LATE_MAX ? at + LATE_MAX : f.ready[l];
            flow_run(&f, felt + 2 * NS_PER_S);
            expect_kept(&f, rates[j], felt, felt + 2 * NS_PER_S);
            assert_true((double)between(&f, at, felt) <= (double)rates[j] * 0.25 + 8);
            flow_fini(&f);
        }
}

static void test_from_and_to_unlimited(void **state)
{
    uint64_t wait, now = START;
    struct flow f;

    (void)state;
    flow_init(&f, 0);
    assert_int_equal(pace_ask(&f.pace, WANT, now, &wait), WANT);
    pace_change(&f.pace, 1000000, now);
    f.now = now;
    flow_run(&f, now + 2 * NS_PER_S);
    expect_kept(&f, 1000000, now, now + 2 * NS_PER_S);
    pace_change(&f.pace, 0, f.now);
    assert_int_equal(pace_ask(&f.pace, WANT, f.now, &wait), WANT);
    flow_fini(&f);
}

/* ---- threads -------------------------------------------------------------------------------- */

static void *take(void *arg)
{
    return (void *)(intptr_t)pace_take(arg, 1000);
}

static void test_stop_and_restart(void **state)
{
    struct pace p;
    pthread_t t;
    void *got;

    (void)state;
    assert_int_equal(pace_init(&p, 1), 0);
    while (pace_take(&p, 1) < 0) /* the first byte: from now on it owes */
        ;
    p.tokens = -1e6;
    assert_int_equal(pthread_create(&t, NULL, take, &p), 0);
    pace_stop(&p);
    pthread_join(t, &got);
    assert_int_equal((intptr_t)got, -ECANCELED);
    assert_int_equal(pace_take(&p, 1), -ECANCELED);
    pace_restart(&p);
    assert_int_equal(pthread_create(&t, NULL, take, &p), 0);
    pace_set_rate(&p, 0); /* felt by who waits */
    pthread_join(t, &got);
    assert_int_equal((intptr_t)got, 1000);
    pace_fini(&p);
}

/* ---- what arrives --------------------------------------------------------------------------- */

#define SAMPLES 4000

struct watch {
    uint64_t at[SAMPLES], bytes[SAMPLES];
    size_t n;
};

static void look(struct watch *w, struct pair *p)
{
    assert_true(w->n < SAMPLES);
    w->bytes[w->n] = pair_sink_stats(p).transferred;
    w->at[w->n++] = clock_now_ns();
}

/* The most that came in any second between two samples; what time the machine loses counts against
 * the rate, never for it. */
static double fastest(const struct watch *w, size_t from)
{
    double best = 0;

    for (size_t i = from; i < w->n; i++)
        for (size_t j = i + 1; j < w->n; j++) {
            double s = (double)(w->at[j] - w->at[i]) / (double)NS_PER_S;

            if (s >= 1) {
                double rate = (double)(w->bytes[j] - w->bytes[i]) / s;

                best = rate > best ? rate : best;
                break;
            }
        }
    return best;
}

static void watch_a_move(enum godwit_compression compression, uint64_t first, uint64_t then)
{
    static struct watch w;
    struct pair p;
    size_t changed;

    w.n = 0;
    pair_init(&p, 40 * MIB);
    p.params.lanes = 2;
    p.params.compression = compression;
    p.params.max_bandwidth = first;
    fake_fill(&p.from, 0, 40 * MIB / 4096, 1);
    pair_listen(&p, "tcp:127.0.0.1:0");
    pair_migrate(&p);
    while (w.n < 120) { /* 1.2 s */
        look(&w, &p);
        clock_sleep_ns(10 * NS_PER_MS);
    }
    assert_int_equal(pair_source_stats(&p).status, GODWIT_ACTIVE);
    assert_true(fastest(&w, 0) <= (double)first * 1.15);
    p.params.max_bandwidth = then;
    godwit_source_set_params(p.source, &p.params);
    changed = w.n + 20;
    while (pair_source_stats(&p).status == GODWIT_ACTIVE) {
        look(&w, &p);
        clock_sleep_ns(10 * NS_PER_MS);
    }
    assert_true(fastest(&w, changed) <= (double)then * 1.15);
    pair_expect_moved(&p);
    pair_fini(&p);
}

static void test_what_arrives(void **state)
{
    (void)state;
    watch_a_move(GODWIT_COMPRESS_NONE, 24 * MIB, 9 * MIB);
    watch_a_move(GODWIT_COMPRESS_LZ4, 10 * MIB, 24 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_second),       cmocka_unit_test(test_no_burst_after_a_stall),
        cmocka_unit_test(test_change),           cmocka_unit_test(test_from_and_to_unlimited),
        cmocka_unit_test(test_stop_and_restart), cmocka_unit_test(test_what_arrives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
