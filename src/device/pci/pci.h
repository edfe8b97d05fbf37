/*
 * PCI functions and their host bridge: configuration space (256 bytes conventional, 4 KiB by ECAM),
 * BARs, MSI-X.  One root bus, 32 slots, function 0 only.
 * Source: PCI Local Bus 3.0 ch. 6, PCI Express Base 4.0 sec. 7, MSI-X: PCI 3.0 sec. 6.8.2.
 *
 * A function embeds struct pci_dev (which embeds struct device first).  The config space is guarded
 * by the function's device lock; where BARs are mapped is guarded by the host bridge's lock while
 * the machine runs.  Lock order: host bridge, then function.  A BAR is on the MMIO bus only while
 * the guest has memory decoding on and the BAR lies inside one of the host's windows.
 */
#ifndef GODWIT_DEVICE_PCI_PCI_H
#define GODWIT_DEVICE_PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "device/bus.h"
#include "device/device.h"
#include "hv/hv.h"

#define PCI_SLOTS       32
#define PCI_CONFIG_SIZE 4096
#define PCI_BARS        6
#define PCI_MSIX_MAX    256 /* vectors per function, at most */

struct pci_host;
struct pci_dev;

struct pci_bar {
    uint64_t size; /* power of two, 0: absent */
    bool is_64;
    uint64_t mapped_at;    /* where it is on the MMIO bus now; 0: not mapped */
    struct pci_dev *owner; /* set by pci_add_bar */
    uint64_t (*read)(struct pci_dev *d, uint64_t offset, uint32_t size);
    void (*write)(struct pci_dev *d, uint64_t offset, uint32_t size, uint64_t value);
    /* Told after the BAR moved, the function's lock held (doorbell ioeventfds must follow); 0: not
     * mapped before, or any more. May be NULL. */
    void (*moved)(struct pci_dev *d, int bar, uint64_t old_base, uint64_t new_base);
};

struct pci_msix_vector {
    uint64_t address;
    uint32_t data;
    uint32_t control; /* bit 0: masked */
};

struct pci_dev {
    struct device dev; /* first */
    struct pci_host *host;
    uint8_t slot;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t wmask[PCI_CONFIG_SIZE]; /* bits the guest may write; all 0 after a reset */
    /* For capabilities that do more than remember; may be NULL; the function's lock is held. Before
     * a read of [offset, offset+size) config may be refreshed; after a write it is looked at. */
    void (*config_reading)(struct pci_dev *d, uint32_t offset, uint32_t size);
    void (*config_written)(struct pci_dev *d, uint32_t offset, uint32_t size);
    uint32_t caps_end; /* where the next capability goes */
    struct pci_bar bars[PCI_BARS];
    /* MSI-X; vectors 0 when absent */
    uint32_t msix_vectors;
    uint8_t msix_cap; /* offset of the capability */
    struct pci_msix_vector msix[PCI_MSIX_MAX];
    uint64_t msix_pending[PCI_MSIX_MAX / 64];
    struct hv_msi *msi[PCI_MSIX_MAX];
    /* What msi[] delivers now; control 1: nothing yet. */
    struct pci_msix_vector routed[PCI_MSIX_MAX];
};

/* The state every function moves: embed in the device's own x_state by FIELD_STRUCTS. */
struct pci_state {
    uint8_t config[256];
    uint64_t msix_address[PCI_MSIX_MAX];
    uint32_t msix_data[PCI_MSIX_MAX];
    uint32_t msix_control[PCI_MSIX_MAX];
    uint64_t msix_pending[PCI_MSIX_MAX / 64];
    uint32_t msix_vectors;
};
extern const struct state_desc pci_state_desc;

struct pci_host_config {
    struct bus *pio, *mmio;
    struct hv_vm *vm;
    uint64_t ecam_base;                /* 256 MiB */
    uint64_t window_base, window_size; /* 32-bit MMIO for BARs */
    uint64_t window64_base, window64_size;
    /* Byte port 0xcf9, which lies inside the configuration address register; may be NULL. */
    void *reset_opaque;
    uint64_t (*reset_read)(void *opaque, uint64_t offset, uint32_t size);
    void (*reset_write)(void *opaque, uint64_t offset, uint32_t size, uint64_t value);
};

/* The host bridge as a PCIe root: ECAM, and 0xcf8/0xcfc for early kernels.  Its own function
 * (vendor 8086, device 29c0) sits in slot 0 and makes room: pci_dev_attach to the slot it is in
 * moves it to the highest free slot (31 first), so `addr=0` works for any device; 31 devices fill
 * the bus. */
int pci_host_new(const struct pci_host_config *c, struct pci_host **out, struct err *e);
void pci_host_free(struct pci_host *h);
struct device *pci_host_device(struct pci_host *h);

/* As firmware does before a guest starts: gives every BAR an address in the windows (decoding stays
 * off), for guests that do not assign addresses themselves.  Machine not running. */
int pci_host_assign_bars(struct pci_host *h, struct err *e);

/* Fills in the identity registers; everything a function has is added before it is attached. */
void pci_dev_init(struct pci_dev *d, const struct device_ops *ops, const char *id, uint16_t vendor,
                  uint16_t device, uint32_t class_rev);
/* Puts the function at slot; -EEXIST names who sits there, -ENOSPC: the bus is full. */
int pci_dev_attach(struct pci_dev *d, struct pci_host *h, int slot /* -1: next free */,
                   struct err *e);
void pci_dev_fini(struct pci_dev *d);
/* Appends a capability of len bytes (with its 2-byte head); returns its offset, 0: no room. */
uint8_t pci_add_capability(struct pci_dev *d, uint8_t id, uint8_t len);
void pci_add_bar(struct pci_dev *d, int bar, const struct pci_bar *desc);
/* MSI-X with n vectors; table and PBA live in BAR `bar` (own BAR). */
int pci_add_msix(struct pci_dev *d, int bar, struct hv_vm *vm, uint32_t n, struct err *e);
/* Raises vector v: delivered, or pending while masked; device lock held. */
void pci_msix_raise(struct pci_dev *d, uint32_t v);
bool pci_msix_enabled(const struct pci_dev *d);
/* Called by x_reset, x_save and x_load of the function; device lock held, vCPUs paused. */
void pci_dev_reset(struct pci_dev *d);
void pci_dev_save(const struct pci_dev *d, struct pci_state *s);
int pci_dev_load(struct pci_dev *d, const struct pci_state *s, struct err *e);

#endif
