#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cpu/compat.h"
#include "cpu/model.h"
#include "hosts.h"

static struct cpu_leaves machine(const struct cpu_leaves *host)
{
    const struct cpu_request r = {.model = "host"};
    struct cpu_leaves m;
    struct err e = ERR_INIT;

    if (cpu_model_build(host, &r, 2300000, &m, &e) < 0)
        fail_msg("%s", e.text);
    return m;
}

/* Exactly one gap, with these words. */
static void one_gap(const struct cpu_leaves *need, const struct cpu_leaves *host, const char *name,
                    const char *needs, const char *has)
{
    struct cpu_gap g[8];
    uint32_t n = cpu_compat(need, host, g, 8);

    if (n != 1)
        fail_msg("%u gaps, the first two: %s, %s", n, n > 0 ? g[0].name : "",
                 n > 1 ? g[1].name : "");
    assert_string_equal(g[0].name, name);
    assert_string_equal(g[0].need, needs);
    assert_string_equal(g[0].have, has);
}

static void it_fits_where_it_was_made(void **state)
{
    struct cpu_leaves m = machine(&host_intel);

    assert_int_equal(cpu_compat(&m, &host_intel, NULL, 0), 0);
}

static void a_missing_feature_is_named(void **state)
{
    struct cpu_leaves m = machine(&host_intel), old = host_intel;

    cpu_leaf_find(&old, 7, 0)->ebx &= ~(1U << 18);
    one_gap(&m, &old, "rdseed", "on", "off");
}

/* Old to new fits, new to old does not. */
static void it_has_a_direction(void **state)
{
    struct cpu_leaves old_host = host_intel, new_machine = machine(&host_intel), old_machine;

    cpu_leaf_find(&old_host, 7, 1)->eax = 0;
    old_machine = machine(&old_host);
    assert_int_equal(cpu_compat(&old_machine, &host_intel, NULL, 0), 0);
    assert_true(cpu_compat(&new_machine, &old_host, NULL, 0) > 0);
}

static void a_bit_without_a_name_has_a_place(void **state)
{
    struct cpu_leaves m = machine(&host_intel);

    cpu_leaf_find(&m, 7, 0)->ecx |= 1U << 13;
    one_gap(&m, &host_intel, "cpuid 0x7.0 ecx bit 13", "on", "off");
}

static void other_makers_processor(void **state)
{
    struct cpu_leaves m = machine(&host_intel);
    struct cpu_gap g[1];

    assert_true(cpu_compat(&m, &host_amd, g, 1) > 1);
    assert_string_equal(g[0].name, "vendor");
    assert_string_equal(g[0].need, "GenuineIntel");
    assert_string_equal(g[0].have, "AuthenticAMD");
}

static void address_bits_may_grow_only(void **state)
{
    struct cpu_leaves m = machine(&host_intel), small = host_intel, large = host_intel;

    cpu_leaf_find(&small, 0x80000008, 0)->eax = 0x392e;
    cpu_leaf_find(&large, 0x80000008, 0)->eax = 0x3939;
    one_gap(&m, &small, "phys-bits", "52", "46");
    assert_int_equal(cpu_compat(&m, &large, NULL, 0), 0);
}

static void xsave_components_have_their_place(void **state)
{
    struct cpu_leaves m = machine(&host_intel), moved = host_intel, without = host_intel;

    cpu_leaf_find(&moved, 0xd, 9)->ebx = 2432;
    one_gap(&m, &moved, "xsave-component 9", "8 bytes at 2688", "8 bytes at 2432");
    cpu_leaf_find(&without, 0xd, 0)->eax &= ~(1U << 9);
    one_gap(&m, &without, "xsave-component 9", "8 bytes at 2688", "none");
}

static void paravirtual_features_count(void **state)
{
    struct cpu_leaves m = machine(&host_intel), old = host_intel;

    cpu_leaf_find(&old, 0x40000001, 0)->eax &= ~(1U << 12);
    one_gap(&m, &old, "kvm-poll-control", "on", "off");
}

/* The counts of leaf 1 are the monitor's: a host that says one thread may still run it. */
static void hyperthreading_is_no_demand(void **state)
{
    struct cpu_leaves m = machine(&host_intel), v, host = host_intel;

    cpu_model_vcpu(&m, 1, 2, &v);
    cpu_leaf_find(&host, 1, 0)->edx &= ~(1U << 28);
    assert_int_equal(cpu_compat(&v, &host, NULL, 0), 0);
}

static void an_empty_host_has_nothing(void **state)
{
    static const struct cpu_leaves none;
    struct cpu_leaves m = machine(&host_intel);
    struct cpu_gap g[4];

    assert_true(cpu_compat(&m, &none, g, 4) > 50);
    assert_int_equal(cpu_compat(&none, &host_intel, g, 4), 1); /* whose vendor is nobody's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_fits_where_it_was_made),
        cmocka_unit_test(a_missing_feature_is_named),
        cmocka_unit_test(it_has_a_direction),
        cmocka_unit_test(a_bit_without_a_name_has_a_place),
        cmocka_unit_test(other_makers_processor),
        cmocka_unit_test(address_bits_may_grow_only),
        cmocka_unit_test(xsave_components_have_their_place),
        cmocka_unit_test(paravirtual_features_count),
        cmocka_unit_test(hyperthreading_is_no_demand),
        cmocka_unit_test(an_empty_host_has_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
