#include "state/rtc_state.h"

#define S struct rtc_state

static const struct field fields[] = {
    FIELD_BLOB(S, id),
    FIELD(S, FIELD_U8, index),
    FIELD_BLOB(S, cmos),
    FIELD(S, FIELD_U64, offset_ns),
    FIELD(S, FIELD_U64, frozen_ns),
    FIELD(S, FIELD_U64, seen_ns),
};

STATE_DESC(rtc_state_desc, "rtc", 1, S, fields);
