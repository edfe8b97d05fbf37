#include "hv/fake.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"

#define STAGE    "fake"
#define MSIS_MAX 1024

struct doorbell {
    bool used, pio, datamatch;
    uint64_t addr, match;
    uint32_t len;
    int fd;
};

struct hv_vm {
    pthread_mutex_t lock; /* guards everything below */
    struct hv_caps caps;
    struct guest_mem *mem;
    uint32_t vcpus_max, nvcpus;
    struct hv_vcpu *vcpus[X86_VCPUS_MAX];
    bool have_msrs;
    struct x86_msr_list msrs;
    struct x86_vm_state chips;
    struct x86_clock_state clock;
    bool level[FAKE_GSIS];
    uint32_t edges[FAKE_GSIS];
    struct hv_msi *msis[MSIS_MAX];
    uint32_t nlog, nlost;
    struct fake_msi log[FAKE_MSI_LOG];
    struct doorbell doorbells[FAKE_DOORBELLS];
    uint64_t *dirty; /* NULL while the log is off */
};

struct hv_vcpu {
    struct hv_vm *vm;
    pthread_cond_t wake;
    bool kicked, has_exit;
    struct hv_exit exit;
    struct x86_vcpu_state state, reset;
};

struct hv_msi {
    struct hv_vm *vm;
    uint32_t slot, raised;
    bool routed;
    struct fake_msi route;
};

static void lock(struct hv_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
}

static void unlock(struct hv_vm *vm)
{
    pthread_mutex_unlock(&vm->lock);
}

/* ---- the VM ---- */

int hv_vm_new(const struct hv_vm_config *c, struct hv_vm **out, struct err *e)
{
    struct hv_vm *vm;

    *out = NULL;
    if (c->vcpus == 0 || c->vcpus > X86_VCPUS_MAX)
        return err_set(e, -EINVAL, STAGE, "%u vCPUs", c->vcpus);
    vm = calloc(1, sizeof(*vm));
    if (!vm)
        return err_set_errno(e, -ENOMEM, STAGE, "virtual machine");
    pthread_mutex_init(&vm->lock, NULL);
    vm->mem = c->mem;
    vm->vcpus_max = c->vcpus;
    vm->caps = (struct hv_caps){
        .clock_realtime = true,
        .xsave2 = true,
        .vcpu_tsc_offset = true,
        .xsave_size = 4096,
        .max_vcpus = X86_VCPUS_MAX,
        .tsc_khz = 2000000,
        .tsc_tolerance_ppm = HV_TSC_TOLERANCE_PPM,
        .sregs2 = true,
        .max_routes = MSIS_MAX,
        .name = "fake",
    };
    *out = vm;
    return 0;
}

void hv_vm_free(struct hv_vm *vm)
{
    if (!vm)
        return;
    for (uint32_t i = 0; i < vm->nvcpus; i++) {
        pthread_cond_destroy(&vm->vcpus[i]->wake);
        free(vm->vcpus[i]);
    }
    for (uint32_t i = 0; i < MSIS_MAX; i++)
        free(vm->msis[i]);
    hv_dirty_stop(vm);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}

const struct hv_caps *hv_vm_caps(const struct hv_vm *vm)
{
    return &vm->caps;
}

/* A processor of the x86-64-v2 level, without topology. */
int hv_vm_supported_cpuid(struct hv_vm *vm, struct x86_cpuid *out, struct err *e)
{
    static const struct x86_cpuid_entry leaves[] = {
        {0x00000000, 0, 0, 0x00000007, 0x756e6547, 0x6c65746e, 0x49656e69},
        {0x00000001, 0, 0, 0x000306c3, 0x00000800, 0x81b82203, 0x078bfbff},
        {0x00000007, 0, 1, 0x00000000, 0x00000000, 0x00000000, 0x00000000},
        {0x80000000, 0, 0, 0x80000008, 0x00000000, 0x00000000, 0x00000000},
        {0x80000001, 0, 0, 0x00000000, 0x00000000, 0x00000001, 0x28100800},
        {0x80000008, 0, 0, 0x00003028, 0x00000000, 0x00000000, 0x00000000},
    };

    memset(out, 0, sizeof(*out));
    out->n = sizeof(leaves) / sizeof(leaves[0]);
    memcpy(out->entries, leaves, sizeof(leaves));
    return 0;
}

int hv_vm_get_state(struct hv_vm *vm, struct x86_vm_state *s, struct err *e)
{
    *s = vm->chips;
    return 0;
}

int hv_vm_set_state(struct hv_vm *vm, const struct x86_vm_state *s, struct err *e)
{
    vm->chips = *s;
    return 0;
}

int hv_vm_reset_chips(struct hv_vm *vm, struct err *e)
{
    memset(&vm->chips, 0, sizeof(vm->chips));
    return 0;
}

int hv_vm_get_clock(struct hv_vm *vm, struct x86_clock_state *s, struct err *e)
{
    *s = vm->clock;
    s->realtime_ns = clock_realtime_ns();
    s->realtime_valid = 1;
    return 0;
}

int hv_vm_set_clock(struct hv_vm *vm, const struct x86_clock_state *s, bool was_running,
                    struct err *e)
{
    vm->clock = *s;
    return 0;
}

/* ---- vCPUs ---- */

int hv_vcpu_new(struct hv_vm *vm, uint32_t index, const struct x86_cpuid *cpuid,
                struct hv_vcpu **out, struct err *e)
{
    struct hv_vcpu *v;

    *out = NULL;
    if (index != vm->nvcpus || index >= vm->vcpus_max)
        return err_set(e, -EINVAL, STAGE, "vCPU %u of %u", index, vm->vcpus_max);
    v = calloc(1, sizeof(*v));
    if (!v)
        return err_set_errno(e, -ENOMEM, STAGE, "vCPU %u", index);
    v->vm = vm;
    pthread_cond_init(&v->wake, NULL);
    v->reset.regs = (struct x86_regs){.rip = 0xfff0, .rflags = 2};
    v->reset.sregs.cs = (struct x86_segment){
        .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .type = 0xb, .present = 1, .s = 1};
    v->reset.mp_state = index == 0 ? 0 : 1; /* KVM_MP_STATE_RUNNABLE, _UNINITIALIZED */
    v->reset.tsc_khz = vm->caps.tsc_khz;
    v->state = v->reset;
    vm->vcpus[vm->nvcpus++] = v;
    *out = v;
    return 0;
}

int hv_vcpu_thread_init(struct hv_vcpu *v, struct err *e)
{
    return 0;
}

int hv_vcpu_run(struct hv_vcpu *v, struct hv_exit *x, struct err *e)
{
    lock(v->vm);
    while (!v->kicked && !v->has_exit)
        pthread_cond_wait(&v->wake, &v->vm->lock);
    if (v->has_exit) {
        *x = v->exit;
        v->has_exit = false;
    } else {
        *x = (struct hv_exit){.kind = HV_EXIT_INTR};
        v->kicked = false;
    }
    unlock(v->vm);
    return 0;
}

void hv_vcpu_kick(struct hv_vcpu *v)
{
    lock(v->vm);
    v->kicked = true;
    pthread_cond_signal(&v->wake);
    unlock(v->vm);
}

int fake_vcpu_exit(struct hv_vcpu *v, const struct hv_exit *x)
{
    int rc = -EBUSY;

    lock(v->vm);
    if (!v->has_exit) {
        v->exit = *x;
        v->has_exit = true;
        pthread_cond_signal(&v->wake);
        rc = 0;
    }
    unlock(v->vm);
    return rc;
}

int hv_vcpu_complete_io(struct hv_vcpu *v, struct err *e)
{
    return 0;
}

int hv_vcpu_reset(struct hv_vcpu *v, struct err *e)
{
    v->state = v->reset;
    return 0;
}

int hv_vcpu_set_regs(struct hv_vcpu *v, const struct x86_regs *regs, const struct x86_sregs *sregs,
                     struct err *e)
{
    v->state.regs = *regs;
    v->state.sregs = *sregs;
    return 0;
}

int hv_vcpu_get_regs(struct hv_vcpu *v, struct x86_regs *regs, struct x86_sregs *sregs,
                     struct err *e)
{
    *regs = v->state.regs;
    *sregs = v->state.sregs;
    return 0;
}

int hv_vcpu_get_state(struct hv_vcpu *v, struct x86_vcpu_state *s, struct err *e)
{
    *s = v->state;
    return 0;
}

int hv_vcpu_set_state(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
    v->state = *s;
    return 0;
}

void hv_vcpu_clock_paused(struct hv_vcpu *v)
{
}

int hv_vm_msr_list(struct hv_vm *vm, struct hv_vcpu *v, struct x86_msr_list *out,
                   struct x86_msr_list *left_out, struct err *e)
{
    out->n = left_out->n = 0;
    out->index[out->n++] = 0x174; /* SYSENTER_CS */
    left_out->index[left_out->n++] = 0x10a;
    return 0;
}

int hv_vm_set_msr_list(struct hv_vm *vm, const struct x86_msr_list *msrs, struct err *e)
{
    if (vm->have_msrs)
        return err_set(e, -EBUSY, STAGE, "the machine has its MSR list already");
    vm->msrs = *msrs;
    vm->have_msrs = true;
    return 0;
}

/* ---- interrupts ---- */

int hv_irq_set_level(struct hv_vm *vm, uint32_t gsi, bool level)
{
    if (gsi >= FAKE_GSIS)
        return -EINVAL;
    lock(vm);
    vm->edges[gsi] += level && !vm->level[gsi];
    vm->level[gsi] = level;
    unlock(vm);
    return 0;
}

bool fake_irq_level(struct hv_vm *vm, uint32_t gsi)
{
    bool level;

    lock(vm);
    level = gsi < FAKE_GSIS && vm->level[gsi];
    unlock(vm);
    return level;
}

uint32_t fake_irq_edges(struct hv_vm *vm, uint32_t gsi)
{
    uint32_t n;

    lock(vm);
    n = gsi < FAKE_GSIS ? vm->edges[gsi] : 0;
    unlock(vm);
    return n;
}

int hv_msi_new(struct hv_vm *vm, struct hv_msi **out, struct err *e)
{
    struct hv_msi *m = calloc(1, sizeof(*m));

    *out = NULL;
    if (!m)
        return err_set_errno(e, -ENOMEM, STAGE, "MSI");
    m->vm = vm;
    lock(vm);
    while (m->slot < MSIS_MAX && vm->msis[m->slot])
        m->slot++;
    if (m->slot < MSIS_MAX)
        *out = vm->msis[m->slot] = m;
    unlock(vm);
    if (*out)
        return 0;
    free(m);
    return err_set_errno(e, -ENOSPC, STAGE, "MSI");
}

int hv_msi_route(struct hv_msi *m, uint64_t address, uint32_t data, struct err *e)
{
    lock(m->vm);
    m->routed = true;
    m->route = (struct fake_msi){.address = address, .data = data};
    unlock(m->vm);
    return 0;
}

void hv_route_begin(struct hv_vm *vm)
{
}

int hv_route_end(struct hv_vm *vm, struct err *e)
{
    return 0;
}

void hv_msi_raise(struct hv_msi *m)
{
    struct hv_vm *vm = m->vm;

    lock(vm);
    m->raised++;
    if (!m->routed)
        vm->nlost++;
    else if (vm->nlog++ < FAKE_MSI_LOG)
        vm->log[vm->nlog - 1] = m->route;
    unlock(vm);
}

void hv_msi_free(struct hv_msi *m)
{
    if (!m)
        return;
    lock(m->vm);
    m->vm->msis[m->slot] = NULL;
    unlock(m->vm);
    free(m);
}

void hv_irq_settle(struct hv_vm *vm)
{
}

uint32_t fake_msi_count(struct hv_vm *vm)
{
    uint32_t n;

    lock(vm);
    n = vm->nlog;
    unlock(vm);
    return n;
}

uint32_t fake_msi_lost(struct hv_vm *vm)
{
    uint32_t n;

    lock(vm);
    n = vm->nlost;
    unlock(vm);
    return n;
}

bool fake_msi_get(struct hv_vm *vm, uint32_t n, struct fake_msi *out)
{
    bool kept;

    lock(vm);
    kept = n < vm->nlog && n < FAKE_MSI_LOG;
    if (kept)
        *out = vm->log[n];
    unlock(vm);
    return kept;
}

uint32_t fake_msi_raised(const struct hv_msi *m)
{
    uint32_t n;

    lock(m->vm);
    n = m->raised;
    unlock(m->vm);
    return n;
}

bool fake_msi_route(const struct hv_msi *m, struct fake_msi *out)
{
    bool routed;

    lock(m->vm);
    routed = m->routed;
    *out = m->route;
    unlock(m->vm);
    return routed;
}

void fake_msi_clear(struct hv_vm *vm)
{
    lock(vm);
    vm->nlog = vm->nlost = 0;
    unlock(vm);
}

/* ---- doorbells ---- */

static struct doorbell *find_doorbell(struct hv_vm *vm, const struct doorbell *key)
{
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++) {
        struct doorbell *d = &vm->doorbells[i];

        if (d->used && d->pio == key->pio && d->addr == key->addr && d->len == key->len &&
            d->datamatch == key->datamatch && (!d->datamatch || d->match == key->match))
            return d;
    }
    return NULL;
}

static struct doorbell *free_doorbell(struct hv_vm *vm)
{
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++)
        if (!vm->doorbells[i].used)
            return &vm->doorbells[i];
    return NULL;
}

int hv_ioeventfd_add(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                     uint64_t match, int eventfd, struct err *e)
{
    struct doorbell key = {.used = true,
                           .pio = pio,
                           .datamatch = datamatch,
                           .addr = addr,
                           .match = match,
                           .len = len,
                           .fd = eventfd};
    struct doorbell *d;
    int rc = 0;

    lock(vm);
    d = free_doorbell(vm);
    if (find_doorbell(vm, &key))
        rc = -EEXIST;
    else if (!d)
        rc = -ENOSPC;
    else
        *d = key;
    unlock(vm);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "doorbell") : 0;
}

void hv_ioeventfd_del(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                      uint64_t match, int eventfd)
{
    struct doorbell key = {
        .pio = pio, .datamatch = datamatch, .addr = addr, .match = match, .len = len};
    struct doorbell *d;

    lock(vm);
    d = find_doorbell(vm, &key);
    if (d && d->fd == eventfd)
        d->used = false;
    unlock(vm);
}

/* As KVM matches: a registered length of 0 takes writes of any length. */
bool fake_doorbell(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, uint64_t value)
{
    const uint64_t one = 1;
    bool rung = false;

    lock(vm);
    for (uint32_t i = 0; i < FAKE_DOORBELLS && !rung; i++) {
        const struct doorbell *d = &vm->doorbells[i];

        if (d->used && d->pio == pio && d->addr == addr && (d->len == 0 || d->len == len) &&
            (!d->datamatch || d->match == value))
            rung = write(d->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
    }
    unlock(vm);
    return rung;
}

uint32_t fake_doorbell_count(struct hv_vm *vm)
{
    uint32_t n = 0;

    lock(vm);
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++)
        n += vm->doorbells[i].used;
    unlock(vm);
    return n;
}

/* ---- the dirty log ---- */

static uint64_t pages(const struct hv_vm *vm)
{
    return vm->mem->size / GUEST_PAGE_SIZE;
}

int hv_dirty_start(struct hv_vm *vm, struct err *e)
{
    lock(vm);
    if (!vm->dirty)
        vm->dirty = bitmap_new(pages(vm));
    unlock(vm);
    return vm->dirty ? 0 : err_set_errno(e, -ENOMEM, STAGE, "dirty log");
}

void hv_dirty_stop(struct hv_vm *vm)
{
    lock(vm);
    if (vm->dirty)
        bitmap_free(vm->dirty, pages(vm));
    vm->dirty = NULL;
    unlock(vm);
}

int hv_dirty_get(struct hv_vm *vm, uint64_t *bitmap, struct err *e)
{
    int rc = -EINVAL;

    lock(vm);
    for (size_t i = 0; vm->dirty && i < BITMAP_WORDS(pages(vm)); i++)
        bitmap[i] |= vm->dirty[i];
    if (vm->dirty)
        rc = 0;
    unlock(vm);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "dirty log") : 0;
}

int hv_dirty_clear(struct hv_vm *vm, uint64_t first, uint64_t n, const uint64_t *bits,
                   struct err *e)
{
    uint64_t all = pages(vm);

    if (first % 64 || first > all || n > all - first || (n % 64 && first + n != all))
        return err_set(e, -EINVAL, STAGE, "dirty log range");
    lock(vm);
    for (size_t i = 0; vm->dirty && i < BITMAP_WORDS(n); i++)
        vm->dirty[first / 64 + i] &= ~bits[i];
    unlock(vm);
    return 0;
}

int fake_guest_write(struct hv_vm *vm, uint64_t gpa, const void *data, size_t len)
{
    uint8_t *p = guest_mem_ptr(vm->mem, gpa, len);
    uint64_t first, last;

    if (!p || len == 0)
        return p ? 0 : -EFAULT;
    memcpy(p, data, len);
    first = (uint64_t)(p - vm->mem->host) / GUEST_PAGE_SIZE;
    last = (uint64_t)(p - vm->mem->host + len - 1) / GUEST_PAGE_SIZE;
    lock(vm);
    if (vm->dirty)
        bitmap_set_range(vm->dirty, first, last - first + 1);
    unlock(vm);
    return 0;
}

bool fake_dirty_on(struct hv_vm *vm)
{
    bool on;

    lock(vm);
    on = vm->dirty != NULL;
    unlock(vm);
    return on;
}

bool fake_dirty_test(struct hv_vm *vm, uint64_t page)
{
    bool set;

    lock(vm);
    set = vm->dirty && page < pages(vm) && bitmap_test(vm->dirty, page);
    unlock(vm);
    return set;
}
