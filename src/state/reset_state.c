#include "state/reset_state.h"

#define S struct reset_state

static const struct field fields[] = {
    FIELD_BLOB(S, id),
    FIELD(S, FIELD_U8, control),
};

STATE_DESC(reset_state_desc, "reset", 1, S, fields);
