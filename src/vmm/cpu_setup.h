/* The processor a machine is created with: from this host and -cpu, or as the manifest says. */
#ifndef GODWIT_VMM_CPU_SETUP_H
#define GODWIT_VMM_CPU_SETUP_H

#include "vmm/vm.h"

/* given: taken as it is (the verdict has judged it); NULL: made from what the host offers. */
int cpu_setup_cpuid(struct hv_vm *hv, const struct machine_config *config,
                    const struct vm_cpu *given, struct vm_cpu *out, struct err *e);
int cpu_setup_msrs(struct hv_vm *hv, struct hv_vcpu *first, const struct vm_cpu *given,
                   struct vm_cpu *out, struct err *e);

#endif
