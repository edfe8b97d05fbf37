/*
 * A vCPU and its thread.
 *
 * Theory of the kick: the kicker first publishes what it wants (a flag of the monitor), then sets
 * run->immediate_exit, then signals the thread.  The vCPU thread clears immediate_exit only after
 * KVM_RUN has returned EINTR, and looks at the flag after that.  If the kick comes before KVM_RUN,
 * immediate_exit makes it return at once; if it comes inside, the signal does; if it comes after
 * the clearing, the flag is seen, and the immediate_exit left over costs one empty turn.  The
 * handler exists so that the signal interrupts and does not kill, and does the kicker's part for an
 * alarm, which is the same signal from a timer of the thread's own.
 *
 * SIGUSR1, since a standard signal does not queue: a thousand kicks are one.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "hv/kvm_priv.h"

#define KICK_SIGNAL SIGUSR1

/* A kicker has set immediate_exit before it signals; nobody has for the alarm. */
static void kick_handler(int sig, siginfo_t *si, void *context)
{
    if (si->si_code == SI_TIMER) {
        struct kvm_run *run = si->si_value.sival_ptr;

        __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    }
}

/* Blocked in the caller, so that threads made later inherit that: only vCPU threads take it. */
int kvm_kick_signal_init(struct err *e)
{
    struct sigaction sa = {.sa_sigaction = kick_handler, .sa_flags = SA_SIGINFO};
    sigset_t set;

    sigemptyset(&sa.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    if (sigaction(KICK_SIGNAL, &sa, NULL) < 0 || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return err_set_errno(e, -errno, STAGE, "the signal that interrupts vCPUs");
    return 0;
}

static int make_alarm(struct hv_vcpu *v, pid_t tid)
{
    struct sigevent se = {.sigev_notify = SIGEV_THREAD_ID,
                          .sigev_signo = KICK_SIGNAL,
                          .sigev_value.sival_ptr = v->run};

    se._sigev_un._tid = tid; /* newer C libraries call it sigev_notify_thread_id */
    if (v->tid)
        timer_delete(v->alarm);
    v->tid = 0;
    return timer_create(CLOCK_MONOTONIC, &se, &v->alarm) < 0 ? -errno : 0;
}

int hv_vcpu_thread_init(struct hv_vcpu *v, struct err *e)
{
    pid_t tid = (pid_t)syscall(SYS_gettid);
    sigset_t set;
    int rc;

    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    rc = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (rc != 0)
        return err_set_errno(e, -rc, STAGE, "vCPU %u: kick signal", v->index);
    rc = make_alarm(v, tid);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: a timer for its thread", v->index);
    __atomic_store_n(&v->tid, tid, __ATOMIC_SEQ_CST);
    return 0;
}

void hv_vcpu_alarm(struct hv_vcpu *v, uint64_t ns)
{
    const struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(ns / NS_PER_S),
                     .tv_nsec = (long)(ns % NS_PER_S) + (ns == 0)}
    };

    timer_settime(v->alarm, 0, &t, NULL); /* cannot fail: a valid time, a timer of ours */
}

void hv_vcpu_kick(struct hv_vcpu *v)
{
    pid_t tid;

    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    tid = __atomic_load_n(&v->tid, __ATOMIC_SEQ_CST);
    if (tid)
        syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}

static int map_run(struct hv_vcpu *v)
{
    int size = kvm_ioctl_value(v->vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *area;

    if (size < (int)sizeof(struct kvm_run))
        return size < 0 ? size : -EINVAL;
    area = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (area == MAP_FAILED)
        return -errno;
    v->run = area;
    v->run_size = (size_t)size;
    return 0;
}

/* KVM then refuses paravirtual MSRs that CPUID does not offer: what a guest cannot have here, it
 * cannot miss on a host that has it not. */
static int enforce_pv_cpuid(struct hv_vcpu *v)
{
    struct kvm_enable_cap c = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};

    if (kvm_ioctl_value(v->vm->fd, KVM_CHECK_EXTENSION, c.cap) <= 0)
        return 0;
    return kvm_ioctl(v->fd, KVM_ENABLE_CAP, &c);
}

static bool has_tsc_offset(const struct hv_vcpu *v)
{
    struct kvm_device_attr a = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET};

    return kvm_ioctl(v->fd, KVM_HAS_DEVICE_ATTR, &a) == 0;
}

static int set_up(struct hv_vcpu *v, const struct x86_cpuid *cpuid, struct err *e)
{
    int rc;

    v->fd = kvm_ioctl_value(v->vm->fd, KVM_CREATE_VCPU, v->index);
    if (v->fd < 0)
        return err_set_errno(e, v->fd, STAGE, "vCPU %u", v->index);
    rc = map_run(v);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: run area", v->index);
    rc = kvm_ring_map(v, e);
    if (rc == 0)
        rc = kvm_vcpu_cpuid(v, cpuid, e);
    if (rc < 0)
        return rc;
    rc = enforce_pv_cpuid(v);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: paravirtual features", v->index);
    v->vm->caps.vcpu_tsc_offset = has_tsc_offset(v);
    return v->vm->have_msrs ? kvm_vcpu_snapshot(v, e) : 0;
}

int hv_vcpu_new(struct hv_vm *vm, uint32_t index, const struct x86_cpuid *cpuid,
                struct hv_vcpu **out, struct err *e)
{
    struct hv_vcpu *v;
    int rc;

    *out = NULL;
    if (index != vm->nvcpus || index >= vm->vcpus_max)
        return err_set(e, -EINVAL, STAGE, "vCPU %u: %u of %u exist, and they come in order", index,
                       vm->nvcpus, vm->vcpus_max);
    v = calloc(1, sizeof(*v));
    if (!v)
        return err_set_errno(e, -ENOMEM, STAGE, "vCPU %u", index);
    v->vm = vm;
    v->index = index;
    v->fd = -1;
    rc = set_up(v, cpuid, e);
    if (rc < 0) {
        kvm_vcpu_free(v);
        return rc;
    }
    vm->vcpus[vm->nvcpus++] = v;
    *out = v;
    return 0;
}

void kvm_vcpu_free(struct hv_vcpu *v)
{
    if (v->tid)
        timer_delete(v->alarm);
    kvm_ring_unmap(v);
    if (v->run)
        munmap(v->run, v->run_size);
    if (v->fd >= 0)
        close(v->fd);
    free(v->reset);
    free(v);
}

static int internal_error(struct hv_vcpu *v, struct hv_exit *x, struct err *e)
{
    const struct kvm_run *r = v->run;
    struct kvm_regs regs = {0};

    x->kind = HV_EXIT_ERROR;
    if (kvm_ioctl(v->fd, KVM_GET_REGS, &regs) < 0)
        regs.rip = 0;
    switch (r->exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
        err_set(e, -EIO, STAGE, "vCPU %u: KVM internal error %u (%s) at rip 0x%llx", v->index,
                r->internal.suberror,
                r->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                    ? "an instruction it cannot emulate"
                    : "see Linux uapi kvm.h",
                regs.rip);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        err_set(e, -EIO, STAGE,
                "vCPU %u: the processor refused the guest's state, reason 0x%llx, at rip 0x%llx",
                v->index, r->fail_entry.hardware_entry_failure_reason, regs.rip);
        break;
    default:
        err_set(e, -EIO, STAGE, "vCPU %u: exit %u that Godwit does not know, at rip 0x%llx",
                v->index, r->exit_reason, regs.rip);
        break;
    }
    return 0;
}

static void system_event(const struct kvm_run *r, struct hv_exit *x)
{
    x->kind = r->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? HV_EXIT_POWEROFF : HV_EXIT_RESET;
}

static void io_exit(struct kvm_run *r, struct hv_exit *x)
{
    x->kind = HV_EXIT_IO;
    x->write = r->io.direction == KVM_EXIT_IO_OUT;
    x->io.port = r->io.port;
    x->io.size = r->io.size;
    x->io.count = r->io.count;
    x->io.data = (uint8_t *)r + r->io.data_offset;
}

static void mmio_exit(struct kvm_run *r, struct hv_exit *x)
{
    x->kind = HV_EXIT_MMIO;
    x->write = r->mmio.is_write;
    x->mmio.gpa = r->mmio.phys_addr;
    x->mmio.len = r->mmio.len;
    x->mmio.data = r->mmio.data;
}

static int decode_exit(struct hv_vcpu *v, struct hv_exit *x, struct err *e)
{
    memset(x, 0, sizeof(*x));
    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        io_exit(v->run, x);
        return 0;
    case KVM_EXIT_MMIO:
        mmio_exit(v->run, x);
        return 0;
    case KVM_EXIT_INTR:
        x->kind = HV_EXIT_INTR;
        return 0;
    case KVM_EXIT_HLT:
        x->kind = HV_EXIT_HALT;
        return 0;
    case KVM_EXIT_SHUTDOWN:
        x->kind = HV_EXIT_SHUTDOWN;
        return 0;
    case KVM_EXIT_SYSTEM_EVENT:
        system_event(v->run, x);
        return 0;
    default:
        return internal_error(v, x, e);
    }
}

/* 0: an exit is in the run area.  -EINTR: kicked.  EAGAIN is an AP that was woken and still waits
 * for its SIPI.  A full dirty ring is nobody's business but ours. */
static int enter(struct hv_vcpu *v)
{
    for (;;) {
        int rc = ioctl(v->fd, KVM_RUN, 0);

        if (rc < 0 && errno != EAGAIN)
            return -errno;
        if (rc < 0)
            continue;
        if (v->run->exit_reason != KVM_EXIT_DIRTY_RING_FULL)
            return 0;
        rc = kvm_ring_full(v);
        if (rc < 0)
            return rc;
    }
}

int hv_vcpu_run(struct hv_vcpu *v, struct hv_exit *x, struct err *e)
{
    int rc;

    if (v->exit_held) {
        v->exit_held = false;
        return decode_exit(v, x, e);
    }
    rc = enter(v);
    if (rc == 0)
        return decode_exit(v, x, e);
    if (rc != -EINTR)
        return err_set_errno(e, rc, STAGE, "vCPU %u: KVM_RUN", v->index);
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    memset(x, 0, sizeof(*x));
    x->kind = HV_EXIT_INTR;
    return 0;
}

/* immediate_exit stays set: a kick that came meanwhile must not be lost, and one INTR too many does
 * no harm. */
int hv_vcpu_complete_io(struct hv_vcpu *v, struct err *e)
{
    int rc;

    if (v->exit_held)
        return -EAGAIN;
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    rc = enter(v);
    if (rc == -EINTR)
        return 0;
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "vCPU %u: completing I/O", v->index);
    v->exit_held = true;
    return -EAGAIN;
}

void hv_vcpu_clock_paused(struct hv_vcpu *v)
{
    /* EINVAL: this guest does not use kvmclock, so there is nobody to tell. */
    kvm_ioctl_value(v->fd, KVM_KVMCLOCK_CTRL, 0);
}
