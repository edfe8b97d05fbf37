/*
 * A vCPU's registers and its whole state.
 *
 * The order of loading matters (doc/architecture.md): the TSC's rate, before anything is computed
 * from it; sregs before the LAPIC, since APIC_BASE decides xAPIC or x2APIC; the LAPIC before MSRs;
 * mp_state last.  mp_state is read first, since reading it may deliver a pending INIT or SIPI and
 * so change everything else.  The clock comes after all vCPUs (kvm_clock.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hv/kvm_priv.h"

/* Layouts that are copied whole: Linux uapi asm/kvm.h. */
_Static_assert(sizeof(struct kvm_regs) == 144 && sizeof(struct x86_regs) == 144, "kvm_regs");
_Static_assert(offsetof(struct kvm_regs, rsp) == offsetof(struct x86_regs, rsp), "kvm_regs.rsp");
_Static_assert(offsetof(struct kvm_regs, rip) == offsetof(struct x86_regs, rip), "kvm_regs.rip");
_Static_assert(sizeof(struct kvm_segment) == 24, "kvm_segment");
_Static_assert(sizeof(struct kvm_dtable) == 16, "kvm_dtable");
_Static_assert(sizeof(struct kvm_sregs) == 312, "kvm_sregs");
_Static_assert(sizeof(struct kvm_sregs2) == 320, "kvm_sregs2");
_Static_assert(sizeof(struct kvm_lapic_state) == sizeof(((struct x86_vcpu_state *)0)->lapic),
               "kvm_lapic_state");
_Static_assert(sizeof(struct kvm_vcpu_events) == 64, "kvm_vcpu_events");
_Static_assert(sizeof(struct kvm_debugregs) == 128, "kvm_debugregs");

/* ---- general and system registers ---- */

static struct kvm_segment to_kvm_segment(const struct x86_segment *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->type,
        .present = s->present,
        .dpl = s->dpl,
        .db = s->db,
        .s = s->s,
        .l = s->l,
        .g = s->g,
        .avl = s->avl,
        .unusable = s->unusable,
    };
}

static struct x86_segment from_kvm_segment(const struct kvm_segment *s)
{
    return (struct x86_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->type,
        .present = s->present,
        .dpl = s->dpl,
        .db = s->db,
        .s = s->s,
        .l = s->l,
        .g = s->g,
        .avl = s->avl,
        .unusable = s->unusable,
    };
}

/* X(to_or_from, member): the segments, in one place for both directions. */
#define EACH_SEGMENT(X) X(cs) X(ds) X(es) X(fs) X(gs) X(ss) X(tr) X(ldt)
#define EACH_CONTROL(X) X(cr0) X(cr2) X(cr3) X(cr4) X(cr8) X(efer) X(apic_base)

static void to_kvm_sregs2(const struct x86_sregs *s, struct kvm_sregs2 *k)
{
    memset(k, 0, sizeof(*k));
#define X(f) k->f = to_kvm_segment(&s->f);
    EACH_SEGMENT(X)
#undef X
#define X(f) k->f = s->f;
    EACH_CONTROL(X)
#undef X
    k->gdt.base = s->gdt.base;
    k->gdt.limit = s->gdt.limit;
    k->idt.base = s->idt.base;
    k->idt.limit = s->idt.limit;
    k->flags = s->sregs2_flags;
    memcpy(k->pdptrs, s->pdptrs, sizeof(k->pdptrs));
}

static void from_kvm_sregs2(const struct kvm_sregs2 *k, struct x86_sregs *s)
{
    memset(s, 0, sizeof(*s));
#define X(f) s->f = from_kvm_segment(&k->f);
    EACH_SEGMENT(X)
#undef X
#define X(f) s->f = k->f;
    EACH_CONTROL(X)
#undef X
    s->gdt = (struct x86_dtable){.base = k->gdt.base, .limit = k->gdt.limit};
    s->idt = (struct x86_dtable){.base = k->idt.base, .limit = k->idt.limit};
    s->sregs2_flags = k->flags;
    if (k->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
        memcpy(s->pdptrs, k->pdptrs, sizeof(s->pdptrs));
}

/* Up to and with apic_base, the two layouts are one; sregs then has the interrupt bitmap, which the
 * in-kernel irqchip keeps in vcpu_events. */
_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) == offsetof(struct kvm_sregs2, flags),
               "sregs and sregs2 begin alike");

static int get_sregs(struct hv_vcpu *v, struct x86_sregs *s)
{
    struct kvm_sregs2 k = {.flags = 0};
    struct kvm_sregs old;
    int rc;

    if (v->vm->caps.sregs2) {
        rc = kvm_ioctl(v->fd, KVM_GET_SREGS2, &k);
    } else {
        rc = kvm_ioctl(v->fd, KVM_GET_SREGS, &old);
        if (rc == 0)
            memcpy(&k, &old, offsetof(struct kvm_sregs, interrupt_bitmap));
    }
    if (rc == 0)
        from_kvm_sregs2(&k, s);
    return rc;
}

static int set_sregs(struct hv_vcpu *v, const struct x86_sregs *s)
{
    struct kvm_sregs2 k;
    struct kvm_sregs old = {0};

    to_kvm_sregs2(s, &k);
    if (v->vm->caps.sregs2)
        return kvm_ioctl(v->fd, KVM_SET_SREGS2, &k);
    memcpy(&old, &k, offsetof(struct kvm_sregs, interrupt_bitmap));
    return kvm_ioctl(v->fd, KVM_SET_SREGS, &old);
}

int hv_vcpu_get_regs(struct hv_vcpu *v, struct x86_regs *regs, struct x86_sregs *sregs,
                     struct err *e)
{
    int rc = kvm_ioctl(v->fd, KVM_GET_REGS, regs);

    if (rc == 0)
        rc = get_sregs(v, sregs);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "vCPU %u: reading registers", v->index) : 0;
}

int hv_vcpu_set_regs(struct hv_vcpu *v, const struct x86_regs *regs, const struct x86_sregs *sregs,
                     struct err *e)
{
    int rc = set_sregs(v, sregs);

    if (rc < 0)
        return err_set_errno(e, rc, STAGE,
                             "vCPU %u: KVM refuses the system registers (cr0 0x%" PRIx64
                             ", cr4 0x%" PRIx64 ", efer 0x%" PRIx64 ")",
                             v->index, sregs->cr0, sregs->cr4, sregs->efer);
    rc = kvm_ioctl(v->fd, KVM_SET_REGS, (void *)(uintptr_t)regs); /* KVM only reads it */
    return rc < 0 ? err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses the registers", v->index) : 0;
}

/* ---- events, debug registers ---- */

static void from_kvm_events(const struct kvm_vcpu_events *k, struct x86_events *s)
{
    *s = (struct x86_events){
        .exception_injected = k->exception.injected,
        .exception_nr = k->exception.nr,
        .exception_has_error_code = k->exception.has_error_code,
        .exception_pending = k->exception.pending,
        .exception_error_code = k->exception.error_code,
        .exception_has_payload = k->exception_has_payload,
        .exception_payload = k->exception_payload,
        .interrupt_injected = k->interrupt.injected,
        .interrupt_nr = k->interrupt.nr,
        .interrupt_soft = k->interrupt.soft,
        .interrupt_shadow = k->interrupt.shadow,
        .nmi_injected = k->nmi.injected,
        .nmi_pending = k->nmi.pending,
        .nmi_masked = k->nmi.masked,
        .smi_smm = k->smi.smm,
        .smi_pending = k->smi.pending,
        .smi_inside_nmi = k->smi.smm_inside_nmi,
        .smi_latched_init = k->smi.latched_init,
        .triple_fault_pending = k->triple_fault.pending,
        .sipi_vector = k->sipi_vector,
        .flags = k->flags,
    };
}

static void to_kvm_events(const struct x86_events *s, struct kvm_vcpu_events *k)
{
    memset(k, 0, sizeof(*k));
    k->exception.injected = s->exception_injected;
    k->exception.nr = s->exception_nr;
    k->exception.has_error_code = s->exception_has_error_code;
    k->exception.pending = s->exception_pending;
    k->exception.error_code = s->exception_error_code;
    k->exception_has_payload = s->exception_has_payload;
    k->exception_payload = s->exception_payload;
    k->interrupt.injected = s->interrupt_injected;
    k->interrupt.nr = s->interrupt_nr;
    k->interrupt.soft = s->interrupt_soft;
    k->interrupt.shadow = s->interrupt_shadow;
    k->nmi.injected = s->nmi_injected;
    k->nmi.pending = s->nmi_pending;
    k->nmi.masked = s->nmi_masked;
    k->smi.smm = s->smi_smm;
    k->smi.pending = s->smi_pending;
    k->smi.smm_inside_nmi = s->smi_inside_nmi;
    k->smi.latched_init = s->smi_latched_init;
    k->triple_fault.pending = s->triple_fault_pending;
    k->sipi_vector = s->sipi_vector;
    k->flags = s->flags;
}

static int set_events(struct hv_vcpu *v, const struct x86_events *s, struct err *e)
{
    struct kvm_vcpu_events k;
    int rc;

    to_kvm_events(s, &k);
    if (!v->vm->caps.triple_fault_event) {
        if (k.triple_fault.pending)
            return err_set(e, -ENOTSUP, STAGE,
                           "vCPU %u: a triple fault is pending, and this host's KVM (before 6.0) "
                           "cannot take it",
                           v->index);
        k.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    }
    rc = kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses pending events (flags 0x%x)",
                                  v->index, k.flags)
                  : 0;
}

static int get_debugregs(struct hv_vcpu *v, struct x86_vcpu_state *s)
{
    struct kvm_debugregs k = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &k);

    memcpy(s->db, k.db, sizeof(s->db));
    s->dr6 = k.dr6;
    s->dr7 = k.dr7;
    return rc;
}

static int set_debugregs(struct hv_vcpu *v, const struct x86_vcpu_state *s)
{
    struct kvm_debugregs k = {.dr6 = s->dr6, .dr7 = s->dr7};

    memcpy(k.db, s->db, sizeof(k.db));
    return kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &k);
}

/* ---- the whole ---- */

static int need_msr_list(const struct hv_vcpu *v, struct err *e)
{
    if (!v->vm->have_msrs)
        return err_set(e, -EINVAL, STAGE, "vCPU %u: the machine has no MSR list yet", v->index);
    return 0;
}

static int get_chips_of(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e)
{
    struct kvm_mp_state mp = {0};
    struct kvm_vcpu_events events = {0};
    int rc;

    rc = kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp);
    s->mp_state = mp.mp_state;
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events);
    from_kvm_events(&events, &s->events);
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_LAPIC, s->lapic);
    if (rc == 0)
        rc = kvm_xcrs_get(v, s);
    if (rc == 0)
        rc = kvm_xsave_get(v, s);
    if (rc == 0)
        rc = get_debugregs(v, s);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "vCPU %u: reading its state", v->index) : 0;
}

int hv_vcpu_get_state(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e)
{
    int rc = need_msr_list(v, e);

    if (rc < 0)
        return rc;
    memset(s, 0, sizeof(*s));
    rc = get_chips_of(v, s, e);
    if (rc == 0)
        rc = hv_vcpu_get_regs(v, &s->regs, &s->sregs, e);
    if (rc < 0)
        return rc;
    s->nmsrs = v->vm->msrs.n;
    memcpy(s->msr_index, v->vm->msrs.index, s->nmsrs * sizeof(s->msr_index[0]));
    rc = kvm_msrs_get(v, s->msr_index, s->msr_value, s->nmsrs, e);
    return rc < 0 ? rc : kvm_vcpu_time_get(v, s, e);
}

static int set_lapic(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    struct kvm_lapic_state k;
    int rc;

    memcpy(&k, s->lapic, sizeof(k));
    rc = kvm_ioctl(v->fd, KVM_SET_LAPIC, &k);
    return rc < 0 ? err_set_errno(e, rc, STAGE,
                                  "vCPU %u: KVM refuses the LAPIC (APIC base 0x%" PRIx64 ")",
                                  v->index, s->sregs.apic_base)
                  : 0;
}

static int set_mp_state(struct hv_vcpu *v, uint32_t mp_state, struct err *e)
{
    struct kvm_mp_state mp = {.mp_state = mp_state};
    int rc = -EINVAL;

    if (mp_state <= KVM_MP_STATE_SIPI_RECEIVED)
        rc = kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
    return rc < 0
               ? err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses mp_state %u", v->index, mp_state)
               : 0;
}

/* The wall clock MSRs of kvmclock make KVM write the boot time into guest RAM, computed from the
 * clock: they are loaded with it, and are zero, which writes nothing, until then. */
static int set_msrs(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    uint64_t value[X86_MSRS_MAX];

    if (s->nmsrs != v->vm->msrs.n ||
        memcmp(s->msr_index, v->vm->msrs.index, s->nmsrs * sizeof(s->msr_index[0])) != 0)
        return err_set(e, -EPROTO, STAGE,
                       "vCPU %u: its %u MSRs are not the %u of the machine's list", v->index,
                       s->nmsrs, v->vm->msrs.n);
    memcpy(value, s->msr_value, s->nmsrs * sizeof(value[0]));
    for (uint32_t i = 0; i < s->nmsrs; i++) {
        if (s->msr_index[i] == MSR_KVM_WALL_CLOCK0 || s->msr_index[i] == MSR_KVM_WALL_CLOCK1)
            value[i] = 0;
    }
    return kvm_msrs_set(v, s->msr_index, value, s->nmsrs, e);
}

static int load(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    int rc;

    if ((rc = hv_vcpu_set_regs(v, &s->regs, &s->sregs, e)) < 0 ||
        (rc = kvm_xcrs_set(v, s, e)) < 0 || (rc = kvm_xsave_set(v, s, e)) < 0 ||
        (rc = set_lapic(v, s, e)) < 0 || (rc = set_msrs(v, s, e)) < 0)
        return rc;
    rc = set_debugregs(v, s);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses the debug registers", v->index);
    rc = set_events(v, &s->events, e);
    return rc < 0 ? rc : set_mp_state(v, s->mp_state, e);
}

int hv_vcpu_set_state(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    int rc;

    if ((rc = need_msr_list(v, e)) < 0 || (rc = kvm_vcpu_tsc_khz_set(v, s->tsc_khz, e)) < 0 ||
        (rc = load(v, s, e)) < 0)
        return rc;
    v->exit_held = false;
    kvm_vcpu_time_note(v, s);
    return 0;
}

int kvm_vcpu_snapshot(struct hv_vcpu *v, struct err *e)
{
    int rc;

    if (v->reset)
        return 0;
    v->reset = malloc(sizeof(*v->reset));
    if (!v->reset)
        return err_set_errno(e, -ENOMEM, STAGE, "vCPU %u: its state at power-on", v->index);
    rc = hv_vcpu_get_state(v, v->reset, e);
    if (rc < 0) {
        free(v->reset);
        v->reset = NULL;
    }
    return rc;
}

int hv_vcpu_reset(struct hv_vcpu *v, struct err *e)
{
    if (!v->reset)
        return need_msr_list(v, e);
    v->exit_held = false;
    v->time.pending = false;
    return load(v, v->reset, e);
}
