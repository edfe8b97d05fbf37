#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

int rig_skip(void)
{
    const struct guest_mem_config mc = {.size = RIG_SIZE, .low_max = RIG_LOW};
    struct hv_vm_config c = {.vcpus = 1};
    struct err e = ERR_INIT;
    struct hv_vm *vm;

    if (guest_mem_new(&mc, &c.mem, &e) < 0 || hv_vm_new(&c, &vm, &e) < 0) {
        printf("skipped: %s\n", e.text);
        guest_mem_free(c.mem);
        return 77;
    }
    hv_vm_free(vm);
    guest_mem_free(c.mem);
    return 0;
}

void rig_ok(struct rig *r, int rc)
{
    if (rc != 0)
        fail_msg("%d: %s: %s", rc, r->e.stage, r->e.text);
}

void rig_init(struct rig *r, uint32_t nvcpus)
{
    rig_init_ring(r, nvcpus, 0);
}

void rig_init_ring(struct rig *r, uint32_t nvcpus, uint32_t dirty_ring)
{
    const struct guest_mem_config mc = {.size = RIG_SIZE, .low_max = RIG_LOW};
    struct hv_vm_config c = {.vcpus = nvcpus, .dirty_ring = dirty_ring};
    struct x86_cpuid cpuid;

    memset(r, 0, sizeof(*r));
    rig_ok(r, guest_mem_new(&mc, &r->mem, &r->e));
    c.mem = r->mem;
    rig_ok(r, hv_vm_new(&c, &r->vm, &r->e));
    rig_ok(r, hv_vm_supported_cpuid(r->vm, &cpuid, &r->e));
    for (uint32_t i = 0; i < nvcpus; i++) {
        for (uint32_t l = 0; l < cpuid.n; l++)
            if (cpuid.entries[l].function == 1)
                cpuid.entries[l].ebx = (cpuid.entries[l].ebx & 0x00ffffff) | i << 24;
        rig_ok(r, hv_vcpu_new(r->vm, i, &cpuid, &r->vcpu[i], &r->e));
    }
    rig_ok(r, hv_vm_msr_list(r->vm, r->vcpu[0], &r->msrs, &r->left_out, &r->e));
    rig_ok(r, hv_vm_set_msr_list(r->vm, &r->msrs, &r->e));
    rig_ok(r, hv_vcpu_thread_init(r->vcpu[0], &r->e));
}

void rig_fini(struct rig *r)
{
    hv_vm_free(r->vm);
    guest_mem_free(r->mem);
}

void rig_load(struct rig *r, const void *code, size_t len, uint64_t ds_base)
{
    struct x86_regs regs;
    struct x86_sregs sregs;

    assert_int_equal(guest_mem_write(r->mem, RIG_CODE, code, len), 0);
    rig_ok(r, hv_vcpu_get_regs(r->vcpu[0], &regs, &sregs, &r->e));
    regs = (struct x86_regs){.rip = RIG_CODE, .rsp = 0x8000, .rflags = 2};
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    sregs.ds.base = ds_base;
    rig_ok(r, hv_vcpu_set_regs(r->vcpu[0], &regs, &sregs, &r->e));
}

void rig_run(struct rig *r, struct hv_exit *x)
{
    rig_ok(r, hv_vcpu_run(r->vcpu[0], x, &r->e));
    if (x->kind == HV_EXIT_ERROR)
        fail_msg("guest: %s", r->e.text);
}
