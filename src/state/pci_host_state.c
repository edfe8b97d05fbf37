#include "state/pci_host_state.h"

#define S struct pci_host_state

static const struct field fields[] = {
    FIELD_BLOB(S, id),
    FIELD(S, FIELD_U32, address),
    FIELD_BLOB(S, config),
};

STATE_DESC(pci_host_state_desc, "pci-host", 1, S, fields);
