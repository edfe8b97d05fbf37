/* virtio over PCI: what a driver, a firmware and a careless guest see.  The device behind is an
 * rng. */
#include "driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#define ECAM (RIG_ECAM + (1U << 15)) /* slot 1 */

struct fixture {
    struct rig rig;
    struct device *dev;
    struct driver g;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct virtio_device *v;
    struct err e = ERR_INIT;

    assert_non_null(f);
    rig_init(&f->rig);
    if (virtio_rng_new(&f->rig.env, "rng0", &v, &e))
        fail_msg("%s", e.text);
    f->dev = rig_plug(&f->rig, v, RIG_PCI);
    rig_start(f->dev);
    driver_attach(&f->g, &f->rig, f->dev, RIG_PCI);
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

static uint64_t common(struct fixture *f, uint32_t offset, uint32_t len)
{
    return rig_read(&f->rig, f->g.regs + offset, len);
}

static void set_common(struct fixture *f, uint32_t offset, uint32_t len, uint64_t value)
{
    rig_write(&f->rig, f->g.regs + offset, len, value);
}

static void is_a_modern_device(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rig_read(&f->rig, ECAM + PCI_VENDOR_ID, 2), 0x1af4);
    assert_int_equal(rig_read(&f->rig, ECAM + PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_RNG);
    assert_int_equal(rig_read(&f->rig, ECAM + PCI_REVISION_ID, 1), 1);
    assert_int_equal(rig_read(&f->rig, ECAM + PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
    assert_true(rig_read(&f->rig, ECAM + PCI_SUBSYSTEM_ID, 2) >= 0x40);
    assert_int_equal(rig_read(&f->rig, ECAM + PCI_INTERRUPT_PIN, 1), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_NUMQ, 2), 1);
    assert_string_equal(f->dev->ops->type, "virtio-rng-pci");
}

static void has_each_structure_once(void **state)
{
    struct fixture *f = *state;
    uint32_t seen[6] = {0}, msix = 0;

    for (uint32_t cap = (uint32_t)rig_read(&f->rig, ECAM + PCI_CAPABILITY_LIST, 1); cap;
         cap = (uint32_t)rig_read(&f->rig, ECAM + cap + 1, 1)) {
        uint8_t type = (uint8_t)rig_read(&f->rig, ECAM + cap + 3, 1);

        if (rig_read(&f->rig, ECAM + cap, 1) == PCI_CAP_ID_VNDR && type < 6)
            seen[type]++;
        msix += rig_read(&f->rig, ECAM + cap, 1) == PCI_CAP_ID_MSIX;
    }
    assert_int_equal(seen[VIRTIO_PCI_CAP_COMMON_CFG], 1);
    assert_int_equal(seen[VIRTIO_PCI_CAP_NOTIFY_CFG], 1);
    assert_int_equal(seen[VIRTIO_PCI_CAP_ISR_CFG], 1);
    assert_int_equal(seen[VIRTIO_PCI_CAP_DEVICE_CFG], 0); /* an rng has none */
    assert_int_equal(seen[VIRTIO_PCI_CAP_PCI_CFG], 1);
    assert_int_equal(msix, 1);
}

static void negotiates(void **state)
{
    struct fixture *f = *state;
    const uint64_t v1 = 1ULL << VIRTIO_F_VERSION_1;

    assert_false(driver_negotiate(&f->g, 0)); /* a legacy driver */
    driver_set_status(&f->g, 0);
    assert_false(driver_negotiate(&f->g, v1 | 1ULL << 50)); /* never offered */
    driver_set_status(&f->g, 0);
    assert_true(driver_negotiate(&f->g, v1));
    /* Final from here on. */
    set_common(f, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    set_common(f, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_GF, 4), 0);
    /* Halves that do not exist. */
    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF, 4), 0);
}

static void status_only_grows(void **state)
{
    struct fixture *f = *state;

    driver_set_status(&f->g, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver_set_status(&f->g, VIRTIO_CONFIG_S_DRIVER_OK); /* without FEATURES_OK */
    assert_int_equal(driver_status(&f->g), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver_set_status(&f->g, VIRTIO_CONFIG_S_NEEDS_RESET); /* the device's own */
    assert_int_equal(driver_status(&f->g), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver_set_status(&f->g, 0);
    assert_int_equal(driver_status(&f->g), 0);
}

static void queue_settings(void **state)
{
    struct fixture *f = *state;

    driver_negotiate(&f->g, driver_offered(&f->g));
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 33);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 128);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 32);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 32);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2); /* there are two: 0 and 1 */
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    set_common(f, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x1234567800001000ULL);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_AVAILHI, 4), 0x12345678);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_AVAILLO, 4), 0x1000);

    driver_queue(&f->g, 0, 16);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    set_common(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0); /* too late */
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4), f->g.q[0].desc);

    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1); /* does not exist */
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
    set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
}

static void rings_outside_ram_need_a_reset(void **state)
{
    struct fixture *f = *state;

    driver_negotiate(&f->g, driver_offered(&f->g));
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    set_common(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0xfffff000);
    set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    assert_true(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void broken_rings_raise_the_config_vector(void **state)
{
    struct fixture *f = *state;
    struct fake_msi msi;
    uint32_t n;

    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    n = fake_msi_count(f->rig.vm);
    driver_avail(&f->g, 0)->idx = 1000;
    driver_kick(&f->g, 0);
    rig_run_ms(&f->rig, 20);
    assert_true(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_true(fake_msi_get(f->rig.vm, n, &msi));
    assert_int_equal(msi.data, 0x40);
}

static uint32_t ask(struct fixture *f)
{
    struct driver_seg seg = {.gpa = DRIVER_DATA, .len = 32, .in = true};

    driver_add(&f->g, 0, &seg, 1);
    driver_kick(&f->g, 0);
    return driver_wait(&f->g, 0).len;
}

static void doorbells_follow_the_bar(void **state)
{
    struct fixture *f = *state;
    uint64_t old = f->g.notify, moved = 0xd0000000;

    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    assert_int_equal(ask(f), 32);
    rig_write(&f->rig, ECAM + PCI_BASE_ADDRESS_4, 4, moved);
    rig_write(&f->rig, ECAM + PCI_BASE_ADDRESS_5, 4, 0);
    assert_int_equal(fake_doorbell_count(f->rig.vm), 1);
    assert_false(fake_doorbell(f->rig.vm, false, old, 2, 0));
    f->g.notify = moved + (old & 0x3fff);
    f->g.regs = moved;
    assert_int_equal(ask(f), 32);
    f->g.slow_doorbell = true;
    assert_int_equal(ask(f), 32);
    rig_write(&f->rig, ECAM + PCI_COMMAND, 2, 0); /* decoding off: gone */
    assert_int_equal(fake_doorbell_count(f->rig.vm), 0);
    rig_write(&f->rig, ECAM + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(fake_doorbell_count(f->rig.vm), 1);
}

/* Whoever took the interrupts before, none is missing afterwards. */
static void start_raises_each_interrupt_once(void **state)
{
    struct fixture *f = *state;
    uint32_t seen[2] = {0}, n;
    struct fake_msi msi;

    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    rig_stop(&f->rig, f->dev);
    n = fake_msi_count(f->rig.vm);
    rig_start(f->dev);
    rig_run_ms(&f->rig, 5);
    for (; fake_msi_get(f->rig.vm, n, &msi); n++)
        seen[msi.data - 0x40]++;
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], 1);
}

static void isr_is_read_to_clear(void **state)
{
    struct fixture *f = *state;

    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    ask(f);
    assert_true(rig_read(&f->rig, f->g.regs + 0x1000, 1) & 1);
    assert_int_equal(rig_read(&f->rig, f->g.regs + 0x1000, 1), 0);
}

/* Firmware reaches the registers through configuration space (virtio 1.2, 4.1.4.9). */
static void window_in_configuration_space(void **state)
{
    struct fixture *f = *state;
    uint32_t cap;

    for (cap = (uint32_t)rig_read(&f->rig, ECAM + PCI_CAPABILITY_LIST, 1); cap;
         cap = (uint32_t)rig_read(&f->rig, ECAM + cap + 1, 1))
        if (rig_read(&f->rig, ECAM + cap, 1) == PCI_CAP_ID_VNDR &&
            rig_read(&f->rig, ECAM + cap + 3, 1) == VIRTIO_PCI_CAP_PCI_CFG)
            break;
    assert_true(cap);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_BAR, 1, 4);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
    rig_write(&f->rig, ECAM + cap + 16, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(driver_status(&f->g), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(rig_read(&f->rig, ECAM + cap + 16, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_NUMQ);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_LENGTH, 4, 2);
    assert_int_equal(rig_read(&f->rig, ECAM + cap + 16, 2), 1);
    /* Nonsense reaches nothing. */
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_OFFSET, 4, 0xffffffff);
    rig_read(&f->rig, ECAM + cap + 16, 4);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_LENGTH, 4, 4000000000U);
    rig_write(&f->rig, ECAM + cap + VIRTIO_PCI_CAP_BAR, 1, 1);
    rig_write(&f->rig, ECAM + cap + 16, 4, 0);
    assert_int_equal(driver_status(&f->g), VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

static void reset_forgets(void **state)
{
    struct fixture *f = *state;

    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    pthread_mutex_lock(&f->dev->lock);
    f->dev->ops->reset(f->dev);
    pthread_mutex_unlock(&f->dev->lock);
    assert_int_equal(fake_doorbell_count(f->rig.vm), 0); /* decoding is off again */
    assert_true(pci_host_assign_bars(f->rig.host, NULL) == 0);
    driver_attach(&f->g, &f->rig, f->dev, RIG_PCI);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    driver_probe(&f->g, &f->rig, f->dev, RIG_PCI, 1, 16);
    assert_int_equal(ask(f), 32);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(is_a_modern_device),
        TEST(has_each_structure_once),
        TEST(negotiates),
        TEST(status_only_grows),
        TEST(queue_settings),
        TEST(rings_outside_ram_need_a_reset),
        TEST(broken_rings_raise_the_config_vector),
        TEST(doorbells_follow_the_bar),
        TEST(start_raises_each_interrupt_once),
        TEST(isr_is_read_to_clear),
        TEST(window_in_configuration_space),
        TEST(reset_forgets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
