/* State out of one VM and into another; chips, clock, MSIs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "rig.h"

#define MSR_SYSENTER_EIP 0x176
#define MSR_LSTAR        0xc0000082
#define LAPIC_TPR        0x80
#define LAPIC_PPR        0xa0
#define LAPIC_SVR        0xf0
#define LAPIC_IRR        0x200
#define LAPIC_TMCCT      0x390

static uint32_t lapic_reg(const struct x86_vcpu_state *s, uint32_t offset)
{
    uint32_t x;

    memcpy(&x, s->lapic + offset, sizeof(x));
    return x;
}

static void lapic_set(struct x86_vcpu_state *s, uint32_t offset, uint32_t x)
{
    memcpy(s->lapic + offset, &x, sizeof(x));
}

static void msr_set(struct x86_vcpu_state *s, uint32_t index, uint64_t value)
{
    for (uint32_t i = 0; i < s->nmsrs; i++) {
        if (s->msr_index[i] == index) {
            s->msr_value[i] = value;
            return;
        }
    }
    fail_msg("MSR 0x%x is not in the list", index);
}

/* Something other than zero wherever a vCPU may have it. */
static void disturb(struct x86_vcpu_state *s)
{
    uint64_t *r = &s->regs.rax;
    const uint64_t x87_sse = 3;

    for (int i = 0; i < 16; i++)
        r[i] = 0x1111111111111111ULL * (uint64_t)(i + 1);
    s->regs.rip = 0x1234;
    s->regs.rflags = 0x246;
    s->sregs.cr2 = 0xdeadbeef000;
    s->sregs.cr8 = 5;
    lapic_set(s, LAPIC_TPR, 5 << 4); /* the same register seen from the LAPIC */
    lapic_set(s, LAPIC_PPR, 5 << 4); /* computed from it on load */
    s->sregs.gdt = (struct x86_dtable){.base = 0x5000, .limit = 0x7f};
    s->sregs.fs.base = 0x12340;
    memset(s->xsave + 160, 0x5c, 256); /* XMM0-15: SDM vol. 1, table 10-2 */
    memcpy(s->xsave + 512, &x87_sse, sizeof(x87_sse));
    lapic_set(s, LAPIC_SVR, 0x1ff);
    lapic_set(s, LAPIC_IRR + 0x20, 1U << 5);
    msr_set(s, MSR_SYSENTER_EIP, 0x7777);
    msr_set(s, MSR_LSTAR, 0xffffffff81000000);
    for (int i = 0; i < 4; i++)
        s->db[i] = 0x1000U * (unsigned int)(i + 1);
    s->dr7 = 0x400;
    s->events.nmi_masked = 1;
    s->events.interrupt_shadow = 1;
    s->mp_state = 3; /* KVM_MP_STATE_HALTED */
}

/* Running clocks differ between two readings. */
static void still(struct x86_vcpu_state *s)
{
    s->tsc = s->tsc_offset = 0;
    lapic_set(s, LAPIC_TMCCT, 0);
}

static void assert_same(struct x86_vcpu_state *a, struct x86_vcpu_state *b)
{
    still(a);
    still(b);
    assert_memory_equal(&a->regs, &b->regs, sizeof(a->regs));
    assert_memory_equal(&a->sregs, &b->sregs, sizeof(a->sregs));
    assert_memory_equal(a->xsave, b->xsave, sizeof(a->xsave));
    assert_memory_equal(a->lapic, b->lapic, sizeof(a->lapic));
    assert_memory_equal(&a->events, &b->events, sizeof(a->events));
    assert_memory_equal(a->msr_value, b->msr_value, sizeof(a->msr_value));
    assert_memory_equal(a, b, sizeof(*a));
}

static void state_survives_a_move(void **state)
{
    static struct x86_vcpu_state s, got, moved;
    struct rig a, b;

    rig_init(&a, 2);
    rig_init(&b, 2);
    for (uint32_t i = 0; i < 2; i++) {
        rig_ok(&a, hv_vcpu_get_state(a.vcpu[i], &s, &a.e));
        disturb(&s);
        rig_ok(&a, hv_vcpu_set_state(a.vcpu[i], &s, &a.e));
        rig_ok(&a, hv_vcpu_get_state(a.vcpu[i], &got, &a.e));
        assert_int_equal(got.regs.r15, 0x1111111111111111ULL * 16);
        assert_int_equal(got.xsave[160 + 255], 0x5c);
        assert_int_equal(got.mp_state, 3);
        assert_int_equal(got.events.interrupt_shadow, 1);
        assert_int_equal(lapic_reg(&got, LAPIC_IRR + 0x20), 1U << 5);
        assert_same(&s, &got);
        rig_ok(&b, hv_vcpu_set_state(b.vcpu[i], &got, &b.e));
        rig_ok(&b, hv_vcpu_get_state(b.vcpu[i], &moved, &b.e));
        assert_same(&got, &moved);
    }
    rig_fini(&b);
    rig_fini(&a);
}

static void reset_is_power_on(void **state)
{
    static struct x86_vcpu_state fresh[2], s;
    struct rig r;

    rig_init(&r, 2);
    for (uint32_t i = 0; i < 2; i++) {
        rig_ok(&r, hv_vcpu_get_state(r.vcpu[i], &fresh[i], &r.e));
        s = fresh[i];
        disturb(&s);
        rig_ok(&r, hv_vcpu_set_state(r.vcpu[i], &s, &r.e));
        rig_ok(&r, hv_vcpu_reset(r.vcpu[i], &r.e));
        rig_ok(&r, hv_vcpu_get_state(r.vcpu[i], &s, &r.e));
        assert_int_equal(s.regs.rip, 0xfff0);
        assert_same(&s, &fresh[i]);
    }
    assert_int_equal(fresh[0].mp_state, 0); /* runnable */
    assert_int_equal(fresh[1].mp_state, 1); /* waits for INIT */
    rig_fini(&r);
}

static void hostile_state_is_refused(void **state)
{
    static struct x86_vcpu_state good, s;
    uint64_t bv = 1ULL << 62;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_vcpu_get_state(r.vcpu[0], &good, &r.e));

#define REFUSED(code, words)                                                                       \
    do {                                                                                           \
        r.e = (struct err)ERR_INIT;                                                                \
        assert_int_equal(hv_vcpu_set_state(r.vcpu[0], &s, &r.e), (code));                          \
        if (!strstr(r.e.text, (words)))                                                            \
            fail_msg("'%s' does not say '%s'", r.e.text, (words));                                 \
    } while (0)
    s = good;
    memcpy(s.xsave + 512, &bv, sizeof(bv));
    REFUSED(-EPROTO, "XSTATE_BV 0x4000000000000000");
    s = good;
    s.xsave[520] = 1;
    REFUSED(-EPROTO, "XCOMP_BV");
    s = good;
    s.xsave_size = 100;
    REFUSED(-EPROTO, "100 bytes");
    s.xsave_size = X86_XSAVE_MAX + 1;
    REFUSED(-EPROTO, "16385 bytes");
    s = good;
    s.nmsrs--;
    REFUSED(-EPROTO, "MSRs");
    s = good;
    s.msr_index[1] = 0xc0000080;
    REFUSED(-EPROTO, "MSRs");
    s = good;
    s.nxcrs = 17;
    REFUSED(-EPROTO, "17 XCRs");
    s = good;
    s.xcrs[0] = 0; /* XCR0 bit 0 must be 1 */
    REFUSED(-EINVAL, "XCR0");
    s = good;
    s.mp_state = 77;
    REFUSED(-EINVAL, "mp_state 77");
    s = good;
    s.sregs.cr4 = ~0ULL;
    REFUSED(-EINVAL, "cr4 0xffffffffffffffff");
    s = good;
    msr_set(&s, MSR_LSTAR, 0x8000000000000000); /* not canonical */
    REFUSED(-EIO, "MSR 0xc0000082 = 0x8000000000000000");
    s = good;
    s.tsc_khz = 0;
    REFUSED(-EPROTO, "0 kHz");
    if (!hv_vm_caps(r.vm)->tsc_control) {
        s.tsc_khz = good.tsc_khz / 2;
        REFUSED(-ENOTSUP, "cannot scale");
    }
#undef REFUSED
    rig_ok(&r, hv_vcpu_set_state(r.vcpu[0], &good, &r.e));
    rig_fini(&r);
}

/* A vCPU whose CPUID has no leaf 0xD; its guest enabled AVX all the same, where KVM lets it. */
static void what_the_guest_enabled_moves(void **state)
{
    static struct x86_vcpu_state s, got;
    const struct x86_cpuid none = {.n = 0};
    const uint64_t with_avx = 7;
    struct hv_vm_config c = {.vcpus = 1};
    struct hv_vcpu *v;
    struct rig r, b;
    int rc;

    rig_init(&r, 1);
    memset(&b, 0, sizeof(b));
    c.mem = r.mem;
    rig_ok(&b, hv_vm_new(&c, &b.vm, &b.e));
    rig_ok(&b, hv_vcpu_new(b.vm, 0, &none, &v, &b.e));
    rig_ok(&b, hv_vm_msr_list(b.vm, v, &b.msrs, &b.left_out, &b.e));
    rig_ok(&b, hv_vm_set_msr_list(b.vm, &b.msrs, &b.e));
    rig_ok(&b, hv_vcpu_get_state(v, &s, &b.e));
    memcpy(s.xsave + 512, &with_avx, sizeof(with_avx));
    memset(s.xsave + 576, 0xa7, 256);                          /* YMM_Hi128: SDM vol. 1, 13.4.3 */
    assert_int_equal(hv_vcpu_set_state(v, &s, &b.e), -EPROTO); /* XCR0 says it cannot be */
    s.xcrs[0] = with_avx;
    rc = hv_vcpu_set_state(v, &s, &b.e);
    if (rc == 0) {
        rig_ok(&b, hv_vcpu_get_state(v, &got, &b.e));
        assert_memory_equal(got.xsave + 576, s.xsave + 576, 256);
        assert_int_equal(got.xsave[512], with_avx);
    } else {
        assert_non_null(strstr(b.e.text, "XCR0 = 0x7")); /* this KVM does not let it */
    }
    hv_vm_free(b.vm);
    rig_fini(&r);
}

static bool listed(const struct x86_msr_list *l, uint32_t msr)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->index[i] == msr)
            return true;
    return false;
}

static void msr_list_holds_what_can_be_moved(void **state)
{
    struct x86_msr_list unknown = {
        .n = 2, .index = {MSR_LSTAR, 0xdead0001}
    };
    struct x86_cpuid cpuid;
    struct hv_vcpu *v;
    struct rig r, b;
    struct hv_vm_config c = {.vcpus = 1};

    rig_init(&r, 1);
    print_message("%u MSRs, %u left out:", r.msrs.n, r.left_out.n);
    for (uint32_t i = 0; i < r.left_out.n; i++) {
        print_message(" 0x%x", r.left_out.index[i]);
        assert_false(listed(&r.msrs, r.left_out.index[i]));
    }
    print_message("\n");
    assert_true(listed(&r.msrs, MSR_LSTAR) && listed(&r.msrs, MSR_SYSENTER_EIP));
    assert_false(listed(&r.msrs, 0x10) || listed(&r.msrs, 0x6e0));
    assert_int_equal(hv_vm_set_msr_list(r.vm, &r.msrs, &r.e), -EBUSY);

    memset(&b, 0, sizeof(b));
    c.mem = r.mem;
    rig_ok(&b, hv_vm_new(&c, &b.vm, &b.e));
    rig_ok(&b, hv_vm_supported_cpuid(b.vm, &cpuid, &b.e));
    rig_ok(&b, hv_vcpu_new(b.vm, 0, &cpuid, &v, &b.e));
    assert_int_equal(hv_vm_set_msr_list(b.vm, &unknown, &b.e), -ENOTSUP);
    assert_non_null(strstr(b.e.text, "0xdead0001"));
    hv_vm_free(b.vm);
    rig_fini(&r);
}

static void chips_survive_a_move(void **state)
{
    struct x86_vm_state s, got;
    struct rig a, b;

    rig_init(&a, 1);
    rig_init(&b, 1);
    rig_ok(&a, hv_vm_get_state(a.vm, &s, &a.e));
    s.pics[0].irq_base = 0x20;
    s.pics[0].imr = 0xfb;
    s.pics[1].irq_base = 0x28;
    s.pics[1].imr = 0xff;
    s.ioapic.redirtbl[4] = 0x0000000000010024; /* masked, vector 0x24 */
    s.ioapic.redirtbl[9] = 0x0000000000008029; /* level, vector 0x29 */
    s.pit.channels[2].count = 0x1234;
    s.pit.channels[2].mode = 3;
    rig_ok(&a, hv_vm_set_state(a.vm, &s, &a.e));
    rig_ok(&a, hv_vm_get_state(a.vm, &s, &a.e));
    assert_int_equal(s.ioapic.redirtbl[9], 0x8029);
    assert_int_equal(s.pit.channels[2].count, 0x1234);
    assert_int_equal(s.pit.channels[2].mode, 3);
    rig_ok(&b, hv_vm_set_state(b.vm, &s, &b.e));
    rig_ok(&b, hv_vm_get_state(b.vm, &got, &b.e));
    for (int i = 0; i < 3; i++) /* nanoseconds of the host; KVM makes its own */
        s.pit.channels[i].count_load_time = got.pit.channels[i].count_load_time = 0;
    assert_memory_equal(&s, &got, sizeof(s));
    rig_ok(&b, hv_vm_reset_chips(b.vm, &b.e));
    rig_ok(&b, hv_vm_get_state(b.vm, &got, &b.e));
    assert_int_equal(got.pics[0].irq_base, 0);
    assert_int_equal(got.ioapic.redirtbl[4] & 0x100ff, 0x10000);
    rig_fini(&b);
    rig_fini(&a);
}

static void a_line_reaches_the_ioapic(void **state)
{
    struct x86_vm_state s;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_vm_get_state(r.vm, &s, &r.e));
    s.ioapic.redirtbl[11] = 0x1802b; /* level, masked */
    rig_ok(&r, hv_vm_set_state(r.vm, &s, &r.e));
    assert_true(hv_irq_set_level(r.vm, 11, true) >= 0);
    rig_ok(&r, hv_vm_get_state(r.vm, &s, &r.e));
    assert_int_equal(s.ioapic.irr & 1U << 11, 1U << 11);
    assert_true(hv_irq_set_level(r.vm, 11, false) >= 0);
    rig_ok(&r, hv_vm_get_state(r.vm, &s, &r.e));
    assert_int_equal(s.ioapic.irr & 1U << 11, 0);
    assert_int_equal(hv_irq_set_level(r.vm, 24, true), -EINVAL);
    rig_fini(&r);
}

/* ---- MSIs ---- */

static void enable_lapic(struct rig *r)
{
    static struct x86_vcpu_state s;

    rig_ok(r, hv_vcpu_get_state(r->vcpu[0], &s, &r->e));
    lapic_set(&s, LAPIC_SVR, 0x1ff);
    rig_ok(r, hv_vcpu_set_state(r->vcpu[0], &s, &r->e));
}

static bool irr(struct rig *r, uint32_t vector)
{
    static struct x86_vcpu_state s;

    rig_ok(r, hv_vcpu_get_state(r->vcpu[0], &s, &r->e));
    return lapic_reg(&s, LAPIC_IRR + vector / 32 * 16) >> (vector % 32) & 1;
}

static void settled_msis_are_in_the_lapic(void **state)
{
    struct hv_msi *m[200];
    struct rig r;

    rig_init(&r, 1);
    enable_lapic(&r);
    hv_route_begin(r.vm);
    for (uint32_t i = 0; i < 200; i++) {
        rig_ok(&r, hv_msi_new(r.vm, &m[i], &r.e));
        rig_ok(&r, hv_msi_route(m[i], 0xfee00000, 0x30 + i, &r.e));
    }
    rig_ok(&r, hv_route_end(r.vm, &r.e));
    for (uint32_t i = 0; i < 200; i++)
        hv_msi_raise(m[i]);
    hv_irq_settle(r.vm);
    for (uint32_t i = 0; i < 200; i++)
        assert_true(irr(&r, 0x30 + i));
    assert_false(irr(&r, 0x30 + 200));
    for (uint32_t i = 0; i < 200; i++)
        hv_msi_free(m[i]);
    rig_fini(&r);
}

/* Logical broadcast is delivered by a kernel worker, not by the raising thread: what settle is for.
 */
static void a_deferred_msi_is_settled_too(void **state)
{
    struct hv_msi *m;
    struct rig r;

    for (uint32_t round = 0; round < 20; round++) {
        rig_init(&r, 4);
        enable_lapic(&r);
        rig_ok(&r, hv_msi_new(r.vm, &m, &r.e));
        rig_ok(&r, hv_msi_route(m, 0xfeeff000, 0x61, &r.e)); /* to all, physical */
        hv_msi_raise(m);
        hv_irq_settle(r.vm);
        assert_true(irr(&r, 0x61));
        rig_fini(&r);
    }
}

static void a_route_can_change(void **state)
{
    struct hv_msi *m;
    struct rig r;

    rig_init(&r, 1);
    enable_lapic(&r);
    rig_ok(&r, hv_msi_new(r.vm, &m, &r.e));
    hv_msi_raise(m); /* no route: lost, and nothing breaks */
    hv_irq_settle(r.vm);
    rig_ok(&r, hv_msi_route(m, 0xfee00000, 0x41, &r.e));
    rig_ok(&r, hv_msi_route(m, 0xfee00000, 0x42, &r.e));
    hv_msi_raise(m);
    hv_irq_settle(r.vm);
    assert_false(irr(&r, 0x41));
    assert_true(irr(&r, 0x42));
    hv_msi_raise(m); /* settling left it in place */
    hv_irq_settle(r.vm);
    hv_msi_free(m);
    rig_fini(&r);
}

/* ---- clock ---- */

static uint64_t clock_after(struct rig *r, const struct x86_clock_state *s, bool was_running)
{
    struct x86_clock_state got;

    rig_ok(r, hv_vm_set_clock(r->vm, s, was_running, &r->e));
    rig_ok(r, hv_vm_get_clock(r->vm, &got, &r->e));
    return got.clock_ns;
}

static void the_clock_goes_on_by_wall_time(void **state)
{
    const uint64_t slack = 30 * NS_PER_S; /* of a busy machine */
    struct x86_clock_state s;
    uint64_t got;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_vm_get_clock(r.vm, &s, &r.e));
    assert_true(s.realtime_valid && s.host_tsc_khz > 0);
    assert_in_range(clock_realtime_ns() - s.realtime_ns, 0, slack);
    s.clock_ns = 100 * NS_PER_S;
    s.realtime_ns = clock_realtime_ns() - 600 * NS_PER_S;
    got = clock_after(&r, &s, true);
    assert_in_range(got, 700 * NS_PER_S, 700 * NS_PER_S + slack);
    got = clock_after(&r, &s, false); /* it was paused: no time went by */
    assert_in_range(got, 100 * NS_PER_S, 100 * NS_PER_S + slack);
    s.realtime_ns = clock_realtime_ns() + 3000 * NS_PER_S; /* our wall clock is behind */
    got = clock_after(&r, &s, true);
    assert_in_range(got, 100 * NS_PER_S, 100 * NS_PER_S + slack);
    s.realtime_ns = clock_realtime_ns() - 100000 * NS_PER_S; /* clamped to an hour */
    got = clock_after(&r, &s, true);
    assert_in_range(got, 3700 * NS_PER_S, 3700 * NS_PER_S + slack);
    rig_fini(&r);
}

/* Guest RAM gets the boot time when the clock is set, not before. */
static void the_wall_clock_is_written_with_the_clock(void **state)
{
    static struct x86_vcpu_state s;
    struct x86_clock_state c;
    struct {
        uint32_t version, sec, nsec;
    } wall;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_vcpu_get_state(r.vcpu[0], &s, &r.e));
    if (!listed(&r.msrs, 0x4b564d00)) {
        rig_fini(&r);
        skip();
    }
    msr_set(&s, 0x4b564d00, 0x6000);
    rig_ok(&r, hv_vcpu_set_state(r.vcpu[0], &s, &r.e));
    guest_mem_read(r.mem, 0x6000, &wall, sizeof(wall));
    assert_int_equal(wall.version, 0);
    rig_ok(&r, hv_vm_get_clock(r.vm, &c, &r.e));
    c.clock_ns = 1000 * NS_PER_S;
    rig_ok(&r, hv_vm_set_clock(r.vm, &c, false, &r.e));
    guest_mem_read(r.mem, 0x6000, &wall, sizeof(wall));
    assert_in_range(wall.sec, clock_realtime_ns() / NS_PER_S - 1030,
                    clock_realtime_ns() / NS_PER_S - 970);
    rig_ok(&r, hv_vcpu_get_state(r.vcpu[0], &s, &r.e));
    rig_fini(&r);
}

static bool dirty(struct rig *r, uint64_t page)
{
    uint64_t bits[BITMAP_WORDS(RIG_PAGES)] = {0};

    rig_ok(r, hv_dirty_get(r->vm, bits, &r->e));
    return bitmap_test(bits, page);
}

/* KVM writes the wall clock above 4 GiB: what it writes itself is in the log too, and the second
 * range's bits are where the memory file has its pages. */
static void what_kvm_writes_is_dirty_in_its_range(void **state)
{
    static struct x86_vcpu_state s;
    const uint64_t high = RIG_LOW / GUEST_PAGE_SIZE + 3;
    uint64_t bits[BITMAP_WORDS(RIG_PAGES)];
    struct x86_clock_state c;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_vcpu_get_state(r.vcpu[0], &s, &r.e));
    msr_set(&s, 0x4b564d00, (4ULL << 30) + 0x3000);
    rig_ok(&r, hv_vcpu_set_state(r.vcpu[0], &s, &r.e));
    rig_ok(&r, hv_vm_get_clock(r.vm, &c, &r.e));
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    memset(bits, 0xff, sizeof(bits));
    rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, bits, &r.e));
    rig_ok(&r, hv_vm_set_clock(r.vm, &c, false, &r.e));
    assert_true(dirty(&r, high));
    assert_false(dirty(&r, 3));
    memset(bits, 0, sizeof(bits));
    bitmap_set(bits, 3); /* the same page of the other range */
    rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, bits, &r.e));
    assert_true(dirty(&r, high));
    memset(bits, 0, sizeof(bits));
    bitmap_set(bits, high);
    rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, bits, &r.e));
    assert_false(dirty(&r, high));
    hv_dirty_stop(r.vm);
    rig_fini(&r);
}

/* Here a /dev/kvm may ignore TSC offsets (then this proves little); the arithmetic is test_tsc. */
static void the_tsc_goes_on(void **state)
{
    static struct x86_vcpu_state s, got;
    struct x86_clock_state c;
    struct rig a, b;

    rig_init(&a, 2);
    rig_init(&b, 2);
    rig_ok(&a, hv_vm_get_clock(a.vm, &c, &a.e));
    for (uint32_t i = 0; i < 2; i++) {
        rig_ok(&a, hv_vcpu_get_state(a.vcpu[i], &s, &a.e));
        rig_ok(&b, hv_vcpu_set_state(b.vcpu[i], &s, &b.e));
    }
    rig_ok(&b, hv_vm_set_clock(b.vm, &c, true, &b.e));
    for (uint32_t i = 0; i < 2; i++) {
        rig_ok(&b, hv_vcpu_get_state(b.vcpu[i], &got, &b.e));
        assert_true(got.tsc >= s.tsc);
        assert_true(got.tsc - s.tsc < (uint64_t)s.tsc_khz * 30000);
    }
    rig_fini(&b);
    rig_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_survives_a_move),
        cmocka_unit_test(reset_is_power_on),
        cmocka_unit_test(hostile_state_is_refused),
        cmocka_unit_test(what_the_guest_enabled_moves),
        cmocka_unit_test(msr_list_holds_what_can_be_moved),
        cmocka_unit_test(chips_survive_a_move),
        cmocka_unit_test(a_line_reaches_the_ioapic),
        cmocka_unit_test(settled_msis_are_in_the_lapic),
        cmocka_unit_test(a_deferred_msi_is_settled_too),
        cmocka_unit_test(a_route_can_change),
        cmocka_unit_test(the_clock_goes_on_by_wall_time),
        cmocka_unit_test(the_wall_clock_is_written_with_the_clock),
        cmocka_unit_test(what_kvm_writes_is_dirty_in_its_range),
        cmocka_unit_test(the_tsc_goes_on),
    };

    return rig_skip() ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
