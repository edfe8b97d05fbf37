/* What the files of this folder share. */
#ifndef GODWIT_DEVICE_PCI_INTERNAL_H
#define GODWIT_DEVICE_PCI_INTERNAL_H

#include <linux/pci_regs.h>

#include "device/pci/pci.h"

#define PCI_STAGE "pci"

#define PCI_CONV_SIZE        0x100  /* conventional configuration space: what moves */
#define PCI_COMMAND_WRITABLE 0x0546 /* memory, master, parity, SERR#, INTx disable */
#define PCI_BAR_FLAGS        0x0f

struct pci_host {
    struct device dev; /* first; its lock guards address, slots and where BARs are mapped */
    struct pci_host_config config;
    uint32_t address;   /* last written to port 0xcf8 */
    struct pci_dev own; /* the bridge's own function */
    struct pci_dev *slots[PCI_SLOTS];
};

static inline uint32_t pci_get(const struct pci_dev *d, uint32_t offset, uint32_t size)
{
    uint32_t v = 0;

    for (uint32_t i = 0; i < size; i++)
        v |= (uint32_t)d->config[offset + i] << (8 * i);
    return v;
}

static inline void pci_put(uint8_t *to, uint32_t offset, uint32_t size, uint32_t v)
{
    for (uint32_t i = 0; i < size; i++)
        to[offset + i] = (uint8_t)(v >> (8 * i));
}

/* Where BAR `bar` wants to be now: 0 when decoding is off or it lies outside the windows.  The
 * function's lock is held. */
uint64_t pci_bar_wanted(const struct pci_dev *d, int bar);
/* The steps of moving one: off the bus (waits for its handlers: the function's lock must not be
 * held while the machine runs), onto it (an address somebody else has, or 0, leaves it unmapped),
 * and telling the function (its lock held) if it is elsewhere than `old` now. */
void pci_bar_unmap(struct pci_dev *d, int bar);
void pci_bar_map(struct pci_dev *d, int bar, uint64_t at);
void pci_bar_tell(struct pci_dev *d, int bar, uint64_t old);
/* Configuration access of [offset, offset+size), size 1, 2 or 4 inside the space; lock held.  A
 * write says whether BARs may have to move. */
uint32_t pci_config_read(struct pci_dev *d, uint32_t offset, uint32_t size);
bool pci_config_write(struct pci_dev *d, uint32_t offset, uint32_t size, uint32_t v);
/* Puts every BAR of d where it wants to be, and tells the function.  Machine not running, d's lock
 * held. */
void pci_bars_sync(struct pci_dev *d);
/* After a write to the MSI-X capability: what is due now is delivered. */
void pci_msix_control_written(struct pci_dev *d);
void pci_msix_reset(struct pci_dev *d);
void pci_msix_save(const struct pci_dev *d, struct pci_state *s);
int pci_msix_check(const struct pci_dev *d, const struct pci_state *s, struct err *e);
int pci_msix_load(struct pci_dev *d, const struct pci_state *s, struct err *e);
void pci_msix_fini(struct pci_dev *d);

#endif
