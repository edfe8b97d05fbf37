/*
 * The gate: what a vCPU's thread does between two runs of the guest, because somebody asks.  It
 * parks while the machine is paused, runs errands (reads of its own state, by the thread that KVM
 * likes best for it), and rests while its time is withheld.
 *
 * Whoever asks sets vm.interrupt (all vCPUs) or vcpu.attention (one), then kicks; the vCPU looks at
 * both before it enters the guest.  Everything here is guarded by vm.pause_lock.
 */
#ifndef GODWIT_VMM_VCPU_GATE_H
#define GODWIT_VMM_VCPU_GATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "hv/hv.h"
#include "vmm/vm.h"

struct vcpu;

/* On the vCPU's thread, with a state that is whole; must not wait for the main loop. */
typedef void vcpu_errand_fn(struct vcpu *v, void *opaque);

struct vcpu_gate {
    atomic_bool attention;                    /* look at what follows */
    vcpu_errand_fn *errand;                   /* NULL: none */
    void *opaque;                             /* of it */
    _Atomic uint32_t throttle[VM_THROTTLERS]; /* percent */
    /* The vCPU's thread alone: its slice of running, then its rest; 0: none */
    uint64_t run_from, run_until, rest_from, rest_until;
    _Atomic uint64_t withheld_ns; /* rested, ever */
};

/* On the vCPU's thread, a pending access completed.  may_run: false for one that must wait to be
 * paused (reset, poweroff, crash).  Returns when the vCPU may enter the guest; false: the thread
 * must end. */
bool vcpu_gate_pass(struct vcpu *v, bool may_run);
/* Must the vCPU pass the gate before it enters the guest?  x: its last exit. */
bool vcpu_gate_wanted(const struct vcpu *v, const struct hv_exit *x);

/* Any one thread but the vCPU's, and not the main loop while vCPUs may wait for it: gives the vCPU
 * an errand, and returns.  One per vCPU at a time. */
void vcpu_gate_send(struct vcpu *v, vcpu_errand_fn *fn, void *opaque);
/* Waits until all errands of the machine are done. */
void vcpu_gate_wait(struct vm *vm);

#endif
