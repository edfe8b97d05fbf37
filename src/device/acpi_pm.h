/*
 * ACPI fixed hardware (ACPI 6.4, sec. 4.8.3): PM1 event and control registers, the 3.579545 MHz
 * timer and the power button.
 *
 * PM1_EVT at base, PM1_CNT at base + 4, PM_TMR at base + 8.  SLP_TYP of S5 is 0.  The timer is read
 * from the machine's kvmclock: it stops, moves and jumps with the guest's other clocks.  It raises
 * no interrupt of its own, which nothing with a 32-bit timer asks for.
 */
#ifndef GODWIT_DEVICE_ACPI_PM_H
#define GODWIT_DEVICE_ACPI_PM_H

#include "device/bus.h"
#include "hv/hv.h"

#define ACPI_PM_EVT_OFFSET 0
#define ACPI_PM_CNT_OFFSET 4
#define ACPI_PM_TMR_OFFSET 8
#define ACPI_PM_SIZE       12

struct acpi_pm;

struct acpi_pm_config {
    struct bus *pio;
    uint16_t base;
    struct hv_vm *vm;
    uint32_t sci_gsi;
    /* Any vCPU thread, the device's lock held: must not block or come back. */
    void *opaque;
    void (*poweroff)(void *opaque); /* the guest entered S5 */
};

int acpi_pm_new(const struct acpi_pm_config *c, const char *id, struct acpi_pm **out,
                struct err *e);
struct device *acpi_pm_device(struct acpi_pm *p);
/* Any thread.  A press while the machine is stopped is seen by the guest once it runs. */
void acpi_pm_press_power_button(struct acpi_pm *p);

#endif
