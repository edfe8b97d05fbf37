/* virtio over MMIO: registers and the level-triggered line.  The device behind is an rng. */
#include "driver.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    struct rig rig;
    struct device *dev;
    struct driver g;
};

static struct device *make(struct fixture *f)
{
    struct virtio_device *v;
    struct err e = ERR_INIT;

    if (virtio_rng_new(&f->rig.env, "rng0", &v, &e))
        fail_msg("%s", e.text);
    return rig_plug(&f->rig, v, RIG_MMIO_BUS);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    rig_init(&f->rig);
    f->dev = make(f);
    rig_start(f->dev);
    driver_attach(&f->g, &f->rig, f->dev, RIG_MMIO_BUS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rig_stop(&f->rig, f->dev);
    rig_unplug(f->dev);
    assert_int_equal(fake_doorbell_count(f->rig.vm), 0);
    rig_fini(&f->rig);
    free(f);
    return 0;
}

static uint32_t reg(struct fixture *f, uint32_t offset)
{
    return (uint32_t)rig_read(&f->rig, RIG_MMIO + offset, 4);
}

static void set_reg(struct fixture *f, uint32_t offset, uint32_t value)
{
    rig_write(&f->rig, RIG_MMIO + offset, 4, value);
}

static void use_one(struct fixture *f)
{
    struct driver_seg seg = {.gpa = DRIVER_DATA, .len = 32, .in = true};

    driver_add(&f->g, 0, &seg, 1);
    driver_kick(&f->g, 0);
    assert_int_equal(driver_wait(&f->g, 0).len, 32);
}

static void identifies_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reg(f, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    assert_int_equal(reg(f, VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(reg(f, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_RNG);
    assert_int_equal(reg(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
    assert_int_equal(reg(f, VIRTIO_MMIO_SHM_LEN_LOW), 0xffffffff);
    set_reg(f, VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_int_equal(reg(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    /* Registers are 32 bits wide; anything else reaches nothing. */
    assert_int_equal(rig_read(&f->rig, RIG_MMIO, 1), 0);
    rig_write(&f->rig, RIG_MMIO + VIRTIO_MMIO_STATUS, 1, 1);
    assert_int_equal(driver_status(&f->g), 0);
    assert_string_equal(f->dev->ops->type, "virtio-rng-device");
}

static void refuses_a_legacy_driver(void **state)
{
    struct fixture *f = *state;

    assert_false(driver_negotiate(&f->g, 0));
    assert_int_equal(driver_status(&f->g), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
}

static void line_is_up_until_acknowledged(void **state)
{
    struct fixture *f = *state;

    driver_probe(&f->g, &f->rig, f->dev, RIG_MMIO_BUS, 1, 16);
    assert_false(fake_irq_level(f->rig.vm, RIG_GSI));
    use_one(f);
    assert_true(fake_irq_level(f->rig.vm, RIG_GSI));
    assert_int_equal(reg(f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    set_reg(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    assert_true(fake_irq_level(f->rig.vm, RIG_GSI));
    set_reg(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_false(fake_irq_level(f->rig.vm, RIG_GSI));
    use_one(f);
    set_reg(f, VIRTIO_MMIO_STATUS, 0);
    assert_false(fake_irq_level(f->rig.vm, RIG_GSI));
}

static void only_its_own_index_rings(void **state)
{
    struct fixture *f = *state;

    assert_true(fake_doorbell(f->rig.vm, false, RIG_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0));
    assert_false(fake_doorbell(f->rig.vm, false, RIG_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY, 4, 1));
    set_reg(f, VIRTIO_MMIO_QUEUE_NOTIFY, 0xffffffff); /* reaches nothing */
    driver_probe(&f->g, &f->rig, f->dev, RIG_MMIO_BUS, 1, 16);
    f->g.slow_doorbell = true;
    use_one(f);
}

static void a_queue_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    struct driver_seg seg = {.gpa = DRIVER_DATA, .len = 32, .in = true};
    struct vring_used_elem u;

    driver_probe(&f->g, &f->rig, f->dev, RIG_MMIO_BUS, 1, 16);
    use_one(f);
    set_reg(f, VIRTIO_MMIO_QUEUE_SEL, 0);
    set_reg(f, VIRTIO_MMIO_QUEUE_READY, 0);
    assert_int_equal(reg(f, VIRTIO_MMIO_QUEUE_READY), 0);
    driver_add(&f->g, 0, &seg, 1);
    driver_kick(&f->g, 0);
    rig_run_ms(&f->rig, 20);
    assert_false(driver_used(&f->g, 0, &u));
}

/* What was pending when it stopped is pending where it goes on. */
static void a_pending_line_moves(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct buf b;

    driver_probe(&f->g, &f->rig, f->dev, RIG_MMIO_BUS, 1, 16);
    use_one(f);
    rig_stop(&f->rig, f->dev);
    rig_save(f->dev, &b);
    rig_unplug(f->dev);
    hv_irq_set_level(f->rig.vm, RIG_GSI, false);
    f->dev = make(f);
    if (rig_load(f->dev, &b, &e))
        fail_msg("%s", e.text);
    buf_fini(&b);
    assert_false(fake_irq_level(f->rig.vm, RIG_GSI)); /* not before it starts */
    rig_start(f->dev);
    assert_true(fake_irq_level(f->rig.vm, RIG_GSI));
    assert_true(driver_ack(&f->g) & VIRTIO_MMIO_INT_VRING);
    use_one(f);
}

static void two_at_one_place_are_refused(void **state)
{
    struct fixture *f = *state;
    struct virtio_device *v;
    struct err e = ERR_INIT;
    struct device *d;

    assert_int_equal(virtio_rng_new(&f->rig.env, "rng1", &v, &e), 0);
    assert_true(virtio_mmio_new(v, f->rig.mmio, RIG_MMIO, RIG_GSI, &d, &e) < 0);
    virtio_device_free(v);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(identifies_itself),
        TEST(refuses_a_legacy_driver),
        TEST(line_is_up_until_acknowledged),
        TEST(only_its_own_index_rings),
        TEST(a_queue_can_be_taken_back),
        TEST(a_pending_line_moves),
        TEST(two_at_one_place_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
