/*
 * Theory of operation.  Pausing is a flag, a kick and a count: `interrupt` makes every vCPU leave
 * the guest and look, `paused` makes it park, and vm_pause returns when all are parked.  A parked
 * vCPU is not in KVM, so that any one thread may read and write its state.
 */
#include "vmm/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/cpu_setup.h"
#include "vmm/vcpu.h"

static_assert(VMM_DIRTY_RING_MIN == HV_DIRTY_RING_MIN && VMM_DIRTY_RING_MAX == HV_DIRTY_RING_MAX,
              "the command line's bounds are the hypervisor's");

static void vm_board_reset_request(void *opaque)
{
    struct vm *vm = opaque;

    vm->host.request(vm->host.opaque, VM_REQUEST_RESET);
}

static void vm_board_poweroff_request(void *opaque)
{
    struct vm *vm = opaque;

    vm->host.request(vm->host.opaque, VM_REQUEST_POWEROFF);
}

static int vm_make_memory(struct vm *vm, const struct vm_params *p, struct err *e)
{
    const struct board_ops *ops = board_find(vm->config.machine);
    struct guest_mem_config c = {
        .size = vm->config.ram_size,
        .path = p->mem_path,
        .prealloc = p->mem_prealloc,
        .mount_fd = p->mem_mount_fd,
        .arriving = p->arriving,
    };

    if (!ops)
        return err_set(e, -EINVAL, "machine", "no machine type '%s' here; there are: %s",
                       vm->config.machine, board_names());
    c.low_max = ops->low_ram_max;
    return guest_mem_new(&c, &vm->mem, e);
}

static int vm_make_vcpus(struct vm *vm, const struct vm_params *p, struct err *e)
{
    const struct vm_cpu *given = p->cpu;
    struct hv_vm_config hc = {
        .mem = vm->mem, .vcpus = vm->config.vcpus, .dirty_ring = p->dirty_ring};
    int rc = hv_vm_new(&hc, &vm->hv, e);

    if (rc == 0)
        rc = cpu_setup_cpuid(vm->hv, &vm->config, given, &vm->cpu, e);
    if (rc != 0)
        return rc;
    vm->vcpus = calloc(vm->config.vcpus, sizeof(vm->vcpus[0]));
    if (!vm->vcpus)
        return err_set(e, -ENOMEM, "vcpu", "no memory for %u vCPUs", vm->config.vcpus);
    for (uint32_t i = 0; i < vm->config.vcpus; i++) {
        rc = vcpu_new(vm, i, &vm->vcpus[i], e);
        if (rc != 0)
            return rc;
        vm->nvcpus++;
    }
    return cpu_setup_msrs(vm->hv, vm->vcpus[0]->hv, given, &vm->cpu, e);
}

struct vm_board_call {
    struct vm *vm;
    struct err *e;
    int rc;
};

/* On the main loop: devices register their descriptors there. */
static void vm_make_board(void *opaque)
{
    struct vm_board_call *c = opaque;
    struct vm *vm = c->vm;
    struct board_config bc = {
        .machine = &vm->config,
        .mem = vm->mem,
        .vm = vm->hv,
        .loop = vm->loop,
        .host = {.opaque = vm,
                 .reset_request = vm_board_reset_request,
                 .poweroff_request = vm_board_poweroff_request},
    };

    c->rc = board_new(&bc, vm->backends, &vm->board, c->e);
}

static void vm_wait_parked(struct vm *vm)
{
    pthread_mutex_lock(&vm->pause_lock);
    while (vm->parked < vm->nvcpus)
        pthread_cond_wait(&vm->parked_cond, &vm->pause_lock);
    pthread_mutex_unlock(&vm->pause_lock);
}

/* Returns when all are there, so that each has the thread that people ask for. */
static int vm_start_vcpus(struct vm *vm, struct err *e)
{
    for (uint32_t i = 0; i < vm->nvcpus; i++) {
        int rc = vcpu_start(vm->vcpus[i], e);

        if (rc != 0)
            return rc;
    }
    vm_wait_parked(vm);
    return 0;
}

/* A vCPU that rests waits on `wake` until a time of the clock that nobody sets. */
static void vm_init_conds(struct vm *vm)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vm->wake, &attr);
    pthread_cond_init(&vm->parked_cond, &attr);
    pthread_condattr_destroy(&attr);
}

int vm_new(const struct vm_params *p, struct vm **out, struct err *e)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    struct vm_board_call call = {.vm = vm, .e = e};
    int rc;

    if (!vm)
        return err_set(e, -ENOMEM, "machine", "no memory for the machine");
    vm->config = *p->config;
    vm->host = p->host;
    vm->loop = p->loop;
    vm->backends = p->backends;
    vm->sandbox = p->sandbox;
    vm->paused = true;
    atomic_init(&vm->interrupt, true);
    pthread_mutex_init(&vm->pause_lock, NULL);
    vm_init_conds(vm);

    rc = vm_make_memory(vm, p, e);
    if (rc == 0)
        rc = vm_make_vcpus(vm, p, e);
    if (rc == 0) {
        loop_call(vm->loop, vm_make_board, &call);
        rc = call.rc;
    }
    if (rc == 0)
        rc = vm_start_vcpus(vm, e);
    if (rc != 0) {
        vm_free(vm);
        return rc;
    }
    *out = vm;
    return 0;
}

static void vm_kick_all(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        if (vm->vcpus[i]->started)
            hv_vcpu_kick(vm->vcpus[i]->hv);
}

static void vm_stop_threads(struct vm *vm)
{
    pthread_mutex_lock(&vm->pause_lock);
    vm->quit = true;
    atomic_store(&vm->interrupt, true);
    pthread_cond_broadcast(&vm->wake);
    pthread_mutex_unlock(&vm->pause_lock);
    vm_kick_all(vm);
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        vcpu_join(vm->vcpus[i]);
}

static void vm_free_board(void *opaque)
{
    struct vm *vm = opaque;

    board_free(vm->board);
    vm->board = NULL;
}

void vm_free_devices(struct vm *vm)
{
    if (vm->board)
        loop_call(vm->loop, vm_free_board, vm);
}

struct guest_mem *vm_free_but_memory(struct vm *vm)
{
    struct guest_mem *mem;

    vm_stop_threads(vm);
    vm_free_devices(vm);
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        vcpu_free(vm->vcpus[i]);
    free(vm->vcpus);
    if (vm->hv)
        hv_vm_free(vm->hv);
    mem = vm->mem;
    pthread_cond_destroy(&vm->parked_cond);
    pthread_cond_destroy(&vm->wake);
    pthread_mutex_destroy(&vm->pause_lock);
    free(vm);
    return mem;
}

void vm_free(struct vm *vm)
{
    struct guest_mem *mem;

    if (!vm)
        return;
    mem = vm_free_but_memory(vm);
    if (mem)
        guest_mem_free(mem);
}

int vm_boot(struct vm *vm, struct err *e)
{
    struct boot_entry entry;
    int rc;

    memset(&entry, 0, sizeof(entry));
    board_reset(vm->board);
    rc = vm_settle_clock(vm, e);
    if (rc == 0)
        rc = hv_vm_reset_chips(vm->hv, e);
    for (uint32_t i = 0; rc == 0 && i < vm->nvcpus; i++)
        rc = hv_vcpu_reset(vm->vcpus[i]->hv, e);
    if (rc == 0)
        rc = board_boot(vm->board, &entry, e);
    if (rc == 0)
        rc = hv_vcpu_set_regs(vm->vcpus[0]->hv, &entry.regs, &entry.sregs, e);
    return rc;
}

int vm_load_clock(struct vm *vm, const struct x86_clock_state *clock, bool running, struct err *e)
{
    if (running)
        return hv_vm_set_clock(vm->hv, clock, true, e);
    vm->held_clock = *clock;
    vm->clock_held = true;
    return 0;
}

int vm_settle_clock(struct vm *vm, struct err *e)
{
    if (!vm->clock_held)
        return 0;
    vm->clock_held = false;
    return hv_vm_set_clock(vm->hv, &vm->held_clock, false, e);
}

int vm_dirty_rates(struct vm *vm, struct vm_dirty_since *since, uint64_t *bytes_per_s, uint32_t n,
                   struct err *e)
{
    uint64_t pages[X86_VCPUS_MAX] = {0}, now = clock_now_ns(), ns = now - since->ns;
    int rc = hv_dirty_counts(vm->hv, pages, n, e);

    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        double dirtied = (double)(pages[i] - since->pages[i]) * GUEST_PAGE_SIZE;

        bytes_per_s[i] = since->ns ? (uint64_t)(dirtied * NS_PER_S / (double)(ns ? ns : 1)) : 0;
        since->pages[i] = pages[i];
    }
    if (rc == 0)
        since->ns = now;
    return rc;
}

int vm_vcpu_tid(const struct vm *vm, uint32_t vcpu)
{
    return vm->vcpus[vcpu]->tid;
}

void vm_pause(struct vm *vm)
{
    pthread_mutex_lock(&vm->pause_lock);
    vm->paused = true;
    atomic_store_explicit(&vm->interrupt, true, memory_order_release);
    pthread_cond_broadcast(&vm->wake); /* those that wait for this pause */
    pthread_mutex_unlock(&vm->pause_lock);
    vm_kick_all(vm);

    vm_wait_parked(vm);
    for (uint32_t i = 0; i < vm->board->ndevices; i++) {
        struct device *d = vm->board->devices[i];

        if (d->ops->stop)
            d->ops->stop(d);
    }
}

uint64_t vm_paused_since(struct vm *vm)
{
    uint64_t ns;

    pthread_mutex_lock(&vm->pause_lock);
    ns = vm->parked_ns;
    pthread_mutex_unlock(&vm->pause_lock);
    return ns;
}

uint64_t vm_running_since(struct vm *vm)
{
    uint64_t ns;

    pthread_mutex_lock(&vm->pause_lock);
    while (vm->running_ns == 0 && !vm->paused && !vm->quit)
        pthread_cond_wait(&vm->parked_cond, &vm->pause_lock);
    ns = vm->running_ns;
    pthread_mutex_unlock(&vm->pause_lock);
    return ns ? ns : clock_now_ns();
}

bool vm_idle(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->board->ndevices; i++) {
        struct device *d = vm->board->devices[i];

        if (d->ops->idle && !d->ops->idle(d))
            return false;
    }
    return true;
}

int vm_resume(struct vm *vm, struct err *e)
{
    int settled = vm_settle_clock(vm, e);

    if (settled != 0)
        return settled;
    for (uint32_t i = 0; i < vm->board->ndevices; i++) {
        struct device *d = vm->board->devices[i];
        int rc = d->ops->start ? d->ops->start(d, e) : 0;

        if (rc != 0)
            return err_prefix(e, "cannot start device %s", d->id);
    }
    /* The guest is told that it stood still, lest it complain of a lockup. */
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        hv_vcpu_clock_paused(vm->vcpus[i]->hv);
    pthread_mutex_lock(&vm->pause_lock);
    vm->paused = false;
    vm->running_ns = 0;
    atomic_store_explicit(&vm->interrupt, false, memory_order_release);
    pthread_cond_broadcast(&vm->wake);
    pthread_mutex_unlock(&vm->pause_lock);
    return 0;
}
