/* The state of the reset ports: what stays in the reset control register (port 0xcf9). */
#ifndef GODWIT_STATE_RESET_STATE_H
#define GODWIT_STATE_RESET_STATE_H

#include <stdint.h>

#include "state/field.h"

struct reset_state {
    uint8_t id[64];
    uint8_t control;
};

extern const struct state_desc reset_state_desc;

#endif
