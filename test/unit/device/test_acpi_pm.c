/* The ACPI registers, the power button and the reset ports. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "device/acpi_pm.h"
#include "device/reset.h"
#include "state/acpi_pm_state.h"
#include "state/reset_state.h"

#define BASE   0x600
#define SCI    9
#define PWRBTN 0x0100

struct fixture {
    struct rig rig;
    struct acpi_pm *pm;
    struct reset *reset;
    uint32_t poweroffs, resets;
};

static void poweroff(void *opaque)
{
    ((struct fixture *)opaque)->poweroffs++;
}

static void reset(void *opaque)
{
    ((struct fixture *)opaque)->resets++;
}

static int setup(void **state)
{
    static struct fixture f;
    struct err e = ERR_INIT;
    struct acpi_pm_config pm = {.base = BASE, .sci_gsi = SCI, .opaque = &f, .poweroff = poweroff};
    struct reset_config rc = {.own_port = true, .opaque = &f, .reset = reset};

    memset(&f, 0, sizeof(f));
    rig_init(&f.rig);
    pm.pio = rc.pio = f.rig.pio;
    pm.vm = f.rig.vm;
    assert_int_equal(acpi_pm_new(&pm, "pm", &f.pm, &e), 0);
    assert_int_equal(reset_new(&rc, "reset", &f.reset, &e), 0);
    rig_start(acpi_pm_device(f.pm));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    acpi_pm_device(f->pm)->ops->free(acpi_pm_device(f->pm));
    reset_device(f->reset)->ops->free(reset_device(f->reset));
    rig_fini(&f->rig);
    return 0;
}

static void always_in_acpi_mode(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rig_in(&f->rig, BASE + 4, 2), 0x0001);
    rig_out(&f->rig, BASE + 4, 2, 0x0000);
    assert_int_equal(rig_in(&f->rig, BASE + 4, 2), 0x0001);
}

static void sleep_five_is_poweroff(void **state)
{
    struct fixture *f = *state;

    rig_out(&f->rig, BASE + 4, 2, 0x2400); /* another sleep type */
    assert_int_equal(f->poweroffs, 0);
    rig_out(&f->rig, BASE + 4, 2, 0x2000);
    assert_int_equal(f->poweroffs, 1);
    assert_int_equal(rig_in(&f->rig, BASE + 4, 2), 0x0001); /* SLP_EN reads as zero */
    rig_out(&f->rig, BASE + 5, 1, 0x20);                    /* by the high byte alone */
    assert_int_equal(f->poweroffs, 2);
}

static void power_button_interrupts_when_enabled(void **state)
{
    struct fixture *f = *state;

    acpi_pm_press_power_button(f->pm);
    assert_int_equal(rig_in(&f->rig, BASE, 2), PWRBTN);
    assert_false(fake_irq_level(f->rig.vm, SCI));
    rig_out(&f->rig, BASE + 2, 2, PWRBTN);
    assert_true(fake_irq_level(f->rig.vm, SCI));
    rig_out(&f->rig, BASE, 2, ~PWRBTN);
    assert_true(fake_irq_level(f->rig.vm, SCI));
    rig_out(&f->rig, BASE, 2, PWRBTN); /* writing one clears */
    assert_false(fake_irq_level(f->rig.vm, SCI));
    assert_int_equal(rig_in(&f->rig, BASE, 2), 0);
}

static void both_words_at_once(void **state)
{
    struct fixture *f = *state;

    acpi_pm_press_power_button(f->pm);
    rig_out(&f->rig, BASE, 4, 0x07210000);
    assert_int_equal(rig_in(&f->rig, BASE, 4), 0x07210000 | PWRBTN);
    rig_out(&f->rig, BASE, 4, 0x00000000 | PWRBTN);
    assert_int_equal(rig_in(&f->rig, BASE, 4), 0);
}

static void a_press_while_stopped_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct device *d = acpi_pm_device(f->pm);

    rig_out(&f->rig, BASE + 2, 2, PWRBTN);
    d->ops->stop(d);
    acpi_pm_press_power_button(f->pm);
    assert_false(fake_irq_level(f->rig.vm, SCI));
    rig_start(d);
    assert_true(fake_irq_level(f->rig.vm, SCI));
}

static void timer_follows_the_guests_clock(void **state)
{
    struct fixture *f = *state;
    struct x86_clock_state clock = {.clock_ns = 0};

    assert_int_equal(hv_vm_set_clock(f->rig.vm, &clock, false, NULL), 0);
    assert_int_equal(rig_in(&f->rig, BASE + 8, 4), 0);
    clock.clock_ns = 1000000000;
    hv_vm_set_clock(f->rig.vm, &clock, false, NULL);
    assert_int_equal(rig_in(&f->rig, BASE + 8, 4), 3579545);
    clock.clock_ns = 3600ULL * 1000000000 + 500000000; /* past 32 bits */
    hv_vm_set_clock(f->rig.vm, &clock, false, NULL);
    assert_int_equal(rig_in(&f->rig, BASE + 8, 4), (uint32_t)(3600ULL * 3579545 + 3579545 / 2));
}

static void reset_port(void **state)
{
    struct fixture *f = *state;

    rig_out(&f->rig, RESET_PORT, 1, 0x02);
    assert_int_equal(f->resets, 0);
    assert_int_equal(rig_in(&f->rig, RESET_PORT, 1), 0x02);
    rig_out(&f->rig, RESET_PORT, 1, RESET_VALUE);
    assert_int_equal(f->resets, 1);
    assert_int_equal(rig_in(&f->rig, RESET_PORT, 1), 0x02);
}

static void keyboard_controller_reset(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rig_in(&f->rig, 0x64, 1), 0); /* ready: a kernel does not wait */
    rig_out(&f->rig, 0x64, 1, 0xd1);
    assert_int_equal(f->resets, 0);
    rig_out(&f->rig, 0x64, 1, 0xfe);
    assert_int_equal(f->resets, 1);
}

static void save_load_save(void **state)
{
    struct fixture *f = *state;
    struct device *d = acpi_pm_device(f->pm);
    struct err e = ERR_INIT;
    struct buf a, b;

    acpi_pm_press_power_button(f->pm);
    rig_out(&f->rig, BASE + 2, 2, 0x0120);
    rig_out(&f->rig, BASE + 4, 2, 0x1402);
    rig_save(d, &a);
    rig_reset(d);
    assert_int_equal(rig_in(&f->rig, BASE, 4), 0);
    assert_int_equal(rig_restore(d, &a, &e), 0);
    rig_save(d, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(rig_in(&f->rig, BASE, 4), 0x01200000 | PWRBTN);
    buf_fini(&a);
    buf_fini(&b);

    rig_out(&f->rig, RESET_PORT, 1, 0x0a);
    rig_save(reset_device(f->reset), &a);
    rig_reset(reset_device(f->reset));
    assert_int_equal(rig_in(&f->rig, RESET_PORT, 1), 0);
    assert_int_equal(rig_restore(reset_device(f->reset), &a, &e), 0);
    assert_int_equal(rig_in(&f->rig, RESET_PORT, 1), 0x0a);
    buf_fini(&a);
}

static void impossible_states_are_refused(void **state)
{
    struct fixture *f = *state;
    struct acpi_pm_state bad[] = {
        {.pm1_status = 0x0002}, {.pm1_enable = 0x8000}, {.pm1_control = 0x2000}};
    struct reset_state bad_reset = {.control = 0x04};
    struct err e = ERR_INIT;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(rig_restore_struct(acpi_pm_device(f->pm), &bad[i], &e), -EPROTO);
    assert_int_equal(rig_restore_struct(reset_device(f->reset), &bad_reset, &e), -EPROTO);
    assert_int_equal(f->resets, 0);
    assert_int_equal(f->poweroffs, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(always_in_acpi_mode),
        T(sleep_five_is_poweroff),
        T(power_button_interrupts_when_enabled),
        T(both_words_at_once),
        T(a_press_while_stopped_is_not_lost),
        T(timer_follows_the_guests_clock),
        T(reset_port),
        T(keyboard_controller_reset),
        T(save_load_save),
        T(impossible_states_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
