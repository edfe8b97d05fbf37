/* Ranges, lookups, and removal while handlers run. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"

static const struct device_ops no_ops = {.type = "test"};

struct target {
    struct device dev;
    struct bus *bus;
    atomic_uint reads, writes;
    uint64_t last_offset, last_value;
    uint32_t last_size;
    atomic_bool inside, release;
    uint64_t remove_base; /* a handler that removes and adds this range */
};

static uint64_t target_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct target *t = opaque;

    t->reads++;
    t->last_offset = offset;
    t->last_size = size;
    return 0x1122334455667788ULL >> (8 * offset);
}

static void target_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct target *t = opaque;

    t->writes++;
    t->last_offset = offset;
    t->last_size = size;
    t->last_value = value;
}

static void target_init(struct target *t, struct bus *b, const char *id)
{
    memset(t, 0, sizeof(*t));
    t->bus = b;
    device_init(&t->dev, &no_ops, id);
}

static struct bus_range range(struct target *t, uint64_t base, uint64_t size)
{
    return (struct bus_range){.base = base,
                              .size = size,
                              .dev = &t->dev,
                              .opaque = t,
                              .read = target_read,
                              .write = target_write};
}

static int add(struct bus *b, struct target *t, uint64_t base, uint64_t size, struct err *e)
{
    struct bus_range r = range(t, base, size);

    return bus_add(b, &r, e);
}

static void answers_inside_only(void **unused)
{
    struct bus *b = bus_new("test");
    struct target t;
    uint64_t v = 0;

    (void)unused;
    target_init(&t, b, "t");
    assert_int_equal(add(b, &t, 0x100, 8, NULL), 0);
    bus_read(b, 0x100, &v, 8);
    assert_int_equal(v, 0x1122334455667788ULL);
    v = 0;
    bus_read(b, 0x104, &v, 4);
    assert_int_equal(v, 0x11223344);
    assert_int_equal(t.last_offset, 4);
    assert_int_equal(t.last_size, 4);
    bus_write(b, 0x102, &(uint16_t){0xabcd}, 2);
    assert_int_equal(t.last_offset, 2);
    assert_int_equal(t.last_value, 0xabcd);
    bus_free(b);
    device_fini(&t.dev);
}

static void nobody_answers_all_ones(void **unused)
{
    static const uint64_t outside[] = {0, 0xff, 0x105, 0x108, UINT64_MAX - 3};
    struct bus *b = bus_new("test");
    struct target t;

    (void)unused;
    target_init(&t, b, "t");
    assert_int_equal(add(b, &t, 0x100, 8, NULL), 0);
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        uint32_t v = 0;

        bus_read(b, outside[i], &v, 4);
        assert_int_equal(v, UINT32_MAX);
        bus_write(b, outside[i], &v, 4);
    }
    assert_int_equal(t.reads, 0);
    assert_int_equal(t.writes, 0);
    bus_free(b);
    device_fini(&t.dev);
}

static void odd_lengths_are_split(void **unused)
{
    struct bus *b = bus_new("test");
    struct target t;
    uint8_t v[7] = {0};

    (void)unused;
    target_init(&t, b, "t");
    assert_int_equal(add(b, &t, 0, 8, NULL), 0);
    bus_read(b, 0, v, 7);
    assert_int_equal(t.reads, 3); /* 4 + 2 + 1 */
    assert_memory_equal(v, "\x88\x77\x66\x55\x44\x33\x22", 7);
    bus_free(b);
    device_fini(&t.dev);
}

static void overlaps_are_refused(void **unused)
{
    static const uint64_t bad[][2] = {
        {0x100, 1     },
        {0x107, 1     },
        {0x0ff, 2     },
        {0x080, 0x100 },
        {0x107, 8     },
        {0x0,   0x1000}
    };
    struct bus *b = bus_new("test");
    struct target t, u;
    struct err e = ERR_INIT;

    (void)unused;
    target_init(&t, b, "first");
    target_init(&u, b, "second");
    assert_int_equal(add(b, &t, 0x100, 8, &e), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(add(b, &u, bad[i][0], bad[i][1], &e), -EEXIST);
        assert_non_null(strstr(e.text, "first"));
        assert_non_null(strstr(e.text, "second"));
    }
    assert_int_equal(add(b, &u, 0x0f8, 8, &e), 0);
    assert_int_equal(add(b, &u, 0x108, 8, &e), 0);
    assert_int_equal(add(b, &u, 0, 0, &e), -EINVAL);
    assert_int_equal(add(b, &u, UINT64_MAX, 2, &e), -EINVAL);
    bus_free(b);
    device_fini(&t.dev);
    device_fini(&u.dev);
}

static void many_ranges_stay_sorted(void **unused)
{
    struct bus *b = bus_new("test");
    struct target t;

    (void)unused;
    target_init(&t, b, "t");
    for (uint64_t i = 0; i < 100; i++) /* 37 is coprime to 100: every place once, out of order */
        assert_int_equal(add(b, &t, i * 37 % 100 * 16, 16, NULL), 0);
    for (uint64_t i = 0; i < 100; i += 2)
        bus_remove(b, i * 16);
    for (uint64_t i = 0; i < 100; i++) {
        uint8_t v;

        t.reads = 0;
        bus_read(b, i * 16 + 5, &v, 1);
        assert_int_equal(t.reads, i % 2);
    }
    bus_remove(b, 12345); /* nothing begins there */
    bus_free(b);
    device_fini(&t.dev);
}

/* Removal from another range's handler, as when a configuration write moves a BAR. */

static void mover_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct target *t = opaque;

    (void)offset;
    (void)size;
    bus_remove(t->bus, t->remove_base);
    t->remove_base = value;
    assert_int_equal(add(t->bus, t, value, 16, NULL), 0);
}

static void a_handler_moves_another_range(void **unused)
{
    struct bus *b = bus_new("test");
    struct target t, mover;
    struct bus_range r;
    uint8_t v;

    (void)unused;
    target_init(&t, b, "t");
    target_init(&mover, b, "mover");
    r = range(&mover, 0, 8);
    r.write = mover_write;
    mover.remove_base = 0x100;
    assert_int_equal(bus_add(b, &r, NULL), 0);
    assert_int_equal(add(b, &t, 0x100, 16, NULL), 0);
    bus_write(b, 0, &(uint64_t){0x200}, 8);
    bus_read(b, 0x100, &v, 1);
    assert_int_equal(v, 0xff);
    bus_read(b, 0x200, &v, 1);
    assert_int_equal(v, 0x88);
    bus_free(b);
    device_fini(&t.dev);
    device_fini(&mover.dev);
}

static uint64_t slow_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct target *t = opaque;

    (void)offset;
    (void)size;
    t->inside = true;
    while (!t->release)
        clock_sleep_ns(NS_PER_MS);
    clock_sleep_ns(5 * NS_PER_MS);
    t->inside = false;
    return 0;
}

static void *read_once(void *opaque)
{
    struct target *t = opaque;
    uint8_t v;

    bus_read(t->bus, 0x10, &v, 1);
    return NULL;
}

static void removal_waits_for_the_handler(void **unused)
{
    struct bus *b = bus_new("test");
    struct target t;
    struct bus_range r;
    pthread_t reader;

    (void)unused;
    target_init(&t, b, "slow");
    r = range(&t, 0x10, 1);
    r.read = slow_read;
    assert_int_equal(bus_add(b, &r, NULL), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_once, &t), 0);
    while (!t.inside)
        clock_sleep_ns(NS_PER_MS);
    t.release = true;
    bus_remove(b, 0x10);
    assert_false(t.inside);
    pthread_join(reader, NULL);
    bus_free(b);
    device_fini(&t.dev);
}

/* Readers on all sides while ranges come and go: the sanitizers watch. */

#define STORM_MS 200

struct storm {
    struct target t;
    uint64_t until_ns;
};

static void *storm_reader(void *opaque)
{
    struct storm *s = opaque;
    uint8_t v;

    while (clock_now_ns() < s->until_ns)
        for (uint64_t a = 0; a < 64; a += 4)
            bus_read(s->t.bus, a, &v, 1);
    return NULL;
}

static void *storm_mover(void *opaque)
{
    struct storm *s = opaque;

    while (clock_now_ns() < s->until_ns)
        for (uint64_t a = 0; a < 64; a += 8) {
            struct bus_range r = range(&s->t, a, 8);

            assert_int_equal(bus_add(s->t.bus, &r, NULL), 0);
            bus_remove(s->t.bus, (a + 32) % 64);
            bus_remove(s->t.bus, a);
        }
    return NULL;
}

static void ranges_come_and_go_under_readers(void **unused)
{
    struct bus *b = bus_new("test");
    struct storm s = {.until_ns = clock_now_ns() + STORM_MS * NS_PER_MS};
    pthread_t readers[3], mover;

    (void)unused;
    target_init(&s.t, b, "t");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, storm_reader, &s), 0);
    assert_int_equal(pthread_create(&mover, NULL, storm_mover, &s), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    pthread_join(mover, NULL);
    assert_true(s.t.reads > 0);
    bus_free(b);
    device_fini(&s.t.dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_inside_only),
        cmocka_unit_test(nobody_answers_all_ones),
        cmocka_unit_test(odd_lengths_are_split),
        cmocka_unit_test(overlaps_are_refused),
        cmocka_unit_test(many_ranges_stay_sorted),
        cmocka_unit_test(a_handler_moves_another_range),
        cmocka_unit_test(removal_waits_for_the_handler),
        cmocka_unit_test(ranges_come_and_go_under_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
