/*
 * Which MSRs a machine has, and moving them.
 *
 * A machine's list is made once, on the host where it is created, from what KVM says must be saved:
 * less the MSRs that its CPUID never shows (their state is always zero, but another kernel may not
 * know them), less those this KVM cannot read or write back.  Both kinds are reported, so that the
 * manifest can say what was left out.  From then on every MSR of the list must load everywhere.
 */
#include <errno.h>
#include <asm/kvm_para.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/kvm_priv.h"

_Static_assert(sizeof(struct kvm_msr_entry) == 16, "kvm_msr_entry");
_Static_assert(sizeof(struct kvm_msrs) == 8, "kvm_msrs");

struct msrs_room {
    union {
        struct kvm_msrs h;
        uint8_t room[sizeof(struct kvm_msrs) + X86_MSRS_MAX * sizeof(struct kvm_msr_entry)];
    };
};

int kvm_msrs_get(struct hv_vcpu *v, const uint32_t *index, uint64_t *value, uint32_t n,
                 struct err *e)
{
    struct msrs_room m = {.h.nmsrs = n};
    int rc;

    if (n > X86_MSRS_MAX)
        return err_set(e, -EINVAL, STAGE, "%u MSRs: at most %u", n, X86_MSRS_MAX);
    for (uint32_t i = 0; i < n; i++)
        m.h.entries[i].index = index[i];
    rc = kvm_ioctl(v->fd, KVM_GET_MSRS, &m);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: reading MSRs", v->index);
    if ((uint32_t)rc < n)
        return err_set(e, -EIO, STAGE, "vCPU %u: KVM cannot read MSR 0x%x", v->index, index[rc]);
    for (uint32_t i = 0; i < n; i++)
        value[i] = m.h.entries[i].data;
    return 0;
}

int kvm_msrs_set(struct hv_vcpu *v, const uint32_t *index, const uint64_t *value, uint32_t n,
                 struct err *e)
{
    struct msrs_room m = {.h.nmsrs = n};
    int rc;

    if (n > X86_MSRS_MAX)
        return err_set(e, -EINVAL, STAGE, "%u MSRs: at most %u", n, X86_MSRS_MAX);
    for (uint32_t i = 0; i < n; i++)
        m.h.entries[i] = (struct kvm_msr_entry){.index = index[i], .data = value[i]};
    rc = kvm_ioctl(v->fd, KVM_SET_MSRS, &m);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: writing MSRs", v->index);
    if ((uint32_t)rc < n)
        return err_set(e, -EIO, STAGE,
                       "vCPU %u: KVM refuses MSR 0x%x = 0x%" PRIx64
                       ": this host lacks the feature behind it",
                       v->index, index[rc], value[rc]);
    return 0;
}

/* ---- the list ---- */

/* CPUID bits that decide whether a guest can reach an MSR (SDM vol. 2A, CPUID; APM vol. 3, E). */
struct cpuid_bit {
    uint32_t function, index;
    char reg; /* 'a' to 'd'; 0: never shown by Godwit (src/cpu masks it) */
    uint32_t mask;
};

/* clang-format off */
#define NEVER       {0, 0, 0, 0}
#define LEAF7_B(m)  {7, 0, 'b', (m)}
#define LEAF7_C(m)  {7, 0, 'c', (m)}
#define KVM_A(bit)  {0x40000001, 0, 'a', 1U << (bit)}

static const struct {
    uint32_t first, last;
    struct cpuid_bit needs;
} conditional[] = {
    {0x000000c1, 0x000000c8, NEVER}, /* PMU counters */
    {0x00000186, 0x0000018d, NEVER},
    {0x00000309, 0x0000030c, NEVER},
    {0x00000345, 0x00000345, NEVER}, /* PERF_CAPABILITIES */
    {0x0000038d, 0x00000390, NEVER},
    {0x000003f1, 0x000003f2, NEVER}, /* PEBS */
    {0x000004c1, 0x000004c8, NEVER},
    {0x00000600, 0x00000600, NEVER}, /* DS_AREA */
    {0xc0000300, 0xc0000303, NEVER},
    {0xc0010000, 0xc0010007, NEVER},
    {0xc0010200, 0xc001020b, NEVER},
    {0x00000480, 0x00000493, NEVER}, /* VMX capabilities */
    {0xc0000104, 0xc0000104, NEVER}, /* SVM: TSC_RATIO */
    {0xc0010117, 0xc0010117, NEVER}, /* VM_HSAVE_PA */
    {0x00000560, 0x0000058f, NEVER}, /* processor trace */
    {0x0000009e, 0x0000009e, NEVER}, /* SMBASE: no SMM */
    {0x0000008c, 0x0000008f, NEVER}, /* SGX */
    {0x000000e1, 0x000000e1, LEAF7_C(1U << 5)}, /* UMWAIT_CONTROL: WAITPKG */
    {0x00000122, 0x00000122, LEAF7_B(1U << 11)}, /* TSX_CTRL: RTM */
    {0x000001c4, 0x000001c5, {0xd, 1, 'a', 1U << 4}}, /* XFD */
    {0x000006a0, 0x000006a8, NEVER}, /* CET */
    {0x00000d90, 0x00000d90, NEVER}, /* BNDCFGS: MPX */
    {0x00000da0, 0x00000da0, {0xd, 1, 'a', 1U << 3}}, /* XSS: XSAVES */
    {0x00000011, 0x00000012, KVM_A(KVM_FEATURE_CLOCKSOURCE)}, /* kvmclock and its kind:
  older kernels refuse even a zero */
    {0x4b564d00, 0x4b564d01, KVM_A(KVM_FEATURE_CLOCKSOURCE2)},
    {0x4b564d02, 0x4b564d02, KVM_A(KVM_FEATURE_ASYNC_PF)},
    {0x4b564d03, 0x4b564d03, KVM_A(KVM_FEATURE_STEAL_TIME)},
    {0x4b564d04, 0x4b564d04, KVM_A(KVM_FEATURE_PV_EOI)},
    {0x4b564d05, 0x4b564d05, KVM_A(KVM_FEATURE_POLL_CONTROL)},
    {0x4b564d06, 0x4b564d07, KVM_A(KVM_FEATURE_ASYNC_PF_INT)},
    {0x4b564d08, 0x4b564d08, KVM_A(KVM_FEATURE_MIGRATION_CONTROL)},
    {0x40000000, 0x400001ff, NEVER}, /* Hyper-V */
};
/* clang-format on */

/* What KVM keeps for a guest and yet does not list as to be saved. */
static const struct {
    uint32_t first, last;
} unlisted[] = {
    {0x00000200, 0x0000020f}, /* MTRRs, the eight variable pairs (SDM vol. 3, 12.11) */
    {0x00000250, 0x00000250}, /* and fixed */
    {0x00000258, 0x00000259},
    {0x00000268, 0x0000026f},
    {0x00000277, 0x00000277}, /* PAT */
    {0x000002ff, 0x000002ff}, /* MTRR_DEF_TYPE */
    {0x00000400, 0x0000047f}, /* 32 machine check banks */
    {0xc0011029, 0xc0011029}, /* DE_CFG: whether LFENCE serialises */
};

static bool shows(const struct x86_cpuid *cpuid, const struct cpuid_bit *b)
{
    for (uint32_t i = 0; b->reg && i < cpuid->n; i++) {
        const struct x86_cpuid_entry *c = &cpuid->entries[i];
        const uint32_t regs[] = {c->eax, c->ebx, c->ecx, c->edx};

        if (c->function == b->function && c->index == b->index)
            return regs[b->reg - 'a'] & b->mask;
    }
    return false;
}

static bool reachable(const struct x86_cpuid *cpuid, uint32_t msr)
{
    for (size_t i = 0; i < sizeof(conditional) / sizeof(conditional[0]); i++)
        if (msr >= conditional[i].first && msr <= conditional[i].last)
            return shows(cpuid, &conditional[i].needs);
    return true;
}

/* The TSC and its deadline have their own fields in the state. */
static bool moved_by_name(uint32_t msr)
{
    return msr == MSR_TSC || msr == MSR_TSC_DEADLINE;
}

/* Both lists of KVM: what a guest changes, and the feature MSRs a monitor may set. */
static int host_msrs(struct hv_vm *vm, unsigned long request, struct x86_msr_list *out,
                     struct err *e)
{
    struct kvm_msr_list *l = calloc(1, sizeof(*l) + X86_MSRS_MAX * sizeof(l->indices[0]));
    int rc;

    if (!l)
        return err_set_errno(e, -ENOMEM, STAGE, "MSR list");
    l->nmsrs = X86_MSRS_MAX;
    rc = kvm_ioctl(vm->kvm_fd, request, l);
    if (rc < 0) {
        rc = err_set_errno(e, rc, STAGE, "the MSRs that KVM saves (%u; at most %u are supported)",
                           l->nmsrs, X86_MSRS_MAX);
    } else {
        out->n = l->nmsrs;
        memcpy(out->index, l->indices, l->nmsrs * sizeof(out->index[0]));
    }
    free(l);
    return rc;
}

static bool listed(const struct x86_msr_list *l, uint32_t msr)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->index[i] == msr)
            return true;
    return false;
}

static bool can_move(struct hv_vcpu *v, uint32_t msr)
{
    uint64_t value;

    return kvm_msrs_get(v, &msr, &value, 1, NULL) == 0 &&
           kvm_msrs_set(v, &msr, &value, 1, NULL) == 0;
}

static void append_unlisted(struct x86_msr_list *host)
{
    for (size_t i = 0; i < sizeof(unlisted) / sizeof(unlisted[0]); i++)
        for (uint32_t msr = unlisted[i].first; msr <= unlisted[i].last; msr++)
            if (host->n < X86_MSRS_MAX && !listed(host, msr))
                host->index[host->n++] = msr;
}

int hv_vm_msr_list(struct hv_vm *vm, struct hv_vcpu *v, struct x86_msr_list *out,
                   struct x86_msr_list *left_out, struct err *e)
{
    struct x86_msr_list host;
    int rc = host_msrs(vm, KVM_GET_MSR_INDEX_LIST, &host, e);

    if (rc < 0)
        return rc;
    append_unlisted(&host);
    out->n = left_out->n = 0;
    for (uint32_t i = 0; i < host.n; i++) {
        uint32_t msr = host.index[i];

        if (moved_by_name(msr) || listed(out, msr))
            continue;
        if (reachable(&v->cpuid, msr) && can_move(v, msr))
            out->index[out->n++] = msr;
        else
            left_out->index[left_out->n++] = msr;
    }
    return 0;
}

/* Feature MSRs are set on a host that does not list them for saving; either list will do. */
static int check_offered(struct hv_vm *vm, const struct x86_msr_list *msrs, struct err *e)
{
    struct x86_msr_list saved, features;
    char text[160] = "";
    size_t used = 0;
    int rc;

    if ((rc = host_msrs(vm, KVM_GET_MSR_INDEX_LIST, &saved, e)) < 0 ||
        (rc = host_msrs(vm, KVM_GET_MSR_FEATURE_INDEX_LIST, &features, e)) < 0)
        return rc;
    append_unlisted(&saved);
    for (uint32_t i = 0; i < msrs->n; i++) {
        if (listed(&saved, msrs->index[i]) || listed(&features, msrs->index[i]))
            continue;
        if (used < sizeof(text))
            used += (size_t)snprintf(text + used, sizeof(text) - used, " 0x%x", msrs->index[i]);
    }
    if (used)
        return err_set(e, -ENOTSUP, STAGE,
                       "the machine has MSRs that this host's KVM does not:%s; move it to a host "
                       "with the same or a newer kernel",
                       text);
    return 0;
}

int hv_vm_set_msr_list(struct hv_vm *vm, const struct x86_msr_list *msrs, struct err *e)
{
    int rc;

    if (msrs->n > X86_MSRS_MAX)
        return err_set(e, -EPROTO, STAGE, "%u MSRs: at most %u", msrs->n, X86_MSRS_MAX);
    if (vm->have_msrs)
        return err_set(e, -EBUSY, STAGE, "the machine has its MSR list already");
    rc = check_offered(vm, msrs, e);
    if (rc < 0)
        return rc;
    vm->msrs = *msrs;
    vm->have_msrs = true;
    for (uint32_t i = 0; i < vm->nvcpus && rc == 0; i++)
        rc = kvm_vcpu_snapshot(vm->vcpus[i], e);
    return rc;
}
