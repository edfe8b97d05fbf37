/* The state of the PCI host bridge: the configuration address register (PCI 3.0, sec. 3.2.2.3.2)
 * and the writable bytes of its own function. */
#ifndef GODWIT_STATE_PCI_HOST_STATE_H
#define GODWIT_STATE_PCI_HOST_STATE_H

#include <stdint.h>

#include "state/field.h"

struct pci_host_state {
    uint8_t id[64];
    uint32_t address;
    uint8_t config[256];
};

extern const struct state_desc pci_host_state_desc;

#endif
