/*
 * One machine: memory, hypervisor, board and vCPU threads, put together.
 *
 * vm_new builds it stopped.  A fresh machine is then booted (vm_boot), an arriving one loaded
 * (vmstate.h); both begin to run with vm_resume.  Devices serve exactly while the machine runs:
 *
 *   vm_pause = vCPUs parked, devices told to stop;  vm_idle tells when nothing is in flight any
 * more.
 *
 * Threads: vm_new, vm_free and the memory functions on any one thread; pause, resume, boot and
 * reset on the main loop only.  The two calls back (vm_host) come from vCPU threads and must not
 * block.
 */
#ifndef GODWIT_VMM_VM_H
#define GODWIT_VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "hv/hv.h"
#include "machine/backend.h"
#include "machine/board.h"
#include "vmm/options.h"

enum vm_request { VM_REQUEST_RESET, VM_REQUEST_POWEROFF, VM_REQUEST_CRASH };

struct vm_host {
    void *opaque;
    void (*request)(void *opaque, enum vm_request what); /* any thread, must not block */
};

/* What a machine is made of beside its config; decided at creation, carried by the manifest. */
struct vm_cpu {
    struct x86_cpuid cpuid;
    struct x86_msr_list msrs, msrs_left_out;
    uint32_t tsc_khz;
};

struct vcpu;

struct vm {
    struct machine_config config;
    struct vm_host host;
    struct loop *loop;
    struct guest_mem *mem;
    struct hv_vm *hv;
    struct vm_cpu cpu;
    struct x86_clock_state held_clock; /* of a machine that arrived paused: set when it goes on */
    bool clock_held;
    struct board *board;
    const struct board_backends *backends;
    bool sandbox;

    uint32_t nvcpus;
    struct vcpu **vcpus;
    /* Guards what follows and each vCPU's gate; vCPU threads sleep on `wake`, who waits for them on
     * `parked_cond`. */
    pthread_mutex_t pause_lock;
    pthread_cond_t wake, parked_cond;
    atomic_bool interrupt; /* a vCPU must look at paused/quit before it runs on */
    bool paused, quit;
    uint32_t parked, errands;
    uint64_t parked_ns;  /* CLOCK_MONOTONIC when the last vCPU parked */
    uint64_t running_ns; /* when the first ran on, after the last resume; 0: not yet */
};

struct vm_params {
    const struct machine_config *config; /* checked */
    const char *mem_path;                /* or NULL */
    bool mem_prealloc;
    uint32_t dirty_ring; /* entries of each vCPU's; 0: the dirty bitmap */
    int mem_mount_fd;    /* backing_mount(), or -1 */
    bool arriving;       /* its memory comes from elsewhere: guest_mem_dense */
    struct loop *loop;
    struct vm_host host;
    const struct board_backends *backends; /* lent for the machine's life */
    bool sandbox;                          /* filter the vCPU threads' system calls */
    const struct vm_cpu *cpu; /* arriving machine: what it was created with; else NULL */
};

int vm_new(const struct vm_params *p, struct vm **out, struct err *e);
/* Ends the vCPU threads and frees everything. NULL is fine. Main loop only; frees the RAM too. */
void vm_free(struct vm *vm);
/* The devices of a machine that will not run again, first: what they hold is needed elsewhere. */
void vm_free_devices(struct vm *vm);
/* As vm_free, but hands the RAM out for a slow free elsewhere (guest_mem_free). */
struct guest_mem *vm_free_but_memory(struct vm *vm);

/* Power-on: devices, chips and vCPUs reset, kernel and tables loaded, BSP at its entry. Paused. */
int vm_boot(struct vm *vm, struct err *e);

/* The clock an arriving machine brings.  One that ran advances by the wall time since; of one that
 * was paused, time stands still until it goes on. */
int vm_load_clock(struct vm *vm, const struct x86_clock_state *clock, bool running, struct err *e);
/* Sets a clock that is held; before the machine's state is read or it runs. */
int vm_settle_clock(struct vm *vm, struct err *e);

void vm_pause(struct vm *vm);
bool vm_idle(struct vm *vm);
int vm_resume(struct vm *vm, struct err *e);
/* CLOCK_MONOTONIC when the last vCPU had stopped (paused machine). */
uint64_t vm_paused_since(struct vm *vm);
/* When the first vCPU ran on after vm_resume; waits for that, some microseconds. */
uint64_t vm_running_since(struct vm *vm);

/* Who withholds a vCPU's time; each has its own say, and the larger counts. */
enum vm_throttler { VM_THROTTLE_ENGINE, VM_THROTTLE_LIMIT, VM_THROTTLERS };
#define VM_ALL_VCPUS UINT32_MAX
/* Any thread; does not block.  From now on, the vCPU (or all) runs for 100 - percent (0..99) of the
 * time, in slices of milliseconds; 0 ends it.  A pause does not wait for a slice. */
void vm_throttle(struct vm *vm, enum vm_throttler who, uint32_t vcpu, uint32_t percent);
/* Percent withheld of a vCPU now, by whoever asks for most. */
uint32_t vm_throttled(const struct vm *vm, uint32_t vcpu);
/* Bytes per second that each of the first n vCPUs has dirtied since the last call with the same
 * `since`, which begins as zeros.  -ENOTSUP without the dirty ring.  Any thread. */
struct vm_dirty_since {
    uint64_t ns, *pages; /* pages: n, the caller's */
};
int vm_dirty_rates(struct vm *vm, struct vm_dirty_since *since, uint64_t *bytes_per_s, uint32_t n,
                   struct err *e);

/* The thread that runs a vCPU, as `top -H` and taskset know it. */
int vm_vcpu_tid(const struct vm *vm, uint32_t vcpu);

static inline bool vm_is_paused(const struct vm *vm)
{
    return vm->paused;
}

#endif
