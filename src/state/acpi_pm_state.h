/* The state of the ACPI power-management registers (ACPI 6.4, sec. 4.8.3).  The timer is not in it:
 * it follows the machine's kvmclock. */
#ifndef GODWIT_STATE_ACPI_PM_STATE_H
#define GODWIT_STATE_ACPI_PM_STATE_H

#include <stdint.h>

#include "state/field.h"

struct acpi_pm_state {
    uint8_t id[64];
    uint16_t pm1_status, pm1_enable, pm1_control;
};

extern const struct state_desc acpi_pm_state_desc;

#endif
