#include "state/serial_state.h"

#define S struct serial_state

static const struct field fields[] = {
    FIELD_BLOB(S, id),
    FIELD(S, FIELD_U8, divisor_low),
    FIELD(S, FIELD_U8, divisor_high),
    FIELD(S, FIELD_U8, ier),
    FIELD(S, FIELD_U8, fcr),
    FIELD(S, FIELD_U8, lcr),
    FIELD(S, FIELD_U8, mcr),
    FIELD(S, FIELD_U8, scr),
    FIELD(S, FIELD_U8, lsr_errors),
    FIELD(S, FIELD_U8, msr_delta),
    FIELD(S, FIELD_U8, thre_pending),
    FIELD_VARRAY(S, FIELD_U8, rx, rx_count),
};

STATE_DESC(serial_state_desc, "serial", 1, S, fields);
