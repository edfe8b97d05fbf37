#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/tsc.h"

#define SECOND 1000000000ULL

static void rates_are_compared_in_ppm(void **state)
{
    assert_int_equal(tsc_ppm(2000000, 2000000), 0);
    assert_int_equal(tsc_ppm(2000500, 2000000), 250);
    assert_int_equal(tsc_ppm(2000501, 2000000), 251); /* rounded up: never a ppm too lenient */
    assert_int_equal(tsc_ppm(1999500, 2000000), 250);
    assert_int_equal(tsc_ppm(4000000, 2000000), 1000000);
    assert_true(tsc_ppm(1, 0) == UINT64_MAX);
}

static void scaling_does_not_overflow(void **state)
{
    assert_int_equal(tsc_scale(1000, 3000000, 2000000, true), 1500);
    assert_int_equal(tsc_scale(1000, 3000000, 2000000, false), 1000);
    /* 100 years of 4 GHz */
    assert_true(tsc_scale(12614400000000000000ULL, 2000000, 4000000, true) ==
                6307200000000000000ULL);
}

static void ticks_go_both_ways(void **state)
{
    assert_int_equal(tsc_ticks(1000, 2300000), 2300);
    assert_int_equal(tsc_ticks(-1000, 2300000), -2300);
    assert_true(tsc_ticks(100LL * 365 * 86400 * 1000000000, 2000000) ==
                100LL * 365 * 86400 * 2000000000);
}

static void elapsed_time_is_clamped(void **state)
{
    assert_int_equal(tsc_clamp_elapsed(5 * SECOND, 7 * SECOND), 2 * SECOND);
    assert_int_equal(tsc_clamp_elapsed(7 * SECOND, 5 * SECOND), 0);
    assert_int_equal(tsc_clamp_elapsed(0, 1000000 * SECOND), 3600 * SECOND);
}

/* What the guest reads at the destination's instant. */
static uint64_t guest_tsc(const struct tsc_move *m)
{
    return tsc_scale(m->host_tsc_now, m->guest_khz, m->host_khz, m->scaled) + tsc_offset(m);
}

/* A host that was just booted, one that runs for long, one with another rate that scales: the guest
 * reads the same. */
static void the_guest_reads_what_its_clock_says(void **state)
{
    const uint64_t then = 77000000000ULL, clock = 33 * SECOND;
    const struct {
        uint64_t host_tsc;
        uint32_t host_khz;
        bool scaled;
    } hosts[] = {
        {1000,                   2000000, false},
        {9000000000000000000ULL, 2000000, false},
        {123456789012345ULL,     2000300, false}, /* within tolerance: not scaled */
        {123456789012345ULL,     3100000, true },
        {UINT64_MAX - 10,        2000000, false},
    };

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct tsc_move m = {
            .tsc_then = then,
            .clock_then_ns = clock,
            .clock_now_ns = clock + 250000000, /* a quarter of a second went by */
            .guest_khz = 2000000,
            .host_tsc_now = hosts[i].host_tsc,
            .host_khz = hosts[i].host_khz,
            .scaled = hosts[i].scaled,
        };

        assert_true(guest_tsc(&m) == then + 500000000);
        m.clock_now_ns = clock; /* it was paused: nothing went by */
        assert_true(guest_tsc(&m) == then);
        m.clock_now_ns = clock - 1000; /* read a moment before it was saved, on another host */
        assert_true(guest_tsc(&m) == then - 2000);
    }
}

/* Two vCPUs whose TSCs were a little apart stay exactly as far apart. */
static void vcpus_keep_their_distance(void **state)
{
    struct tsc_move a = {.tsc_then = 1000000,
                         .clock_then_ns = 5,
                         .clock_now_ns = 12345,
                         .guest_khz = 2300000,
                         .host_tsc_now = 99999,
                         .host_khz = 2300000};
    struct tsc_move b = a;

    b.tsc_then += 17;
    assert_int_equal(tsc_offset(&b) - tsc_offset(&a), 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_compared_in_ppm),
        cmocka_unit_test(scaling_does_not_overflow),
        cmocka_unit_test(ticks_go_both_ways),
        cmocka_unit_test(elapsed_time_is_clamped),
        cmocka_unit_test(the_guest_reads_what_its_clock_says),
        cmocka_unit_test(vcpus_keep_their_distance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
