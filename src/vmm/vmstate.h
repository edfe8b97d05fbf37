/*
 * The state of a stopped machine as bytes: sections of field tables (state/field.h) in a fixed
 * order, clock first, then vCPUs, chips and devices, and what the guest had asked for but not got.
 */
#ifndef GODWIT_VMM_VMSTATE_H
#define GODWIT_VMM_VMSTATE_H

#include "base/buf.h"
#include "vmm/vm.h"

/* What a machine's state says beside its parts. */
struct vmstate_note {
    uint8_t running;         /* it ran until the stop: whoever takes it over runs it */
    uint8_t reset, poweroff; /* asked for by the guest after the stop began: to be honoured then */
};

int vmstate_save(struct vm *vm, const struct vmstate_note *note, struct buf *out, struct err *e);
/* The same of a machine that may run meanwhile: each vCPU is held for as long as its own registers
 * take, each device as long as its own lock.  Its parts are of different moments, so nobody may run
 * it; it is as large as the real one, and can be loaded.  *stop_ns: how long it took to reach every
 * vCPU; *save_ns: what saving will cost with the machine paused. */
int vmstate_rehearse(struct vm *vm, struct buf *out, uint64_t *stop_ns, uint64_t *save_ns,
                     struct err *e);
/* Hostile bytes into a fresh machine.  Every section must find its place, and every vCPU, chip and
 * device its section, exactly once.  The clock of one that ran advances by the wall time since. */
int vmstate_load(struct vm *vm, const void *data, size_t len, struct vmstate_note *note,
                 struct err *e);
/* Loads all but the clock of what vmstate_rehearse wrote, and puts vCPUs and chips back to
 * power-on: vmstate_load must follow before the machine runs.  Writes no guest memory. */
int vmstate_rehearse_load(struct vm *vm, const void *data, size_t len, uint64_t *load_ns,
                          struct err *e);

#endif
