/* What this room makes of a real host is a processor that its KVM takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cpu/compat.h"
#include "cpu/model.h"
#include "hv/hv.h"

#define VCPUS 6

_Static_assert(sizeof(struct cpu_leaf) == sizeof(struct x86_cpuid_entry), "the same layout");

static struct guest_mem *mem;
static struct hv_vm *vm;

static int set_up(void)
{
    const struct guest_mem_config mc = {.size = 4 << 20, .low_max = 8 << 20};
    struct hv_vm_config c = {.vcpus = VCPUS};
    struct err e = ERR_INIT;

    if (guest_mem_new(&mc, &mem, &e) < 0) {
        printf("skipped: %s\n", e.text);
        return 77;
    }
    c.mem = mem;
    if (hv_vm_new(&c, &vm, &e) < 0) {
        printf("skipped: %s\n", e.text);
        return 77;
    }
    return 0;
}

static void tear_down(void)
{
    hv_vm_free(vm);
    guest_mem_free(mem);
}

static void the_host_takes_its_own_model(void **state)
{
    const struct cpu_request r = {.model = "host"};
    struct x86_cpuid offered, own;
    struct cpu_leaves host, model, leaves;
    struct x86_msr_list msrs, left_out;
    static struct x86_vcpu_state s;
    struct hv_vcpu *v[VCPUS];
    struct err e = ERR_INIT;

    assert_int_equal(hv_vm_supported_cpuid(vm, &offered, &e), 0);
    host.n = offered.n;
    memcpy(host.leaf, offered.entries, sizeof(host.leaf));
    assert_int_equal(cpu_model_build(&host, &r, hv_vm_caps(vm)->tsc_khz, &model, &e), 0);
    assert_int_equal(cpu_compat(&model, &host, NULL, 0), 0);
    for (uint32_t i = 0; i < VCPUS; i++) {
        cpu_model_vcpu(&model, i, VCPUS, &leaves);
        own.n = leaves.n;
        memcpy(own.entries, leaves.leaf, sizeof(own.entries));
        if (hv_vcpu_new(vm, i, &own, &v[i], &e) < 0)
            fail_msg("%s", e.text);
    }
    assert_int_equal(hv_vm_msr_list(vm, v[0], &msrs, &left_out, &e), 0);
    for (uint32_t i = 0; i < msrs.n; i++) /* asynchronous page faults: neither bit nor MSR */
        assert_true(msrs.index[i] != 0x4b564d02 && msrs.index[i] != 0x4b564d06);
    assert_int_equal(hv_vm_set_msr_list(vm, &msrs, &e), 0);
    for (uint32_t i = 0; i < VCPUS; i++) {
        if (hv_vcpu_get_state(v[i], &s, &e) < 0 || hv_vcpu_set_state(v[i], &s, &e) < 0)
            fail_msg("%s", e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_host_takes_its_own_model)};
    int rc = set_up();

    if (rc == 0)
        rc = cmocka_run_group_tests(tests, NULL, NULL);
    tear_down();
    return rc;
}
