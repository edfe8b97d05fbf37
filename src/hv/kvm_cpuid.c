/* CPUID, as KVM offers it and as a vCPU gets it. */
#include <errno.h>
#include <string.h>

#include "hv/kvm_priv.h"

_Static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "kvm_cpuid_entry2");

#define XSTATE_X87_SSE 3ULL /* always there: SDM vol. 1, 13.1 */

struct cpuid_room {
    union {
        struct kvm_cpuid2 h;
        uint8_t room[sizeof(struct kvm_cpuid2) + X86_CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
    };
};

/* What KVM provides by its irqchip and does not (or did not always) list. */
static void add_unlisted(const struct hv_vm *vm, struct x86_cpuid *c)
{
    const uint32_t x2apic = 1U << 21, tsc_deadline = 1U << 24, hypervisor = 1U << 31;

    for (uint32_t i = 0; i < c->n; i++) {
        if (c->entries[i].function != 1)
            continue;
        c->entries[i].ecx |= x2apic | hypervisor;
        if (kvm_ioctl_value(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            c->entries[i].ecx |= tsc_deadline;
    }
}

int hv_vm_supported_cpuid(struct hv_vm *vm, struct x86_cpuid *out, struct err *e)
{
    struct cpuid_room c = {.h.nent = X86_CPUID_MAX};
    int rc = kvm_ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &c);

    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "the CPUID leaves that KVM offers");
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < c.h.nent && i < X86_CPUID_MAX; i++) {
        const struct kvm_cpuid_entry2 *k = &c.h.entries[i];
        out->entries[out->n++] = (struct x86_cpuid_entry){
            .function = k->function,
            .index = k->index,
            .flags = k->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = k->eax,
            .ebx = k->ebx,
            .ecx = k->ecx,
            .edx = k->edx,
        };
    }
    add_unlisted(vm, out);
    return 0;
}

/* XCR0 bits from leaf 0xD subleaf 0: the components that KVM_GET_XSAVE may show.  Supervisor states
 * (subleaf 1) are not in that area. */
static uint64_t xcr0_mask(const struct x86_cpuid *cpuid)
{
    for (uint32_t i = 0; i < cpuid->n; i++) {
        const struct x86_cpuid_entry *c = &cpuid->entries[i];
        if (c->function == 0xd && c->index == 0)
            return c->eax | (uint64_t)c->edx << 32 | XSTATE_X87_SSE;
    }
    return XSTATE_X87_SSE;
}

int kvm_vcpu_cpuid(struct hv_vcpu *v, const struct x86_cpuid *cpuid, struct err *e)
{
    struct cpuid_room c = {.h.nent = cpuid->n};
    int rc;

    if (cpuid->n > X86_CPUID_MAX)
        return err_set(e, -EINVAL, STAGE, "vCPU %u: %u CPUID leaves, at most %u", v->index,
                       cpuid->n, X86_CPUID_MAX);
    for (uint32_t i = 0; i < cpuid->n; i++) {
        const struct x86_cpuid_entry *s = &cpuid->entries[i];
        c.h.entries[i] = (struct kvm_cpuid_entry2){
            .function = s->function,
            .index = s->index,
            .flags = s->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = s->eax,
            .ebx = s->ebx,
            .ecx = s->ecx,
            .edx = s->edx,
        };
    }
    rc = kvm_ioctl(v->fd, KVM_SET_CPUID2, &c);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses its CPUID", v->index);
    v->cpuid = *cpuid;
    v->xcr0_mask = xcr0_mask(cpuid);
    return 0;
}
