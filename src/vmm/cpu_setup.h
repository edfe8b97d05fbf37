/* The processor a machine is created with: from this host and -cpu, or as the manifest says. */
#ifndef GODWIT_VMM_CPU_SETUP_H
#define GODWIT_VMM_CPU_SETUP_H

#include "cpu/leaves.h"
#include "vmm/vm.h"

/* The same leaves in src/cpu's own struct. */
void cpu_setup_leaves(const struct x86_cpuid *c, struct cpu_leaves *out);
/* given: the manifest's, taken as it is (accept.h has judged it); NULL: made from what the host
 * offers. */
int cpu_setup_cpuid(struct hv_vm *hv, const struct machine_config *config,
                    const struct vm_cpu *given, struct vm_cpu *out, struct err *e);
/* What one vCPU is shown: its APIC id, its place in the topology. */
void cpu_setup_vcpu(const struct vm_cpu *cpu, uint32_t index, uint32_t vcpus,
                    struct x86_cpuid *out);
int cpu_setup_msrs(struct hv_vm *hv, struct hv_vcpu *first, const struct vm_cpu *given,
                   struct vm_cpu *out, struct err *e);

#endif
