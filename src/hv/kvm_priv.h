/*
 * What the files of the KVM hypervisor share; nobody outside src/hv includes this.
 *
 *   kvm.c         /dev/kvm, capabilities, the VM, its memory slots
 *   kvm_vcpu.c    a vCPU: run, exits, kick
 *   kvm_x86_64.c  registers, events, and the whole vCPU state
 *   kvm_cpuid.c   CPUID
 *   kvm_xsave.c   XCR0 and the XSAVE area
 *   kvm_msr.c     which MSRs a machine has; get and set with names
 *   kvm_clock.c   kvmclock and the TSCs, moved together
 *   kvm_chips.c   PIC, IOAPIC, PIT
 *   kvm_irq.c     lines, MSIs by irqfd, doorbells
 *   kvm_dirty.c   the dirty log, by KVM's bitmap
 *   kvm_ring.c    the dirty log, by the vCPUs' rings
 */
#ifndef GODWIT_HV_KVM_PRIV_H
#define GODWIT_HV_KVM_PRIV_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "hv/hv.h"

#define STAGE "kvm"

/* MSRs that kvm_clock.c and kvm_msr.c treat by name (SDM vol. 4; Linux kvm_para.h). */
#define MSR_TSC             0x10U
#define MSR_TSC_DEADLINE    0x6e0U
#define MSR_KVM_WALL_CLOCK0 0x11U
#define MSR_KVM_WALL_CLOCK1 0x4b564d00U

struct hv_routes; /* kvm_irq.c */

struct hv_vm {
    int kvm_fd, fd;
    struct hv_caps caps;
    struct guest_mem *mem;
    uint32_t vcpus_max, nvcpus;
    struct hv_vcpu **vcpus;
    bool have_msrs;
    struct x86_msr_list msrs;        /* what get and set state move */
    struct x86_vm_state reset_chips; /* as KVM made them */
    struct hv_routes *routes;
    uint64_t *dirty_scratch[GUEST_MEM_RANGES]; /* one slot's log, while logging is on */
    /* Guards the rings, their reset, ring_users and ring_dirty itself (not its bits). */
    pthread_mutex_t ring_lock;
    uint32_t ring_users;
    bool ring_lost;       /* entries were lost, and not everything is armed and dirty yet */
    uint64_t *ring_dirty; /* bit per page of the memory file; NULL while logging is off */
};

/* What waits in a vCPU for the VM's clock: all of it is relative to that. */
struct vcpu_time {
    bool pending;
    uint64_t tsc, tsc_offset, tsc_deadline;
    bool tsc_offset_valid;
    uint64_t wall_clock[2]; /* MSR_KVM_WALL_CLOCK0 and 1: writing them writes guest RAM */
};

/* A vCPU's dirty ring, while the machine uses them. */
struct kvm_ring {
    struct kvm_dirty_gfn *entries; /* shared with KVM */
    uint32_t next;                 /* where KVM resets from; not masked */
    uint32_t ngathered;
    uint64_t *gathered; /* pages taken out and not yet published */
    uint64_t dirtied;   /* pages, ever */
    uint32_t overruns;
    bool full_of_nothing; /* called full, with no entry in it; and none was taken out since */
};

struct hv_vcpu {
    struct hv_vm *vm;
    uint32_t index;
    int fd;
    struct kvm_run *run;
    size_t run_size;
    pid_t tid;      /* atomic; 0 until hv_vcpu_thread_init */
    timer_t alarm;  /* of that thread; valid with tid */
    bool exit_held; /* an exit seen by hv_vcpu_complete_io, for the next hv_vcpu_run */
    struct x86_cpuid cpuid;
    uint32_t tsc_khz;             /* as kvm_vcpu_tsc_khz_set gave it to KVM; 0: the host's */
    uint64_t xcr0_mask;           /* XSAVE components that its CPUID shows */
    struct x86_vcpu_state *reset; /* as at power-on; NULL until the MSR list is known */
    struct vcpu_time time;
    struct kvm_ring ring;
};

/* ioctl that retries EINTR, returns >= 0 or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long value);

int kvm_vcpu_cpuid(struct hv_vcpu *v, const struct x86_cpuid *cpuid, struct err *e);
/* 0 or -errno without a text; set: with one. */
int kvm_xcrs_get(struct hv_vcpu *v, struct x86_vcpu_state *s);
int kvm_xcrs_set(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e);
int kvm_xsave_get(struct hv_vcpu *v, struct x86_vcpu_state *s);
int kvm_xsave_set(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e);

void kvm_vcpu_free(struct hv_vcpu *v);
int kvm_vcpu_snapshot(struct hv_vcpu *v, struct err *e);

int kvm_kick_signal_init(struct err *e);

/* n <= X86_MSRS_MAX.  -EIO: an MSR was refused; the text names it. */
int kvm_msrs_get(struct hv_vcpu *v, const uint32_t *index, uint64_t *value, uint32_t n,
                 struct err *e);
int kvm_msrs_set(struct hv_vcpu *v, const uint32_t *index, const uint64_t *value, uint32_t n,
                 struct err *e);

/* The part of a vCPU's state that has to do with time.  Loading only notes it: hv_vm_set_clock
 * applies it to all vCPUs at once. */
int kvm_vcpu_time_get(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e);
void kvm_vcpu_time_note(struct hv_vcpu *v, const struct x86_vcpu_state *s);
int kvm_vcpu_tsc_khz_set(struct hv_vcpu *v, uint32_t khz, struct err *e);

int kvm_routes_new(struct hv_vm *vm, struct err *e);
void kvm_routes_free(struct hv_vm *vm);

uint32_t kvm_ring_max(const struct hv_vm *vm);
/* Before any vCPU is made. */
int kvm_ring_enable(struct hv_vm *vm, uint32_t entries, struct err *e);
int kvm_ring_map(struct hv_vcpu *v, struct err *e);
void kvm_ring_unmap(struct hv_vcpu *v);
/* On the vCPU's thread, after KVM_EXIT_DIRTY_RING_FULL: makes room. 0 or -errno */
int kvm_ring_full(struct hv_vcpu *v);
/* What hv_dirty_* do when the machine uses rings; the range of clear is checked. */
int kvm_ring_start(struct hv_vm *vm, struct err *e);
void kvm_ring_stop(struct hv_vm *vm);
int kvm_ring_get(struct hv_vm *vm, uint64_t *bitmap, struct err *e);
void kvm_ring_clear(struct hv_vm *vm, uint64_t first, uint64_t n, const uint64_t *bits);

/* flags: KVM_MEM_*, for all slots. */
int kvm_slots_set(struct hv_vm *vm, uint32_t flags, struct err *e);

#endif
