#include "state/acpi_pm_state.h"

#define S struct acpi_pm_state

static const struct field fields[] = {
    FIELD_BLOB(S, id),
    FIELD(S, FIELD_U16, pm1_status),
    FIELD(S, FIELD_U16, pm1_enable),
    FIELD(S, FIELD_U16, pm1_control),
};

STATE_DESC(acpi_pm_state_desc, "acpi-pm", 1, S, fields);
