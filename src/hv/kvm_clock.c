/*
 * The guest's clocks, moved together.
 *
 * A guest sees two clocks: kvmclock (nanoseconds; Linux' clocksource under KVM) and the TSC of each
 * vCPU, from which kvmclock is interpolated.  Saved is one instant of the source, read by KVM in
 * one go: kvmclock, CLOCK_REALTIME and the host's TSC, and each vCPU's TSC offset.  So the guest's
 * TSC at that instant is known to the tick, and equal among vCPUs if it was.
 *
 * Loading sets kvmclock first, advanced by the wall time that went by (CLOCK_REALTIME of the two
 * hosts, which must agree), and then reads one instant of the destination.  Between the two
 * instants kvmclock went on by some nanoseconds; the guest's TSC has to have gone on by as many
 * ticks of the guest's rate, which gives the offset (Documentation/virt/kvm/devices/vcpu.rst,
 * TSC_OFFSET):
 *
 *   tsc_then = scale_src(host_tsc_src) + offset_src
 *   offset_dst = tsc_then + (clock_dst - clock_src) * rate - scale_dst(host_tsc_dst)
 *
 * TSC_DEADLINE is compared with the TSC, so it comes after that; and the kvmclock wall clock is
 * computed from the clock by KVM when its MSR is written, so that too.
 *
 * KVM_GET_CLOCK tells realtime and host TSC only while KVM's master clock is on: not on hosts whose
 * clocksource is not the TSC, nor before the first run.  Then this file samples clock and realtime
 * itself, keeping the tightest of a few tries.  On such hosts KVM sets a vCPU's TSC back to what it
 * last showed whenever the vCPU is loaded, so offsets mean nothing, and no two vCPUs agree: all of
 * them go on from the latest that any has seen, which is forward for each.
 *
 * Kernels before 5.16 have no TSC_OFFSET: the TSC is written, and KVM's rule that writes within a
 * second of what it expects mean "the same as the last vCPU" is used for agreement between vCPUs,
 * after the first vCPU has been thrown off by a write far away.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "hv/kvm_priv.h"
#include "hv/tsc.h"

_Static_assert(sizeof(struct kvm_clock_data) == 48, "kvm_clock_data");

#define SAMPLE_TRIES 7
#define CLOCK_WHOLE  (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

struct instant {
    uint64_t clock_ns, realtime_ns, host_tsc;
    bool by_kvm; /* read in one go: the master clock is on */
};

static uint64_t host_tsc(void)
{
    _mm_lfence();
    return __rdtsc();
}

/* One try of the fallback: what lies between two readings of the TSC took place in their middle. */
static int sample_once(struct hv_vm *vm, struct instant *out, uint64_t *width)
{
    struct kvm_clock_data k = {0};
    uint64_t t0 = host_tsc(), t1, real;
    int rc = kvm_ioctl(vm->fd, KVM_GET_CLOCK, &k);

    if (rc < 0)
        return rc;
    real = clock_realtime_ns();
    t1 = host_tsc();
    if ((k.flags & CLOCK_WHOLE) == CLOCK_WHOLE) {
        *out = (struct instant){k.clock, k.realtime, k.host_tsc, true};
        *width = 0;
        return 0;
    }
    *out = (struct instant){k.clock, real, t0 + (t1 - t0) / 2, false};
    *width = t1 - t0;
    return 0;
}

static int sample(struct hv_vm *vm, struct instant *best, struct err *e)
{
    uint64_t best_width = UINT64_MAX;

    for (int i = 0; i < SAMPLE_TRIES && best_width > 0; i++) {
        struct instant t;
        uint64_t width;
        int rc = sample_once(vm, &t, &width);

        if (rc < 0)
            return err_set_errno(e, rc, STAGE, "reading the guest's clock");
        if (width < best_width) {
            *best = t;
            best_width = width;
        }
    }
    return 0;
}

/* As last set, and not asked of KVM: that would wait for a vCPU that is in the guest. */
static uint32_t vcpu_khz(const struct hv_vcpu *v)
{
    return v->tsc_khz ? v->tsc_khz : v->vm->caps.tsc_khz;
}

/* Whether KVM scales for this rate: it does as soon as the rate is outside its tolerance. */
static bool is_scaled(const struct hv_vm *vm, uint32_t guest_khz)
{
    return vm->caps.tsc_control &&
           tsc_ppm(guest_khz, vm->caps.tsc_khz) > vm->caps.tsc_tolerance_ppm;
}

int hv_vm_get_clock(struct hv_vm *vm, struct x86_clock_state *s, struct err *e)
{
    struct instant t;
    int rc = sample(vm, &t, e);

    if (rc < 0)
        return rc;
    *s = (struct x86_clock_state){
        .clock_ns = t.clock_ns,
        .realtime_ns = t.realtime_ns,
        .host_tsc = t.host_tsc,
        .host_tsc_khz = vm->caps.tsc_khz,
        .realtime_valid = 1,
        .host_tsc_valid = t.by_kvm,
        .tsc_scaled = vm->nvcpus > 0 && is_scaled(vm, vcpu_khz(vm->vcpus[0])),
    };
    return 0;
}

/* ---- a vCPU's share ---- */

static int tsc_offset_attr(struct hv_vcpu *v, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr a = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uintptr_t)offset,
    };

    return kvm_ioctl(v->fd, request, &a);
}

int kvm_vcpu_time_get(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e)
{
    const uint32_t index[] = {MSR_TSC, MSR_TSC_DEADLINE};
    uint64_t value[2];
    int rc = kvm_msrs_get(v, index, value, 2, e);

    if (rc < 0)
        return rc;
    s->tsc = value[0];
    s->tsc_deadline = value[1];
    s->tsc_khz = vcpu_khz(v);
    s->tsc_offset_valid = 0;
    if (!v->vm->caps.vcpu_tsc_offset)
        return 0;
    rc = tsc_offset_attr(v, KVM_GET_DEVICE_ATTR, &s->tsc_offset);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: TSC offset", v->index);
    s->tsc_offset_valid = 1;
    return 0;
}

void kvm_vcpu_time_note(struct hv_vcpu *v, const struct x86_vcpu_state *s)
{
    v->time = (struct vcpu_time){
        .pending = true,
        .tsc = s->tsc,
        .tsc_offset = s->tsc_offset,
        .tsc_offset_valid = s->tsc_offset_valid,
        .tsc_deadline = s->tsc_deadline,
    };
    for (uint32_t i = 0; i < s->nmsrs; i++) {
        if (s->msr_index[i] == MSR_KVM_WALL_CLOCK0)
            v->time.wall_clock[0] = s->msr_value[i];
        if (s->msr_index[i] == MSR_KVM_WALL_CLOCK1)
            v->time.wall_clock[1] = s->msr_value[i];
    }
}

/* Within the tolerance KVM notes the rate and scales nothing; so a machine keeps the rate it was
 * born with, and small differences do not add up over its moves. */
int kvm_vcpu_tsc_khz_set(struct hv_vcpu *v, uint32_t khz, struct err *e)
{
    const struct hv_caps *c = &v->vm->caps;
    uint64_t ppm = tsc_ppm(khz, c->tsc_khz);
    int rc;

    if (khz == vcpu_khz(v))
        return 0;
    if (khz == 0)
        return err_set(e, -EPROTO, STAGE, "vCPU %u: a TSC rate of 0 kHz", v->index);
    if (ppm > c->tsc_tolerance_ppm && !c->tsc_control)
        return err_set(
            e, -ENOTSUP, STAGE,
            "the guest's TSC runs at %u kHz, this host's at %u: %" PRIu64
            " ppm apart, and this host cannot scale (at most %u ppm): choose a host with "
            "TSC scaling or an equal rate",
            khz, c->tsc_khz, ppm, c->tsc_tolerance_ppm);
    rc = kvm_ioctl_value(v->fd, KVM_SET_TSC_KHZ, khz);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: KVM refuses a TSC of %u kHz", v->index, khz);
    v->tsc_khz = khz;
    return 0;
}

/* ---- loading ---- */

/* KVM adds the time since `realtime` itself, at the very instant it sets the clock; without that
 * flag, or beyond its clamp, we do. */
static int set_kvmclock(struct hv_vm *vm, const struct x86_clock_state *s, bool was_running,
                        struct err *e)
{
    struct kvm_clock_data k = {.clock = s->clock_ns};
    uint64_t elapsed = 0;
    int rc;

    if (was_running && s->realtime_valid)
        elapsed = tsc_clamp_elapsed(s->realtime_ns, clock_realtime_ns());
    if (elapsed > 0 && elapsed < TSC_ELAPSED_MAX_NS && vm->caps.clock_realtime) {
        k.flags = KVM_CLOCK_REALTIME;
        k.realtime = s->realtime_ns;
    } else {
        k.clock += elapsed;
    }
    rc = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &k);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "setting the guest's clock") : 0;
}

static uint64_t latest_tsc(const struct hv_vm *vm)
{
    uint64_t latest = 0;

    for (uint32_t i = 0; i < vm->nvcpus; i++)
        if (vm->vcpus[i]->time.pending && vm->vcpus[i]->time.tsc > latest)
            latest = vm->vcpus[i]->time.tsc;
    return latest;
}

/* The guest's TSC at the instant of s. */
static uint64_t tsc_then(const struct hv_vcpu *v, const struct x86_clock_state *s, uint32_t khz)
{
    if (!v->time.tsc_offset_valid || !s->host_tsc_valid)
        return latest_tsc(v->vm);
    return tsc_scale(s->host_tsc, khz, s->host_tsc_khz, s->tsc_scaled) + v->time.tsc_offset;
}

static uint64_t offset_now(const struct hv_vcpu *v, const struct x86_clock_state *s,
                           const struct instant *now)
{
    uint32_t khz = vcpu_khz(v);
    const struct tsc_move m = {
        .tsc_then = tsc_then(v, s, khz),
        .clock_then_ns = s->clock_ns,
        .clock_now_ns = now->clock_ns,
        .guest_khz = khz,
        .host_tsc_now = now->host_tsc,
        .host_khz = v->vm->caps.tsc_khz,
        .scaled = is_scaled(v->vm, khz),
    };

    return tsc_offset(&m);
}

static int write_tsc(struct hv_vcpu *v, uint64_t offset, struct err *e)
{
    const uint32_t index = MSR_TSC;
    uint32_t khz = vcpu_khz(v);
    bool scaled = is_scaled(v->vm, khz);
    uint64_t value;
    int rc = 0;

    if (v->index == 0) { /* away from anything KVM could take for agreement */
        value = tsc_scale(host_tsc(), khz, v->vm->caps.tsc_khz, scaled) + offset +
                (uint64_t)tsc_ticks(10 * (int64_t)NS_PER_S, khz);
        rc = kvm_msrs_set(v, &index, &value, 1, e);
    }
    if (rc < 0)
        return rc;
    value = tsc_scale(host_tsc(), khz, v->vm->caps.tsc_khz, scaled) + offset;
    return kvm_msrs_set(v, &index, &value, 1, e);
}

static int set_tsc(struct hv_vcpu *v, const struct x86_clock_state *s, const struct instant *now,
                   struct err *e)
{
    uint64_t offset = offset_now(v, s, now);
    int rc;

    if (!v->vm->caps.vcpu_tsc_offset)
        return write_tsc(v, offset, e);
    rc = tsc_offset_attr(v, KVM_SET_DEVICE_ATTR, &offset);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "vCPU %u: TSC offset", v->index) : 0;
}

static int set_timers(struct hv_vcpu *v, struct err *e)
{
    const uint32_t all[] = {MSR_KVM_WALL_CLOCK0, MSR_KVM_WALL_CLOCK1, MSR_TSC_DEADLINE};
    const uint64_t values[] = {v->time.wall_clock[0], v->time.wall_clock[1], v->time.tsc_deadline};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        int rc = values[i] ? kvm_msrs_set(v, &all[i], &values[i], 1, e) : 0;

        if (rc < 0)
            return rc;
    }
    return 0;
}

int hv_vm_set_clock(struct hv_vm *vm, const struct x86_clock_state *s, bool was_running,
                    struct err *e)
{
    struct instant now;
    int rc = set_kvmclock(vm, s, was_running, e);

    if (rc == 0)
        rc = sample(vm, &now, e);
    for (uint32_t i = 0; i < vm->nvcpus && rc == 0; i++)
        if (vm->vcpus[i]->time.pending)
            rc = set_tsc(vm->vcpus[i], s, &now, e);
    for (uint32_t i = 0; i < vm->nvcpus && rc == 0; i++)
        if (vm->vcpus[i]->time.pending)
            rc = set_timers(vm->vcpus[i], e);
    for (uint32_t i = 0; i < vm->nvcpus && rc == 0; i++)
        vm->vcpus[i]->time.pending = false;
    return rc;
}
