/*
 * A vCPU's thread, "vcpu-N": runs the guest, answers its exits from the buses, and parks when the
 * machine pauses.  Before it parks it completes a pending port or memory access, so that the state
 * read from it is whole.
 */
#ifndef GODWIT_VMM_VCPU_H
#define GODWIT_VMM_VCPU_H

#include <sys/types.h>

#include "vmm/vcpu_gate.h"
#include "vmm/vm.h"

struct vcpu {
    struct vm *vm;
    struct hv_vcpu *hv;
    uint32_t index;
    pthread_t thread;
    _Atomic(pid_t) tid; /* 0 until the thread runs */
    bool started;
    struct vcpu_gate gate;
};

/* Makes the vCPU (no thread yet). */
int vcpu_new(struct vm *vm, uint32_t index, struct vcpu **out, struct err *e);
/* Starts its thread, which parks at once while the machine is paused. */
int vcpu_start(struct vcpu *v, struct err *e);
/* After vm.quit was set and the vCPU kicked. */
void vcpu_join(struct vcpu *v);
void vcpu_free(struct vcpu *v);

#endif
