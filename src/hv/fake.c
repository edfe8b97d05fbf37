/* The fake: VM, vCPUs, dirty log. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "hv/fake_priv.h"

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

void hv_vcpu_alarm(struct hv_vcpu *v, uint64_t ns)
{
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

int hv_dirty_counts(struct hv_vm *vm, uint64_t *count, uint32_t n, struct err *e)
{
    return err_set(e, -ENOTSUP, STAGE, "no dirty ring");
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
