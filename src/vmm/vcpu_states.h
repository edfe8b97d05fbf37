/*
 * The states of all vCPUs, read or written.  Each takes KVM about 0.1 ms, which for many vCPUs adds
 * up to most of a blackout; so from a few on, each vCPU's own thread does it, all at once.
 */
#ifndef GODWIT_VMM_VCPU_STATES_H
#define GODWIT_VMM_VCPU_STATES_H

#include "state/x86_state.h"
#include "vmm/vm.h"

/* One vCPU's share. */
struct vcpu_share {
    struct x86_vcpu_state state;
    struct err e;
    int rc;
    uint64_t start_ns, end_ns; /* when its thread was at the last errand */
};

struct vcpu_states {
    struct vm *vm;
    bool by_threads;
    uint32_t n;
    struct vcpu_share *shares; /* one per vCPU */
};

/* running: of a machine that is not paused, whose states only its threads may read. */
int vcpu_states_init(struct vcpu_states *s, struct vm *vm, bool running, struct err *e);
void vcpu_states_fini(struct vcpu_states *s);
/* How long it takes until every vCPU has left the guest, as a pause would make it, in ns; then they
 * go on. */
uint64_t vcpu_states_reach(struct vcpu_states *s);
/* Reads them all. */
int vcpu_states_read(struct vcpu_states *s, struct err *e);
/* Begins to load shares[i].state into vCPU i. */
void vcpu_states_write(struct vcpu_states *s, uint32_t i);
/* Waits for the writes; must be called before fini.  0 or the first that failed. */
int vcpu_states_written(struct vcpu_states *s, struct err *e);

#endif
