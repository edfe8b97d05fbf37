/*
 * XCR0 and the XSAVE area.  Judged both ways against what the guest can have put there: the
 * components that its CPUID shows, and those it has enabled in XCR0 nevertheless (where user mode
 * reads the host's own CPUID, it can; XCR0 is loaded first, and KVM judges it).  All else is taken
 * out when saving, and refused when loading.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "hv/kvm_priv.h"

_Static_assert(sizeof(struct kvm_xcrs) == 392, "kvm_xcrs");
_Static_assert(sizeof(struct kvm_xsave) == 4096, "kvm_xsave");
_Static_assert(sizeof(((struct x86_vcpu_state *)0)->xcrs) / 8 == KVM_MAX_XCRS, "xcrs");

/* XSAVE header: SDM vol. 1, 13.4.2. */
#define XSAVE_MXCSR  24
#define XSAVE_HEADER 512
#define XSAVE_MIN    576

int kvm_xcrs_get(struct hv_vcpu *v, struct x86_vcpu_state *s)
{
    struct kvm_xcrs k = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_XCRS, &k);

    if (rc < 0)
        return rc;
    s->nxcrs = k.nr_xcrs < KVM_MAX_XCRS ? k.nr_xcrs : KVM_MAX_XCRS;
    for (uint32_t i = 0; i < s->nxcrs; i++) {
        s->xcr_index[i] = k.xcrs[i].xcr;
        s->xcrs[i] = k.xcrs[i].value;
    }
    return 0;
}

int kvm_xcrs_set(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    struct kvm_xcrs k = {.nr_xcrs = s->nxcrs};
    int rc;

    if (s->nxcrs > KVM_MAX_XCRS)
        return err_set(e, -EPROTO, STAGE, "vCPU %u: %u XCRs", v->index, s->nxcrs);
    if (s->nxcrs == 0)
        return 0;
    for (uint32_t i = 0; i < s->nxcrs; i++) {
        k.xcrs[i].xcr = s->xcr_index[i];
        k.xcrs[i].value = s->xcrs[i];
    }
    rc = kvm_ioctl(v->fd, KVM_SET_XCRS, &k);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE,
                             "vCPU %u: KVM refuses XCR%u = 0x%" PRIx64
                             " (its CPUID shows 0x%" PRIx64 ")",
                             v->index, s->xcr_index[0], s->xcrs[0], v->xcr0_mask);
    return 0;
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return x;
}

static uint64_t components(const struct hv_vcpu *v, const struct x86_vcpu_state *s)
{
    uint64_t mask = v->xcr0_mask;

    for (uint32_t i = 0; i < s->nxcrs; i++)
        if (s->xcr_index[i] == 0)
            mask |= s->xcrs[i];
    return mask;
}

/* KVM may report components that the guest cannot have used (PKRU, on some kernels) in their
 * initial state; another kernel would refuse them. */
static void hide_unseen(const struct hv_vcpu *v, struct x86_vcpu_state *s)
{
    uint64_t bv = load64(s->xsave + XSAVE_HEADER) & components(v, s);

    memcpy(s->xsave + XSAVE_HEADER, &bv, sizeof(bv));
}

/* After kvm_xcrs_get. */
int kvm_xsave_get(struct hv_vcpu *v, struct x86_vcpu_state *s)
{
    int rc;

    memset(s->xsave, 0, sizeof(s->xsave));
    rc = kvm_ioctl(v->fd, v->vm->caps.xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, s->xsave);
    if (rc < 0)
        return rc;
    s->xsave_size = v->vm->caps.xsave_size;
    hide_unseen(v, s);
    return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static int check_xsave(const struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    uint64_t bv, valid = components(v, s);

    if (s->xsave_size < XSAVE_MIN || s->xsave_size > X86_XSAVE_MAX)
        return err_set(e, -EPROTO, STAGE, "vCPU %u: an XSAVE area of %u bytes; %u to %u are valid",
                       v->index, s->xsave_size, XSAVE_MIN, X86_XSAVE_MAX);
    bv = load64(s->xsave + XSAVE_HEADER);
    if (bv & ~valid)
        return err_set(e, -EPROTO, STAGE,
                       "vCPU %u: XSTATE_BV 0x%" PRIx64 " has components 0x%" PRIx64
                       " that neither its CPUID (0xD: 0x%" PRIx64 ") nor its XCR0 has",
                       v->index, bv, bv & ~valid, v->xcr0_mask);
    if (!all_zero(s->xsave + XSAVE_HEADER + 8, XSAVE_MIN - XSAVE_HEADER - 8))
        return err_set(e, -EPROTO, STAGE,
                       "vCPU %u: the XSAVE header is not in standard format (XCOMP_BV 0x%" PRIx64
                       ")",
                       v->index, load64(s->xsave + XSAVE_HEADER + 8));
    if (s->xsave_size > v->vm->caps.xsave_size &&
        !all_zero(s->xsave + v->vm->caps.xsave_size, s->xsave_size - v->vm->caps.xsave_size))
        return err_set(e, -ENOTSUP, STAGE, "vCPU %u: XSAVE state of %u bytes; this host holds %u",
                       v->index, s->xsave_size, v->vm->caps.xsave_size);
    return 0;
}

/* KVM reads as many bytes as KVM_CAP_XSAVE2 says, whatever the source had. */
int kvm_xsave_set(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    uint8_t area[X86_XSAVE_MAX] = {0};
    int rc = check_xsave(v, s, e);

    if (rc < 0)
        return rc;
    memcpy(area, s->xsave, s->xsave_size);
    rc = kvm_ioctl(v->fd, KVM_SET_XSAVE, area);
    if (rc < 0)
        return err_set_errno(
            e, rc, STAGE,
            "vCPU %u: KVM refuses the FPU state (XSTATE_BV 0x%" PRIx64 ", MXCSR 0x%" PRIx64 ")",
            v->index, load64(area + XSAVE_HEADER), load64(area + XSAVE_MXCSR) & 0xffffffff);
    return 0;
}
