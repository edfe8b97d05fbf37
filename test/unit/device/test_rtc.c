/* The real-time clock as a driver sees it. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "device/rtc.h"
#include "state/rtc_state.h"

#define GSI 8

enum { SEC = 0, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, DAY, MON, YEAR, A, B, C, D };
#define CENTURY 0x32

struct fixture {
    struct rig rig;
    struct rtc *rtc;
};

static struct rtc *make(struct rig *r, uint64_t low, uint64_t high)
{
    struct rtc_config c = {
        .pio = r->pio, .loop = r->loop, .vm = r->vm, .gsi = GSI, .low_ram = low, .high_ram = high};
    struct err e = ERR_INIT;
    struct rtc *rtc;

    if (rtc_new(&c, "rtc0", &rtc, &e))
        fail_msg("%s", e.text);
    return rtc;
}

static int setup(void **state)
{
    static struct fixture f;

    rig_init(&f.rig);
    f.rtc = make(&f.rig, 2ULL << 30, 6ULL << 30);
    rig_start(rtc_device(f.rtc));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rtc_device(f->rtc)->ops->free(rtc_device(f->rtc));
    rig_fini(&f->rig);
    return 0;
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
    rig_out(&f->rig, 0x70, 1, reg);
    return (uint8_t)rig_in(&f->rig, 0x71, 1);
}

static void set(struct fixture *f, uint8_t reg, uint8_t v)
{
    rig_out(&f->rig, 0x70, 1, reg);
    rig_out(&f->rig, 0x71, 1, v);
}

static int bcd(uint8_t v)
{
    return (v >> 4) * 10 + (v & 15);
}

/* The guest's time, read as a driver does: twice, until nothing changed in between. */
static time_t guest_time(struct fixture *f)
{
    struct tm tm = {0};
    uint8_t second;

    do {
        second = get(f, SEC);
        tm = (struct tm){.tm_sec = bcd(second),
                         .tm_min = bcd(get(f, MIN)),
                         .tm_hour = bcd(get(f, HOUR)),
                         .tm_mday = bcd(get(f, DAY)),
                         .tm_mon = bcd(get(f, MON)) - 1,
                         .tm_year = bcd(get(f, CENTURY)) * 100 + bcd(get(f, YEAR)) - 1900};
    } while (second != get(f, SEC));
    return timegm(&tm);
}

static void starts_with_the_hosts_time(void **state)
{
    struct fixture *f = *state;
    time_t now = time(NULL);
    struct tm tm;

    assert_true(labs((long)(guest_time(f) - now)) <= 1);
    gmtime_r(&now, &tm);
    assert_int_equal(get(f, WDAY), tm.tm_wday + 1);
    assert_int_equal(get(f, D), 0x80);
}

static void set_time(struct fixture *f, time_t t)
{
    struct tm tm;
    uint8_t b = get(f, B);

#define BCD(v) (uint8_t)((v) / 10 << 4 | (v) % 10)
    gmtime_r(&t, &tm);
    set(f, B, b | 0x80);
    set(f, DAY, 0x01); /* so that no month is too short on the way */
    set(f, CENTURY, BCD((tm.tm_year + 1900) / 100));
    set(f, YEAR, BCD(tm.tm_year % 100));
    set(f, MON, BCD(tm.tm_mon + 1));
    set(f, DAY, BCD(tm.tm_mday));
    set(f, HOUR, BCD(tm.tm_hour));
    set(f, MIN, BCD(tm.tm_min));
    set(f, SEC, BCD(tm.tm_sec));
    set(f, B, b);
}

static void can_be_set(void **state)
{
    static const time_t times[] = {0, 951782399 /* 2000-02-28 23:59:59 */, 1709208000, 4102444800};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        set_time(f, times[i]);
        assert_in_range(guest_time(f), times[i], times[i] + 1);
    }
}

static void set_bit_holds_the_time(void **state)
{
    struct fixture *f = *state;
    time_t t;

    set(f, B, 0x82);
    t = guest_time(f);
    clock_sleep_ns(1100 * NS_PER_MS);
    assert_int_equal(guest_time(f), t);
    set(f, B, 0x02);
    assert_in_range(guest_time(f), t, t + 1); /* goes on from there */
}

static void binary_and_twelve_hours(void **state)
{
    struct fixture *f = *state;

    set_time(f, 1700000000); /* 2023-11-14 22:13:20 */
    set(f, B, 0x06);
    assert_int_equal(get(f, HOUR), 22);
    assert_int_equal(get(f, MIN), 13);
    set(f, B, 0x04);
    assert_int_equal(get(f, HOUR), 0x80 | 10);
    set(f, B, 0x00);
    assert_int_equal(get(f, HOUR), 0x90);
    set(f, HOUR, 0x12); /* 12 am */
    set(f, B, 0x02);
    assert_int_equal(get(f, HOUR), 0x00);
}

static void memory_and_sizes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, 0x15) | get(f, 0x16) << 8, 640);
    assert_int_equal(get(f, 0x17) | get(f, 0x18) << 8, 0xffff);
    assert_int_equal(get(f, 0x34) | get(f, 0x35) << 8, ((2U << 30) - (16U << 20)) >> 16);
    assert_int_equal(get(f, 0x5b) | get(f, 0x5c) << 8 | get(f, 0x5d) << 16, (6ULL << 30) >> 16);
    set(f, 0x40, 0x77);
    assert_int_equal(get(f, 0x40), 0x77);
    assert_int_equal(rig_in(&f->rig, 0x70, 1), 0xff);
}

static void word_write_is_index_and_data(void **state)
{
    struct fixture *f = *state;

    rig_out(&f->rig, 0x70, 2, 0x5541);
    assert_int_equal(get(f, 0x41), 0x55);
}

static void update_interrupt_once_a_second(void **state)
{
    struct fixture *f = *state;

    set(f, B, 0x12);
    assert_false(fake_irq_level(f->rig.vm, GSI));
    rig_run(&f->rig, 1050);
    assert_true(fake_irq_level(f->rig.vm, GSI));
    assert_int_equal(get(f, C) & 0x90, 0x90);
    assert_false(fake_irq_level(f->rig.vm, GSI));
    rig_run(&f->rig, 1050);
    assert_int_equal(fake_irq_edges(f->rig.vm, GSI), 2);
}

static void alarm_interrupt(void **state)
{
    struct fixture *f = *state;

    set_time(f, 1700000000);
    set(f, HOUR_ALARM, 0xc0); /* any */
    set(f, MIN_ALARM, 0x13);
    set(f, SEC_ALARM, 0x22);
    get(f, C);
    set(f, B, 0x22);
    rig_run(&f->rig, 500);
    assert_false(fake_irq_level(f->rig.vm, GSI));
    rig_run(&f->rig, 2000);
    assert_true(fake_irq_level(f->rig.vm, GSI));
    assert_int_equal(get(f, C) & 0xa0, 0xa0);
}

static void periodic_interrupt(void **state)
{
    struct fixture *f = *state;
    uint32_t n = 0;
    uint64_t end;

    set(f, A, 0x2a); /* 64 Hz */
    set(f, B, 0x42);
    end = clock_now_ns() + 500 * NS_PER_MS;
    while (clock_now_ns() < end) {
        rig_run(&f->rig, 2);
        n += get(f, C) & 0x80 ? 1 : 0;
    }
    assert_in_range(n, 16, 34); /* 32 when this machine is quiet */
}

static void flags_without_interrupts(void **state)
{
    struct fixture *f = *state;

    get(f, C);
    clock_sleep_ns(1050 * NS_PER_MS);
    assert_int_equal(get(f, C) & 0x90, 0x10); /* flag, no request */
    assert_int_equal(fake_irq_edges(f->rig.vm, GSI), 0);
}

static void stopped_is_silent_and_started_tells(void **state)
{
    struct fixture *f = *state;
    struct device *d = rtc_device(f->rtc);

    set(f, B, 0x12);
    d->ops->stop(d);
    rig_run(&f->rig, 1050);
    assert_false(fake_irq_level(f->rig.vm, GSI));
    rig_start(d);
    assert_true(fake_irq_level(f->rig.vm, GSI));
}

static void save_load_keeps_the_offset(void **state)
{
    struct fixture *f = *state, g;
    struct err e = ERR_INIT;
    struct buf saved;

    set_time(f, 1000000000);
    set(f, 0x50, 0xab);
    set(f, B, 0x12);
    rig_save(rtc_device(f->rtc), &saved);
    rig_init(&g.rig);
    g.rtc = make(&g.rig, 2ULL << 30, 0);
    if (rig_restore(rtc_device(g.rtc), &saved, &e))
        fail_msg("%s", e.text);
    assert_in_range(guest_time(&g), 1000000000, 1000000002);
    assert_int_equal(get(&g, 0x50), 0xab);
    assert_int_equal(get(&g, B), 0x12);
    teardown((void *[]){&g});
    buf_fini(&saved);
}

static void save_load_save_while_held(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct buf a, b;

    set(f, B, 0x82);
    rig_save(rtc_device(f->rtc), &a);
    assert_int_equal(rig_restore(rtc_device(f->rtc), &a, &e), 0);
    rig_save(rtc_device(f->rtc), &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    buf_fini(&a);
    buf_fini(&b);
}

/* Any offset and any time are possible; what the clock computes from them must be defined. */
static void hostile_states(void **state)
{
    static const uint64_t times[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, 1ULL << 63};
    struct fixture *f = *state;
    struct rtc_state good =
                         {
                             .cmos = {[A] = 0x26, [B] = 0x72, [D] = 0x80}
    },
                     bad = good;
    struct err e = ERR_INIT;

    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            good.offset_ns = good.frozen_ns = times[i];
            good.seen_ns = times[j];
            assert_int_equal(rig_restore_struct(rtc_device(f->rtc), &good, &e), 0);
            rig_start(rtc_device(f->rtc));
            for (int reg = 0; reg <= CENTURY; reg++)
                get(f, (uint8_t)reg);
            set(f, YEAR, 0xff);
        }
    bad.cmos[D] = 0;
    assert_int_equal(rig_restore_struct(rtc_device(f->rtc), &bad, &e), -EPROTO);
    bad = good;
    bad.cmos[C] = 0x80;
    assert_int_equal(rig_restore_struct(rtc_device(f->rtc), &bad, &e), -EPROTO);
    bad = good;
    bad.cmos[A] = 0x80;
    assert_int_equal(rig_restore_struct(rtc_device(f->rtc), &bad, &e), -EPROTO);
}

static void reset_keeps_time_and_memory(void **state)
{
    struct fixture *f = *state;

    set_time(f, 1000000000);
    set(f, 0x50, 0xab);
    set(f, B, 0x12);
    rig_reset(rtc_device(f->rtc));
    assert_int_equal(get(f, B), 0x02);
    assert_int_equal(get(f, 0x50), 0xab);
    assert_in_range(guest_time(f), 1000000000, 1000000002);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(starts_with_the_hosts_time),
        T(can_be_set),
        T(set_bit_holds_the_time),
        T(binary_and_twelve_hours),
        T(memory_and_sizes),
        T(word_write_is_index_and_data),
        T(update_interrupt_once_a_second),
        T(alarm_interrupt),
        T(periodic_interrupt),
        T(flags_without_interrupts),
        T(stopped_is_silent_and_started_tells),
        T(save_load_keeps_the_offset),
        T(save_load_save_while_held),
        T(hostile_states),
        T(reset_keeps_time_and_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
