/*
 * The hypervisor behind one header.  kvm.c (with kvm_x86_64.c) is the real one; fake.c keeps memory
 * and interrupt lines in plain arrays so that devices and boards are tested without KVM.
 *
 * Ownership: hv_vm_free frees everything made through it.  Threads: vCPU functions are called on
 * the vCPU's own thread while it runs; once it is paused (not in hv_vcpu_run) any one thread may
 * get and set its state.  Interrupt functions are thread-safe.
 */
#ifndef GODWIT_HV_HV_H
#define GODWIT_HV_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/guest_mem.h"
#include "state/x86_state.h"

/* KVM's default bound for two TSC rates to be the same. */
#define HV_TSC_TOLERANCE_PPM 250

struct hv_vm;
struct hv_vcpu;

enum hv_exit_kind {
    HV_EXIT_IO,       /* io: complete by filling data (in), then run again */
    HV_EXIT_MMIO,     /* mmio: likewise */
    HV_EXIT_INTR,     /* kicked (signal or immediate_exit): nothing pending */
    HV_EXIT_HALT,     /* guest halted without in-kernel irqchip (never with one) */
    HV_EXIT_SHUTDOWN, /* triple fault */
    HV_EXIT_RESET,    /* KVM_SYSTEM_EVENT reset */
    HV_EXIT_POWEROFF, /* KVM_SYSTEM_EVENT shutdown */
    HV_EXIT_ERROR,    /* internal error: the vCPU cannot go on; text in *e of hv_vcpu_run */
};

struct hv_exit {
    enum hv_exit_kind kind;
    bool write;
    union {
        struct {
            uint16_t port;
            uint8_t size;   /* 1, 2, 4 */
            uint32_t count; /* string I/O: elements in data */
            void *data;     /* count * size bytes inside the run area */
        } io;
        struct {
            uint64_t gpa;
            uint32_t len; /* 1..8 */
            void *data;
        } mmio;
    };
};

struct hv_vm_config {
    struct guest_mem *mem; /* its ranges become memory slots 0.. */
    uint32_t vcpus;
    /* Entries of each vCPU's dirty ring, a power of two; 0: the dirty bitmap.  -ENOTSUP where the
     * host has no ring, -EINVAL beyond its largest. */
    uint32_t dirty_ring;
};

#define HV_DIRTY_RING_MIN 1024 /* KVM keeps some hundred entries of each to itself */
#define HV_DIRTY_RING_MAX 65536

/* What this host offers; filled once, pure facts for cpu/ and verdict/. */
struct hv_caps {
    bool clock_realtime; /* KVM_CLOCK_REALTIME in KVM_CAP_ADJUST_CLOCK */
    bool tsc_control;    /* TSC scaling */
    bool xsave2;
    bool vcpu_tsc_offset; /* KVM_VCPU_TSC_OFFSET attribute */
    uint32_t xsave_size;
    uint32_t max_vcpus;
    uint32_t tsc_khz;
    uint32_t tsc_tolerance_ppm; /* guest rates this near to tsc_khz need no scaling */
    bool sregs2;
    bool dirty_initially_set;
    uint32_t dirty_ring_max; /* entries; 0: KVM has no ring */
    uint32_t dirty_ring;     /* entries of those in use here; 0: the bitmap */
    bool triple_fault_event;
    uint32_t max_routes; /* interrupt routes */
    char name[64];       /* "KVM 12, Linux 6.18" */
};

/* Opens /dev/kvm (-ENOENT, -EACCES with what to do) and makes a VM: irqchip, PIT with port 0x61,
 * slots, no vCPUs.  Keeps 0xfeffc000-0xfeffffff for itself: boards put nothing there.  Call it
 * before other threads exist: it blocks SIGUSR1 in the caller, whose children inherit that. */
int hv_vm_new(const struct hv_vm_config *c, struct hv_vm **out, struct err *e);
void hv_vm_free(struct hv_vm *vm);
const struct hv_caps *hv_vm_caps(const struct hv_vm *vm);
/* The CPUID leaves KVM can offer (KVM_GET_SUPPORTED_CPUID), sanitised for cpu/. */
int hv_vm_supported_cpuid(struct hv_vm *vm, struct x86_cpuid *out, struct err *e);

/* ---- vCPUs ---- */
/* apic_id == index; in order from 0.  All before the first runs.  cpuid is this vCPU's own. */
int hv_vcpu_new(struct hv_vm *vm, uint32_t index, const struct x86_cpuid *cpuid,
                struct hv_vcpu **out, struct err *e);
/* Runs until an exit the monitor must handle.  0 with *x filled, or -errno (fatal). */
int hv_vcpu_run(struct hv_vcpu *v, struct hv_exit *x, struct err *e);
/* Any thread: makes hv_vcpu_run return HV_EXIT_INTR soon (immediate_exit + signal to its thread).
 */
void hv_vcpu_kick(struct hv_vcpu *v);
/* The vCPU's own thread: makes hv_vcpu_run return HV_EXIT_INTR once, ns from now; replaces the one
 * set before. */
void hv_vcpu_alarm(struct hv_vcpu *v, uint64_t ns);
/* The vCPU's own thread, before its first run: its kick signal is set up and blocked elsewhere. */
int hv_vcpu_thread_init(struct hv_vcpu *v, struct err *e);
/* Completes a pending PIO/MMIO exit (KVM_RUN with immediate_exit), so that state is whole; best on
 * the vCPU's own thread.  Not needed after HV_EXIT_INTR: that comes only when nothing is pending.
 * -EAGAIN: the instruction wants one more access (a rep, a split MMIO): take it from hv_vcpu_run,
 * serve it, and come again. */
int hv_vcpu_complete_io(struct hv_vcpu *v, struct err *e);
/* Puts a vCPU back to its state at power-on (BSP: reset vector state; APs wait for INIT/SIPI).  The
 * TSC runs on.  -EINVAL before hv_vm_set_msr_list. */
int hv_vcpu_reset(struct hv_vcpu *v, struct err *e);
/* Entry for the boot protocols; called on the BSP after reset, before the first run. */
int hv_vcpu_set_regs(struct hv_vcpu *v, const struct x86_regs *regs, const struct x86_sregs *sregs,
                     struct err *e);
int hv_vcpu_get_regs(struct hv_vcpu *v, struct x86_regs *regs, struct x86_sregs *sregs,
                     struct err *e);
/* Everything, in the order of doc/architecture.md.  A failed MSR on set is fatal and named, as are
 * MSRs other than the machine's list, XSAVE components its CPUID does not show, and a TSC rate this
 * host cannot give (-ENOTSUP).  TSC, TSC deadline and the kvmclock wall clock are only noted:
 * hv_vm_set_clock loads them for all vCPUs at one instant, and must follow before any runs. */
int hv_vcpu_get_state(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e);
int hv_vcpu_set_state(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e);
/* KVM_KVMCLOCK_CTRL: tells the guest it was paused (no soft-lockup complaint). */
void hv_vcpu_clock_paused(struct hv_vcpu *v);

/* MSRs of a new machine: saved ones that this host can also write back (decided by writing them on
 * the given fresh vCPU); the others are listed in *left_out for the manifest. */
int hv_vm_msr_list(struct hv_vm *vm, struct hv_vcpu *v, struct x86_msr_list *out,
                   struct x86_msr_list *left_out, struct err *e);
/* Must be called once, before get/set state and before any vCPU ran: made here at creation, or
 * taken from the manifest.  -ENOTSUP names the MSRs that this host's KVM does not have. */
int hv_vm_set_msr_list(struct hv_vm *vm, const struct x86_msr_list *msrs, struct err *e);

/* ---- chips and clock of the VM (vCPUs paused) ---- */
int hv_vm_get_state(struct hv_vm *vm, struct x86_vm_state *s, struct err *e);
int hv_vm_set_state(struct hv_vm *vm, const struct x86_vm_state *s, struct err *e);
int hv_vm_reset_chips(struct hv_vm *vm, struct err *e);
int hv_vm_get_clock(struct hv_vm *vm, struct x86_clock_state *s, struct err *e);
/* was_running: advances by the wall time since the save (CLOCK_REALTIME, clamped to 0..1 h), so
 * that the guest's clock is right; else continues where it stopped (then call it just before the
 * vCPUs run).  vCPUs whose state was set since get their TSC so that it agrees with the clock to
 * the tick, whatever the hosts' TSCs say; the TSCs of others are not touched. */
int hv_vm_set_clock(struct hv_vm *vm, const struct x86_clock_state *s, bool was_running,
                    struct err *e);

/* ---- interrupts ---- */
/* Level-triggered (or edge, as the IOAPIC pin says) line of the in-kernel irqchip.  GSI n is pin n
 * of the IOAPIC (0..23) and of the PICs (0..15), the PIT on 0: the MADT needs no override. */
int hv_irq_set_level(struct hv_vm *vm, uint32_t gsi, bool level);
/* A message-signalled interrupt with an irqfd: a handle, re-routed when the guest writes its
 * vector.  hv_msi_raise is an eventfd write: no exit, any thread. */
struct hv_msi;
int hv_msi_new(struct hv_vm *vm, struct hv_msi **out, struct err *e);
int hv_msi_route(struct hv_msi *m, uint64_t address, uint32_t data, struct err *e);
/* Between these, routes are only noted, and then given to KVM at once (tens of vectors after a
 * migration).  They nest; of the VM, not of a thread. */
void hv_route_begin(struct hv_vm *vm);
int hv_route_end(struct hv_vm *vm, struct err *e);
/* Lost while the MSI has no route: a device keeps that in its pending bits. */
void hv_msi_raise(struct hv_msi *m);
void hv_msi_free(struct hv_msi *m);
/* Waits until every raised MSI has reached the chips (before their state is read).  Devices are
 * quiet: what is raised meanwhile is delivered, but may come later. */
void hv_irq_settle(struct hv_vm *vm);

/* A doorbell: a guest write of `len` bytes (value `match` when len != 0) at addr signals eventfd.
 */
int hv_ioeventfd_add(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                     uint64_t match, int eventfd, struct err *e);
void hv_ioeventfd_del(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                      uint64_t match, int eventfd);

/* ---- dirty log; page numbers are offsets in the memory file / GUEST_PAGE_SIZE.  By the bitmap,
 * start, stop and get on one thread; by the ring, on any, and as often as start was called, stop
 * must be. ---- */
/* Bitmap: manual protect + initially-all-set where offered.  All pages count as dirty at first, or
 * none; by the ring, those of whoever uses the log already. */
int hv_dirty_start(struct hv_vm *vm, struct err *e);
void hv_dirty_stop(struct hv_vm *vm);
/* ORs what vCPUs wrote into bitmap; bits stay set until cleared. */
int hv_dirty_get(struct hv_vm *vm, uint64_t *bitmap, struct err *e);
/* first, n: multiples of 64 pages (n: or up to a slot's end). Thread-safe on disjoint ranges. */
int hv_dirty_clear(struct hv_vm *vm, uint64_t first, uint64_t n, const uint64_t *bits,
                   struct err *e);
/* How many pages each of the first n vCPUs has dirtied since it was made, while the log was on (a
 * page counts again once it was re-armed).  By the ring only, else -ENOTSUP.  Any thread. */
int hv_dirty_counts(struct hv_vm *vm, uint64_t *pages, uint32_t n, struct err *e);

#endif
