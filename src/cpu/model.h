/*
 * A machine's processor, made from what the host's KVM offers and what was asked for (`-cpu
 * host,+x,-y`).  Pure functions, any thread.
 *
 * What a guest gets is decided by a list of known features (feature.h), not by the host: a bit that
 * the list does not have is masked, since nobody has said that it can move.  Masked always: VMX and
 * SVM (nested state), the PMU, MPX, SGX, processor trace, AMX, CET, MONITOR, asynchronous page
 * faults.  invtsc is given only when asked for: a machine that has it may only move to a host whose
 * TSC runs, or is scaled, at exactly its rate.
 *
 * Fixed for the life of the machine, and so the same after every move: physical address bits,
 * caches, XSAVE layout, KVM's own leaves 0x40000000 and 0x40000001, and 0x40000010 with the rates
 * of TSC and LAPIC timer in kHz (the layout VMware made and Linux reads).  Leaves 0x15 and 0x16,
 * which would say the host's rate, are left out for that.
 */
#ifndef GODWIT_CPU_MODEL_H
#define GODWIT_CPU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cpu/leaves.h"

struct cpu_wish {
    const char *name; /* QEMU's spelling; '_' and '.' count as '-' */
    bool on;
};

struct cpu_request {
    const char *model; /* "host"; "max" means the same */
    uint32_t nwishes;
    const struct cpu_wish *wishes; /* a later one wins over an earlier one */
};

/*
 * The part that all vCPUs share, as the manifest carries it.  -EINVAL: an unknown model, or an
 * unknown feature (the text names the nearest); -ENOTSUP: a feature that the host lacks, that never
 * moves, or that needs another one which is off.
 */
int cpu_model_build(const struct cpu_leaves *host, const struct cpu_request *r, uint32_t tsc_khz,
                    struct cpu_leaves *out, struct err *e);

/* That of one vCPU: APIC id == index, one thread a core, `vcpus` cores in one socket. */
void cpu_model_vcpu(const struct cpu_leaves *model, uint32_t index, uint32_t vcpus,
                    struct cpu_leaves *out);

#endif
