#include "vmm/cpu_setup.h"

int cpu_setup_cpuid(struct hv_vm *hv, const struct machine_config *config,
                    const struct vm_cpu *given, struct vm_cpu *out, struct err *e)
{
    out->tsc_khz = given ? given->tsc_khz : hv_vm_caps(hv)->tsc_khz;
    if (given) {
        out->cpuid = given->cpuid;
        return 0;
    }
    return hv_vm_supported_cpuid(hv, &out->cpuid, e);
}

int cpu_setup_msrs(struct hv_vm *hv, struct hv_vcpu *first, const struct vm_cpu *given,
                   struct vm_cpu *out, struct err *e)
{
    int rc = 0;

    if (given) {
        out->msrs = given->msrs;
        out->msrs_left_out = given->msrs_left_out;
    } else {
        rc = hv_vm_msr_list(hv, first, &out->msrs, &out->msrs_left_out, e);
    }
    return rc == 0 ? hv_vm_set_msr_list(hv, &out->msrs, e) : rc;
}
