/* The witness's modules that need no bare machine, run on the host: what it is asked, how it paces
 * itself, and above all how it tells gaps, blackouts and stops apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../config.h"
#include "../gaps.h"
#include "../pace.h"
#include "../pattern.h"
#include "../text.h"

#define MS 1000000u /* ticks, at 1 GHz */

static void test_config_defaults(void **state)
{
    struct config c;

    (void)state;
    config_parse(&c, "");
    assert_int_equal(c.smp, 1);
    assert_int_equal(c.rate, 100);
    assert_int_equal(c.idle, IDLE_HLT);
    assert_string_equal(c.unknown, "");
    assert_string_equal(c.wrong, "");
}

static void test_config_words(void **state)
{
    struct config c;

    (void)state;
    config_parse(&c, "  smp=254 pm1a=0xB00 static_mib=1024  idle=spin seed=18446744073709551615 ");
    assert_string_equal(c.wrong, "pm1a=0xB00"); /* hexadecimal digits are small */
    assert_int_equal(c.smp, 254);
    assert_int_equal(c.static_mib, 1024);
    assert_int_equal(c.idle, IDLE_SPIN);
    assert_true(c.seed == UINT64_MAX);
    config_parse(&c, "pm1a=0xb00 pci=off virtio_mmio.device=4K@0xd0000000:5 quiet");
    assert_int_equal(c.pm1a, 0xb00);
    assert_string_equal(c.wrong, "");
    assert_string_equal(c.unknown, "pci=off");
}

static void test_config_refuses(void **state)
{
    static const char *const wrong[] = {
        "smp=0",       "smp=255",     "smp=",   "smp=1x",    "rate=-1",
        "idle=faster", "idle=",       "smp=0x", "above4g=2", "seed=18446744073709551616",
        "state=0x2",   "period_ms=9",
    };
    struct config c;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        config_parse(&c, wrong[i]);
        assert_true(c.wrong[0] && !strncmp(c.wrong, wrong[i], sizeof(c.wrong) - 1));
    }
    config_parse(&c, "smpx=2");
    assert_string_equal(c.unknown, "smpx=2");
    assert_int_equal(c.smp, 1);
}

static void test_text(void **state)
{
    struct text t = {.len = 0};

    (void)state;
    text_str(&t, "W");
    text_kv(&t, "n", 0);
    text_kv(&t, "most", UINT64_MAX);
    text_kx(&t, "at", 0xfee00000);
    text_ks(&t, "idle", "hlt");
    t.buf[t.len] = 0;
    assert_string_equal(t.buf, "W n=0 most=18446744073709551615 at=0xfee00000 idle=hlt");
    for (unsigned i = 0; i < TEXT_MAX; i++)
        text_str(&t, "ab");
    assert_int_equal(t.len, TEXT_MAX);
}

static void test_pace(void **state)
{
    struct pace p;
    unsigned steps = 0;

    (void)state;
    pace_init(&p, 1000, 100, 10); /* one each 100 µs */
    for (uint64_t now = 1000; now < 1000 + 10 * MS; now += MS / 100)
        steps += pace_due(&p, now);
    assert_int_equal(steps, 100);

    /* After a blackout of a second it goes on at its rate instead of making up for it. */
    steps = 0;
    for (uint64_t now = 1000 * MS; now < 1010 * MS; now += MS / 100)
        steps += pace_due(&p, now);
    assert_in_range(steps, 100, 101);

    pace_init(&p, 0, 0, 10);
    assert_false(pace_due(&p, 1000 * MS));
    pace_init(&p, 0, 1, 0);
    assert_true(pace_due(&p, 0));
    assert_true(pace_due(&p, 0));
}

static void test_pattern_words_differ(void **state)
{
    (void)state;
    assert_true(pattern_key(1, 0x1000) != pattern_key(1, 0x2000));
    assert_true(pattern_key(1, 0x1000) != pattern_key(2, 0x1000));
    assert_true(pattern_word(pattern_key(1, 0), 0) != pattern_word(pattern_key(1, 0), 1));
}

/* Two vCPUs of a machine whose clock stands at 1 s. */
static int gaps_setup(void **state)
{
    static struct gaps cpus[2];

    memset(cpus, 0, sizeof(cpus));
    tsc_clock.khz = MS;
    gaps_init();
    gaps_shared.progress = 1000 * MS;
    cpus[0].last = cpus[1].last = 1000 * MS;
    *state = cpus;
    return 0;
}

/* A look at a time of the test's choosing. */
static void look_at(struct gaps *g, uint64_t now)
{
    gaps_note(g, gaps_shared.progress, now);
    g->last = now;
}

static void test_blackout_is_where_all_stand_still(void **state)
{
    struct gaps *cpus = *state;
    struct gap_slot a, b;

    look_at(&cpus[0], 1005 * MS); /* 5 ms in which neither looked */
    look_at(&cpus[0], 1006 * MS);
    look_at(&cpus[1], 1007 * MS); /* 7 ms of its own, but only one of them dark */
    a = gaps_of_period(&cpus[0], gaps_shared.epoch);
    b = gaps_of_period(&cpus[1], gaps_shared.epoch);
    assert_int_equal(a.own.ticks, 5 * MS);
    assert_int_equal(a.blackout.ticks, 5 * MS);
    assert_int_equal(a.blackout.start, 1000 * MS);
    assert_int_equal(b.own.ticks, 7 * MS);
    assert_int_equal(b.blackout.ticks, 1 * MS);
    assert_int_equal(a.stop.ticks + b.stop.ticks, 0);
}

static void test_stop_is_told_from_other_gaps(void **state)
{
    struct gaps *cpus = *state;
    struct gap_slot a;

    look_at(&cpus[0], 1050 * MS); /* a long one, but the host did not stop the machine */
    cpus[0].pvclock.flags = 0x80 | PVCLOCK_STOPPED;
    cpus[1].pvclock.flags = PVCLOCK_STOPPED;
    look_at(&cpus[0], 1070 * MS);
    look_at(&cpus[0], 1071 * MS);
    look_at(&cpus[1], 1171 * MS); /* has the flag too, but the stop was over long before */
    look_at(&cpus[0], 1180 * MS);
    a = gaps_of_total(&cpus[0]);
    assert_int_equal(a.blackout.ticks, 50 * MS);
    assert_int_equal(gaps_of_total(&cpus[1]).blackout.ticks, 100 * MS);
    assert_int_equal(a.stop.ticks, 20 * MS);
    assert_int_equal(a.stop.start, 1050 * MS);
    assert_int_equal(a.stops, 1);
    assert_int_equal(gaps_of_total(&cpus[1]).stops, 0);
    assert_int_equal(gaps_of_total(&cpus[1]).stop.ticks, 0);
    assert_int_equal(cpus[0].pvclock.flags, 0x80);
    assert_int_equal(cpus[1].pvclock.flags, 0);

    cpus[1].pvclock.flags = PVCLOCK_STOPPED; /* the next stop */
    look_at(&cpus[1], 1210 * MS);
    assert_int_equal(gaps_of_total(&cpus[1]).stops, 1);
    assert_int_equal(gaps_of_total(&cpus[1]).stop.ticks, 30 * MS);
}

static void test_periods_and_reset(void **state)
{
    struct gaps *cpus = *state;
    uint32_t ended;

    look_at(&cpus[0], 1009 * MS);
    ended = gaps_next_period();
    look_at(&cpus[0], 1011 * MS);
    assert_int_equal(gaps_of_period(&cpus[0], ended).own.ticks, 9 * MS);
    assert_int_equal(gaps_of_period(&cpus[1], ended).own.ticks, 0);
    ended = gaps_next_period();
    assert_int_equal(gaps_of_period(&cpus[0], ended).own.ticks, 2 * MS);
    assert_int_equal(gaps_of_period(&cpus[0], gaps_shared.epoch).own.ticks, 0);
    assert_int_equal(gaps_of_total(&cpus[0]).own.ticks, 9 * MS);
    gaps_reset();
    assert_int_equal(gaps_of_total(&cpus[0]).own.ticks, 0);
    look_at(&cpus[0], 1012 * MS);
    assert_int_equal(gaps_of_total(&cpus[0]).own.ticks, 1 * MS);
}

static void test_tsc_that_goes_back(void **state)
{
    struct gaps *cpus = *state;

    cpus[0].last = UINT64_MAX;
    gaps_look(&cpus[0]);
    assert_int_equal(cpus[0].tsc_back, 1);
    gaps_shared.progress = UINT64_MAX;
    gaps_look(&cpus[0]);
    assert_int_equal(cpus[0].tsc_back, 1);
    assert_int_equal(cpus[0].tsc_cross, 1);
    assert_true(cpus[0].cross_most > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_config_words),
        cmocka_unit_test(test_config_refuses),
        cmocka_unit_test(test_text),
        cmocka_unit_test_setup(test_pace, gaps_setup),
        cmocka_unit_test(test_pattern_words_differ),
        cmocka_unit_test_setup(test_blackout_is_where_all_stand_still, gaps_setup),
        cmocka_unit_test_setup(test_stop_is_told_from_other_gaps, gaps_setup),
        cmocka_unit_test_setup(test_periods_and_reset, gaps_setup),
        cmocka_unit_test_setup(test_tsc_that_goes_back, gaps_setup),
    };

    return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
