/*
 * The state of a stopped machine as bytes: sections of field tables (state/field.h) in a fixed order,
 * clock first, then vCPUs, chips and devices, and what the guest had asked for but not got.
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
/* Hostile bytes into a fresh machine.  Every section must find its place, and every vCPU, chip and
 * device its section, exactly once.  The clock of one that ran advances by the wall time since. */
int vmstate_load(struct vm *vm, const void *data, size_t len, struct vmstate_note *note,
                 struct err *e);

#endif
