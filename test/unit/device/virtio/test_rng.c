/* virtio-rng: random bytes, at a rate that leaves the loop in peace. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct fixture {
    struct rig rig;
    struct device *dev;
    struct driver g;
};

static struct device *make(struct fixture *f, enum rig_transport t)
{
    struct virtio_device *v;
    struct err e = ERR_INIT;

    if (virtio_rng_new(&f->rig.env, "rng0", &v, &e))
        fail_msg("%s", e.text);
    return rig_plug(&f->rig, v, t);
}

static int setup(void **state, enum rig_transport t)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    rig_init(&f->rig);
    f->dev = make(f, t);
    driver_probe(&f->g, &f->rig, f->dev, t, 1, 16);
    rig_start(f->dev);
    *state = f;
    return 0;
}

static int setup_pci(void **state)
{
    return setup(state, RIG_PCI);
}

static int setup_mmio(void **state)
{
    return setup(state, RIG_MMIO_BUS);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rig_stop(&f->rig, f->dev);
    rig_unplug(f->dev);
    rig_fini(&f->rig);
    free(f);
    return 0;
}

static uint32_t ask(struct fixture *f, uint64_t gpa, uint32_t len)
{
    struct driver_seg seg = {.gpa = gpa, .len = len, .in = true};

    driver_add(&f->g, 0, &seg, 1);
    driver_kick(&f->g, 0);
    return driver_wait(&f->g, 0).len;
}

static void gives_random_bytes(void **state)
{
    struct fixture *f = *state;
    uint8_t *p = driver_ram(&f->g, DRIVER_DATA);
    uint32_t zeros = 0;

    rig_dirty(&f->rig, DRIVER_DATA);
    assert_int_equal(ask(f, DRIVER_DATA, 1000), 1000);
    for (uint32_t i = 0; i < 1000; i++)
        zeros += p[i] == 0;
    assert_true(zeros < 40); /* 4 are expected */
    assert_int_equal(p[1000] | p[1001] | p[1002] | p[1003], 0);
    assert_true(rig_dirty(&f->rig, DRIVER_DATA));
    assert_int_equal(ask(f, DRIVER_DATA + 4096, 64), 64);
    assert_memory_not_equal(p, p + 4096, 64);
}

static void answers_in_parts(void **state)
{
    uint32_t len = ask(*state, DRIVER_DATA, 1 << 20);

    assert_in_range(len, 1, 4096);
}

static void keeps_its_rate(void **state)
{
    struct fixture *f = *state;
    uint64_t start = clock_now_ns(), given = 0;

    while (given < 300 * 1024)
        given += ask(f, DRIVER_DATA, 4096);
    /* 1 MiB a second in slices of a tenth: the third is over at 200 ms at the earliest. */
    assert_true(clock_now_ns() - start > 150 * NS_PER_MS);
}

static void moves(void **state)
{
    struct fixture *f = *state;
    struct driver_seg seg = {.gpa = DRIVER_DATA, .len = 32, .in = true};
    struct err e = ERR_INIT;
    struct buf b;

    rig_stop(&f->rig, f->dev);
    driver_add(&f->g, 0, &seg, 1);
    driver_kick(&f->g, 0); /* heard by nobody who serves */
    rig_run_ms(&f->rig, 10);
    rig_save(f->dev, &b);
    rig_unplug(f->dev);
    f->dev = make(f, f->g.transport);
    if (rig_load(f->dev, &b, &e))
        fail_msg("%s", e.text);
    buf_fini(&b);
    rig_start(f->dev);
    assert_int_equal(driver_wait(&f->g, 0).len, 32);
}

int main(void)
{
#define BOTH(f)                                                                                    \
    cmocka_unit_test_setup_teardown(f, setup_pci, teardown),                                       \
        cmocka_unit_test_setup_teardown(f, setup_mmio, teardown)
    const struct CMUnitTest tests[] = {
        BOTH(gives_random_bytes),
        BOTH(answers_in_parts),
        BOTH(keeps_its_rate),
        BOTH(moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
