/*
 * The hypervisor that is none: the functions of hv.h over plain arrays, and these hooks, with which
 * a test plays the guest and looks at what the monitor did.  A separate library (hv_fake_lib),
 * never linked together with hv_lib.  All hooks are thread-safe.
 */
#ifndef GODWIT_HV_FAKE_H
#define GODWIT_HV_FAKE_H

#include "hv/hv.h"

#define FAKE_GSIS      24
#define FAKE_MSI_LOG   1024
#define FAKE_DOORBELLS 256

struct fake_msi {
    uint64_t address;
    uint32_t data;
};

/* ---- what the monitor raised ---- */
bool fake_irq_level(struct hv_vm *vm, uint32_t gsi);
/* How often the line went from low to high. */
uint32_t fake_irq_edges(struct hv_vm *vm, uint32_t gsi);
/* MSIs delivered so far; those raised without a route are counted by fake_msi_lost. */
uint32_t fake_msi_count(struct hv_vm *vm);
uint32_t fake_msi_lost(struct hv_vm *vm);
/* The n-th delivered (0 is the first; the first FAKE_MSI_LOG are kept). */
bool fake_msi_get(struct hv_vm *vm, uint32_t n, struct fake_msi *out);
/* Of one MSI: how often raised, and its route (false: none yet). */
uint32_t fake_msi_raised(const struct hv_msi *m);
bool fake_msi_route(const struct hv_msi *m, struct fake_msi *out);
void fake_msi_clear(struct hv_vm *vm);

/* ---- the guest ---- */
/* Rings what is registered for this write: true if an eventfd was signalled. */
bool fake_doorbell(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, uint64_t value);
uint32_t fake_doorbell_count(struct hv_vm *vm);
/* Stores as a vCPU would: into RAM, and into the dirty log while it is on. -EFAULT outside RAM. */
int fake_guest_write(struct hv_vm *vm, uint64_t gpa, const void *data, size_t len);
bool fake_dirty_on(struct hv_vm *vm);
/* page: offset in the memory file / GUEST_PAGE_SIZE */
bool fake_dirty_test(struct hv_vm *vm, uint64_t page);
/* The vCPU's next exit; hv_vcpu_run waits for one or for a kick. *x is copied; -EBUSY: one waits.
 */
int fake_vcpu_exit(struct hv_vcpu *v, const struct hv_exit *x);

#endif
