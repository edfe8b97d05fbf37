/*
 * From a host's CPUID to a machine's: leaves that no guest needs or that cannot move are dropped,
 * feature bits go through the list of known ones, and what follows from the features (XSAVE's
 * sizes, AMD's copy of leaf 1) is made to agree with them.
 */
#include "cpu/model.h"

#include <errno.h>
#include <string.h>

#include "cpu/feature.h"

#define STAGE "cpu"

/* Linux asm/kvm_para.h; 0x40000010: VMware's timing leaf, as QEMU's vmware-cpuid-freq. */
#define KVM_SIGNATURE_LEAF 0x40000000U
#define KVM_FEATURES_LEAF  0x40000001U
#define TIMING_LEAF        0x40000010U
#define LAPIC_KHZ          1000000U /* KVM's LAPIC timer counts nanoseconds */

#define BASIC_MAX    0x1fU
#define EXTENDED_MAX 0x80000021U

/* Leaf 1 EDX bits that AMD shows again in 0x80000001 EDX (APM vol. 3, E.4.2). */
#define AMD_COPY 0x0183f3ffU

struct span {
    uint32_t first, last;
};

static const struct span dropped[] = {
    {0x00000005, 0x00000005}, /* MWAIT */
    {0x0000000a, 0x0000000c}, /* PMU; topology, made per vCPU */
    {0x0000000e, 0x3fffffff}, /* QoS, SGX, trace, the host's rates, key locker, hybrid, LBR, AMX */
    {0x40000002, 0x7fffffff}, /* other hypervisors' */
    {0x8000000a, 0x8000000a}, /* SVM */
    {0x8000001b, 0x8000001c}, /* IBS, LWP */
    {0x8000001f, 0x80000020}, /* SEV, QoS */
    {0x80000022, 0xffffffff}, /* PMU, and what may come */
};

/* XSAVE components (SDM vol. 1, 13.1) and the features without which they are not there. */
static const struct {
    uint8_t bit;
    const char *needs;
} components[] = {
    {2, "avx"    },
    {5, "avx512f"},
    {6, "avx512f"},
    {7, "avx512f"},
    {9, "pku"    },
};

static bool has(const struct cpu_leaves *l, const struct cpu_feature *f)
{
    const struct cpu_leaf *leaf = cpu_leaf_get(l, f->function, f->index);

    return leaf && (cpu_leaf_reg(leaf, f->reg) >> f->bit & 1);
}

static void switch_feature(struct cpu_leaves *l, const struct cpu_feature *f, bool on)
{
    struct cpu_leaf *leaf = cpu_leaf_find(l, f->function, f->index);
    uint32_t *reg;

    if (!leaf)
        return;
    reg = cpu_leaf_regp(leaf, f->reg);
    *reg = on ? *reg | 1U << f->bit : *reg & ~(1U << f->bit);
}

/* ---- what was asked for ---- */

static int check_wish(const struct cpu_leaves *host, const struct cpu_wish *w,
                      const struct cpu_feature **out, struct err *e)
{
    const struct cpu_feature *f = cpu_feature_find(w->name);

    *out = f;
    if (!f)
        return err_set(e, -EINVAL, STAGE, "unknown feature '%s'; is '%s' meant?", w->name,
                       cpu_feature_nearest(w->name));
    if (!w->on)
        return 0;
    if (f->kind == CPU_FEATURE_NEVER)
        return err_set(e, -ENOTSUP, STAGE,
                       "feature '%s' is not given to guests: its state could not be moved",
                       f->name);
    if (!has(host, f))
        return err_set(e, -ENOTSUP, STAGE,
                       "feature '%s' was asked for, and this host's KVM does not offer it",
                       f->name);
    return 0;
}

/* off[i], asked[i]: of cpu_features[i]. */
static int read_wishes(const struct cpu_leaves *host, const struct cpu_request *r, bool *off,
                       bool *asked, struct err *e)
{
    for (uint32_t i = 0; i < r->nwishes; i++) {
        const struct cpu_feature *f;
        int rc = check_wish(host, &r->wishes[i], &f, e);

        if (rc < 0)
            return rc;
        off[f - cpu_features] = !r->wishes[i].on;
        asked[f - cpu_features] = r->wishes[i].on;
    }
    return 0;
}

/* Each pass may switch off what another feature needs; the list is short and the chains too. */
static int apply_needs(struct cpu_leaves *l, const bool *asked, struct err *e)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (size_t i = 0; i < cpu_nfeatures; i++) {
            const struct cpu_feature *f = &cpu_features[i];
            const struct cpu_feature *needed = f->needs ? cpu_feature_find(f->needs) : NULL;

            if (!needed || !has(l, f) || has(l, needed))
                continue;
            if (asked[i])
                return err_set(e, -ENOTSUP, STAGE,
                               "feature '%s' was asked for, but needs '%s', "
                               "which is off",
                               f->name, needed->name);
            switch_feature(l, f, false);
            changed = true;
        }
    }
    return 0;
}

/* ---- leaves ---- */

static bool in_spans(uint32_t function)
{
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
        if (function >= dropped[i].first && function <= dropped[i].last)
            return true;
    return false;
}

static void copy_leaves(const struct cpu_leaves *host, struct cpu_leaves *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < host->n && i < CPU_LEAVES_MAX; i++)
        if (!in_spans(host->leaf[i].function))
            out->leaf[out->n++] = host->leaf[i];
}

/* Places whose every bit is a feature: unknown ones go.  Whole registers that are none, but say
 * what the host is (1 EAX, caches, address bits), are not in the list. */
static void mask_features(const struct cpu_leaves *host, const bool *off, const bool *asked,
                          struct cpu_leaves *out)
{
    for (size_t i = 0; i < cpu_nfeatures; i++) {
        struct cpu_leaf *leaf = cpu_leaf_find(out, cpu_features[i].function, cpu_features[i].index);

        if (leaf)
            *cpu_leaf_regp(leaf, cpu_features[i].reg) = 0;
    }
    for (size_t i = 0; i < cpu_nfeatures; i++) {
        const struct cpu_feature *f = &cpu_features[i];
        bool given =
            f->kind == CPU_FEATURE_HOST ? !off[i] : f->kind == CPU_FEATURE_ASKED && asked[i];

        if (given && has(host, f))
            switch_feature(out, f, true);
    }
}

static void limit_ranges(struct cpu_leaves *out)
{
    struct cpu_leaf *basic = cpu_leaf_find(out, 0, 0);
    struct cpu_leaf *extended = cpu_leaf_find(out, 0x80000000, 0);
    struct cpu_leaf *seven = cpu_leaf_find(out, 7, 0);

    if (basic && basic->eax > BASIC_MAX)
        basic->eax = BASIC_MAX;
    if (extended && extended->eax > EXTENDED_MAX)
        extended->eax = EXTENDED_MAX;
    if (seven && seven->eax > 2)
        seven->eax = 2;
}

/* Registers without features in leaves that stay: what is not known is not shown. */
static void clear_the_rest(struct cpu_leaves *out)
{
    static const struct {
        uint32_t function, index;
        const char *regs;
    } rest[] = {
        {6,                 0, "bcd"},
        {7,                 1, "bc" },
        {7,                 2, "abc"},
        {0xd,               1, "bcd"},
        {0x80000007,        0, "abc"},
        {0x80000008,        0, "cd" },
        {0x80000021,        0, "bd" },
        {KVM_FEATURES_LEAF, 0, "bcd"},
    };

    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        struct cpu_leaf *leaf = cpu_leaf_find(out, rest[i].function, rest[i].index);

        for (const char *r = rest[i].regs; leaf && *r; r++)
            *cpu_leaf_regp(leaf, *r) = 0;
    }
}

static bool on(const struct cpu_leaves *l, const char *name)
{
    return has(l, cpu_feature_find(name));
}

/* XCR0: only components that are known and whose features are on. */
static uint64_t xcr0(const struct cpu_leaves *out, const struct cpu_leaf *sub0)
{
    uint64_t offered = sub0->eax | (uint64_t)sub0->edx << 32, mask = 3;

    for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++)
        if (on(out, components[i].needs))
            mask |= 1ULL << components[i].bit;
    return offered & mask;
}

/* Leaf 0xD (SDM vol. 1, 13.2).  No supervisor components: KVM_GET_XSAVE does not carry them. */
static void fix_xsave(struct cpu_leaves *out)
{
    struct cpu_leaf *sub0 = cpu_leaf_find(out, 0xd, 0);
    uint64_t mask;
    uint32_t size = 576, n = 0;

    if (!sub0)
        return;
    if (!on(out, "xsave")) {
        cpu_leaf_drop(out, 0xd);
        return;
    }
    mask = xcr0(out, sub0);
    for (uint32_t i = 0; i < out->n; i++) {
        struct cpu_leaf *leaf = &out->leaf[i];

        if (leaf->function == 0xd && leaf->index >= 2) {
            if (leaf->index > 63 || !(mask >> leaf->index & 1))
                continue;
            if (leaf->ebx + leaf->eax > size)
                size = leaf->ebx + leaf->eax;
        }
        out->leaf[n++] = *leaf;
    }
    out->n = n;
    sub0 = cpu_leaf_find(out, 0xd, 0);
    sub0->eax = (uint32_t)mask;
    sub0->edx = (uint32_t)(mask >> 32);
    sub0->ebx = sub0->ecx = size;
}

static bool is_vendor(const struct cpu_leaves *l, const char *twelve)
{
    const struct cpu_leaf *zero = cpu_leaf_get(l, 0, 0);
    char name[13] = "";

    if (!zero)
        return false;
    memcpy(name, &zero->ebx, 4);
    memcpy(name + 4, &zero->edx, 4);
    memcpy(name + 8, &zero->ecx, 4);
    return strcmp(name, twelve) == 0;
}

static void fix_amd(struct cpu_leaves *out)
{
    const struct cpu_leaf *one = cpu_leaf_get(out, 1, 0);
    struct cpu_leaf *ext = cpu_leaf_find(out, 0x80000001, 0);

    if (one && ext && (is_vendor(out, "AuthenticAMD") || is_vendor(out, "HygonGenuine")))
        ext->edx |= one->edx & AMD_COPY;
}

static int fix_kvm(struct cpu_leaves *out, uint32_t tsc_khz, struct err *e)
{
    struct cpu_leaf *signature = cpu_leaf_add(out, KVM_SIGNATURE_LEAF, 0, 0);
    struct cpu_leaf *timing = cpu_leaf_add(out, TIMING_LEAF, 0, 0);

    if (!signature || !timing)
        return err_set(e, -EINVAL, STAGE, "more than %u CPUID leaves", CPU_LEAVES_MAX);
    memcpy(&signature->ebx, "KVMK", 4);
    memcpy(&signature->ecx, "VMKV", 4);
    memcpy(&signature->edx, "M\0\0", 4);
    signature->eax = TIMING_LEAF;
    timing->eax = tsc_khz;
    timing->ebx = LAPIC_KHZ;
    return 0;
}

int cpu_model_build(const struct cpu_leaves *host, const struct cpu_request *r, uint32_t tsc_khz,
                    struct cpu_leaves *out, struct err *e)
{
    bool off[CPU_FEATURES_MAX] = {false}, asked[CPU_FEATURES_MAX] = {false};
    int rc;

    if (strcmp(r->model, "host") != 0 && strcmp(r->model, "max") != 0)
        return err_set(e, -EINVAL, STAGE, "unknown processor model '%s': 'host' is what there is",
                       r->model);
    rc = read_wishes(host, r, off, asked, e);
    if (rc < 0)
        return rc;
    copy_leaves(host, out);
    mask_features(host, off, asked, out);
    rc = apply_needs(out, asked, e);
    if (rc < 0)
        return rc;
    clear_the_rest(out);
    limit_ranges(out);
    fix_xsave(out);
    fix_amd(out);
    return fix_kvm(out, tsc_khz, e);
}
