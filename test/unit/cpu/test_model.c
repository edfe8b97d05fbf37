#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cpu/compat.h"
#include "cpu/feature.h"
#include "cpu/model.h"
#include "hosts.h"

#define KHZ 2300000

static bool on(const struct cpu_leaves *l, const char *name)
{
    const struct cpu_feature *f = cpu_feature_find(name);
    const struct cpu_leaf *leaf = cpu_leaf_get(l, f->function, f->index);

    return leaf && (cpu_leaf_reg(leaf, f->reg) >> f->bit & 1);
}

static void build(const struct cpu_leaves *host, const struct cpu_wish *wishes, uint32_t n,
                  struct cpu_leaves *out)
{
    const struct cpu_request r = {.model = "host", .nwishes = n, .wishes = wishes};
    struct err e = ERR_INIT;

    if (cpu_model_build(host, &r, KHZ, out, &e) < 0)
        fail_msg("%s", e.text);
}

static void refused(const struct cpu_leaves *host, const struct cpu_wish *wishes, uint32_t n,
                    int code, const char *says)
{
    const struct cpu_request r = {.model = "host", .nwishes = n, .wishes = wishes};
    struct cpu_leaves out;
    struct err e = ERR_INIT;

    assert_int_equal(cpu_model_build(host, &r, KHZ, &out, &e), code);
    if (!strstr(e.text, says))
        fail_msg("'%s' does not say '%s'", e.text, says);
}

static void what_cannot_move_is_masked(void **state)
{
    const struct cpu_leaves *hosts[] = {&host_intel, &host_amd};
    struct cpu_leaves m;

    assert_true(on(&host_intel, "vmx") && on(&host_intel, "amx-tile"));
    assert_true(on(&host_amd, "svm") && on(&host_intel, "invtsc"));
    for (int h = 0; h < 2; h++) {
        build(hosts[h], NULL, 0, &m);
        for (size_t i = 0; i < cpu_nfeatures; i++) {
            bool given = on(&m, cpu_features[i].name);

            assert_false(given && cpu_features[i].kind != CPU_FEATURE_HOST);
            assert_false(given && !on(hosts[h], cpu_features[i].name));
            if (cpu_features[i].kind == CPU_FEATURE_HOST && !cpu_features[i].needs)
                assert_int_equal(given, on(hosts[h], cpu_features[i].name));
        }
        assert_null(cpu_leaf_get(&m, 0xa, 0));
        assert_null(cpu_leaf_get(&m, 0x14, 0));
        assert_null(cpu_leaf_get(&m, 0x15, 0));
        assert_null(cpu_leaf_get(&m, 0x8000000a, 0));
        assert_int_equal(cpu_compat(&m, hosts[h], NULL, 0), 0);
    }
}

static void unknown_bits_are_masked(void **state)
{
    struct cpu_leaves host = host_intel, m;

    cpu_leaf_find(&host, 7, 1)->eax |= 1U << 31;
    cpu_leaf_find(&host, 7, 1)->ecx = ~0U;
    cpu_leaf_find(&host, 0x80000008, 0)->ebx |= 1U << 31;
    build(&host, NULL, 0, &m);
    assert_int_equal(cpu_leaf_get(&m, 7, 1)->eax >> 31, 0);
    assert_int_equal(cpu_leaf_get(&m, 7, 1)->ecx, 0);
    assert_int_equal(cpu_leaf_get(&m, 0x80000008, 0)->ebx >> 31, 0);
}

static void a_feature_can_be_switched_off(void **state)
{
    const struct cpu_wish w[] = {
        {"bmi2",           false},
        {"kvm_steal_time", false},
        {"vmx",            false}
    };
    struct cpu_leaves m;

    build(&host_intel, w, 3, &m);
    assert_false(on(&m, "bmi2") || on(&m, "kvm-steal-time") || on(&m, "kvm-pv-tlb-flush"));
    assert_true(on(&m, "bmi1"));
}

static void what_needs_it_goes_with_it(void **state)
{
    const struct cpu_wish w[] = {
        {"avx", false}
    };
    struct cpu_leaves m;

    build(&host_intel, NULL, 0, &m);
    assert_true(on(&m, "avx2") && on(&m, "avx512f") && on(&m, "avx512vnni") && on(&m, "fma"));
    build(&host_intel, w, 1, &m);
    assert_false(on(&m, "avx2") || on(&m, "avx512f") || on(&m, "avx512vnni") || on(&m, "fma"));
    assert_true(on(&m, "xsave") && on(&m, "sse4.2"));
    assert_int_equal(cpu_leaf_get(&m, 0xd, 0)->eax & 0xe4, 0);
    assert_null(cpu_leaf_get(&m, 0xd, 2));
}

static void wishes_are_judged(void **state)
{
    const struct cpu_wish unknown[] =
        {
            {"avx3", true}
    },
                          lacks[] = {{"sse4a", true}};
    const struct cpu_wish never[] =
        {
            {"vmx", true}
    },
                          torn[] = {{"avx2", true}, {"avx", false}};
    const struct cpu_wish last[] = {
        {"avx2", false},
        {"avx2", true }
    };
    const struct cpu_request model = {.model = "Haswell"};
    struct cpu_leaves m;
    struct err e = ERR_INIT;

    refused(&host_intel, unknown, 1, -EINVAL, "unknown feature 'avx3'; is 'avx");
    refused(&host_intel, lacks, 1, -ENOTSUP, "'sse4a'");
    refused(&host_intel, never, 1, -ENOTSUP, "'vmx' is not given");
    refused(&host_intel, torn, 2, -ENOTSUP, "'avx2' was asked for, but needs 'avx'");
    assert_int_equal(cpu_model_build(&host_intel, &model, KHZ, &m, &e), -EINVAL);
    assert_non_null(strstr(e.text, "Haswell"));
    build(&host_intel, last, 2, &m);
    assert_true(on(&m, "avx2"));
}

static void invtsc_only_when_asked_for(void **state)
{
    const struct cpu_wish w[] = {
        {"invtsc", true}
    };
    struct cpu_leaves m;

    build(&host_intel, NULL, 0, &m);
    assert_false(on(&m, "invtsc"));
    build(&host_intel, w, 1, &m);
    assert_true(on(&m, "invtsc"));
    refused(&host_amd, w, 1, -ENOTSUP, "invtsc");
}

static void xsave_leaves_agree(void **state)
{
    struct cpu_leaves m;

    build(&host_intel, NULL, 0, &m);
    assert_int_equal(cpu_leaf_get(&m, 0xd, 0)->eax, 0x2e7); /* no AMX */
    assert_int_equal(cpu_leaf_get(&m, 0xd, 0)->ecx, 2696);
    assert_null(cpu_leaf_get(&m, 0xd, 18));
    assert_int_equal(cpu_leaf_get(&m, 0xd, 1)->ecx, 0); /* no supervisor state */
    assert_int_equal(cpu_leaf_get(&m, 0xd, 1)->eax, 0xf);
}

static void hypervisor_leaves_are_pinned(void **state)
{
    struct cpu_leaves m;

    build(&host_intel, NULL, 0, &m);
    assert_int_equal(cpu_leaf_get(&m, 0x40000000, 0)->eax, 0x40000010);
    assert_memory_equal(&cpu_leaf_get(&m, 0x40000000, 0)->ebx, "KVMKVMKVM\0\0\0", 12);
    assert_int_equal(cpu_leaf_get(&m, 0x40000010, 0)->eax, KHZ);
    assert_int_equal(cpu_leaf_get(&m, 0x40000010, 0)->ebx, 1000000);
    assert_true(on(&m, "kvmclock") && on(&m, "kvmclock2") && on(&m, "kvmclock-stable-bit"));
    assert_false(on(&m, "kvm-asyncpf") || on(&m, "kvm-asyncpf-int"));
}

static void building_twice_changes_nothing(void **state)
{
    struct cpu_leaves once, twice;

    build(&host_amd, NULL, 0, &once);
    build(&once, NULL, 0, &twice);
    assert_memory_equal(&once, &twice,
                        offsetof(struct cpu_leaves, leaf) + once.n * sizeof(struct cpu_leaf));
}

static void amd_copies_leaf_1(void **state)
{
    const struct cpu_wish w[] = {
        {"mca", false}
    };
    struct cpu_leaves m;

    build(&host_amd, w, 1, &m);
    assert_int_equal(cpu_leaf_get(&m, 0x80000001, 0)->edx & 0x0183f3ff,
                     cpu_leaf_get(&m, 1, 0)->edx & 0x0183f3ff);
    assert_int_equal(cpu_leaf_get(&m, 0x80000001, 0)->edx >> 14 & 1, 0);
}

/* ---- topology ---- */

static void check_topology(const struct cpu_leaves *m, uint32_t index, uint32_t vcpus,
                           uint32_t bits)
{
    struct cpu_leaves v;

    cpu_model_vcpu(m, index, vcpus, &v);
    assert_int_equal(cpu_leaf_get(&v, 1, 0)->ebx >> 24, index);
    assert_int_equal(on(&v, "ht"), vcpus > 1);
    assert_int_equal(cpu_leaf_get(&v, 0xb, 0)->ebx, 1);
    assert_int_equal(cpu_leaf_get(&v, 0xb, 1)->eax, bits);
    assert_int_equal(cpu_leaf_get(&v, 0xb, 1)->ebx, vcpus);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(cpu_leaf_get(&v, 0xb, i)->edx, index);
    assert_int_equal(cpu_leaf_get(&v, 0xb, 2)->ebx, 0);
    assert_true(1U << bits >= vcpus);
}

static void each_vcpu_knows_its_place(void **state)
{
    static const uint32_t counts[][2] = {
        {1,   0},
        {2,   1},
        {3,   2},
        {16,  4},
        {17,  5},
        {254, 8}
    };
    struct cpu_leaves m;

    build(&host_intel, NULL, 0, &m);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        for (uint32_t v = 0; v < counts[i][0]; v++)
            check_topology(&m, v, counts[i][0], counts[i][1]);
}

static void caches_are_shared_as_the_cores_are(void **state)
{
    struct cpu_leaves m, v;

    build(&host_intel, NULL, 0, &m);
    cpu_model_vcpu(&m, 0, 4, &v);
    assert_int_equal(cpu_leaf_get(&v, 4, 0)->eax, 3U << 26 | 0x121);            /* L1: its own */
    assert_int_equal(cpu_leaf_get(&v, 4, 3)->eax, 3U << 26 | 3U << 14 | 0x163); /* L3: all four */
    assert_int_equal(cpu_leaf_get(&v, 4, 4)->eax, 0);
    cpu_model_vcpu(&m, 0, 254, &v);
    assert_int_equal(cpu_leaf_get(&v, 4, 3)->eax >> 26, 63);
    assert_int_equal(cpu_leaf_get(&v, 4, 3)->eax >> 14 & 0xfff, 255);
}

static void amd_topology_agrees(void **state)
{
    struct cpu_leaves m, v;

    build(&host_amd, NULL, 0, &m);
    cpu_model_vcpu(&m, 5, 6, &v);
    assert_int_equal(cpu_leaf_get(&v, 0x80000008, 0)->ecx, 3U << 12 | 5);
    assert_int_equal(cpu_leaf_get(&v, 0x8000001e, 0)->eax, 5);
    assert_int_equal(cpu_leaf_get(&v, 0x8000001e, 0)->ebx, 5);
    assert_int_equal(cpu_leaf_get(&v, 0x8000001d, 3)->eax >> 14 & 0xfff, 7);
    assert_true(on(&v, "cmp-legacy"));
    assert_null(cpu_leaf_get(&v, 0x1f, 0));
    assert_int_equal(cpu_compat(&v, &host_amd, NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_move_is_masked),
        cmocka_unit_test(unknown_bits_are_masked),
        cmocka_unit_test(a_feature_can_be_switched_off),
        cmocka_unit_test(what_needs_it_goes_with_it),
        cmocka_unit_test(wishes_are_judged),
        cmocka_unit_test(invtsc_only_when_asked_for),
        cmocka_unit_test(xsave_leaves_agree),
        cmocka_unit_test(hypervisor_leaves_are_pinned),
        cmocka_unit_test(building_twice_changes_nothing),
        cmocka_unit_test(amd_copies_leaf_1),
        cmocka_unit_test(each_vcpu_knows_its_place),
        cmocka_unit_test(caches_are_shared_as_the_cores_are),
        cmocka_unit_test(amd_topology_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
