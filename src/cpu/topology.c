/*
 * What differs between the vCPUs of a machine: APIC ids, and the topology they are read from.  One
 * socket of `vcpus` cores with one thread each, APIC id == index; every leaf that tells of it tells
 * the same (SDM vol. 3, 9.9; APM vol. 3, E.3 and E.4).
 */
#include "cpu/model.h"

#define CACHE_TYPE(eax)  ((eax)&0x1f)
#define CACHE_LEVEL(eax) ((eax) >> 5 & 7)

/* Bits that hold 0 .. n-1. */
static uint32_t bits_for(uint32_t n)
{
    uint32_t bits = 0;

    while (1U << bits < n)
        bits++;
    return bits;
}

static void leaf_1(struct cpu_leaf *l, uint32_t index, uint32_t vcpus)
{
    uint32_t ids = 1U << bits_for(vcpus);

    l->ebx = (l->ebx & 0x0000ffff) | (ids > 255 ? 255 : ids) << 16 | index << 24;
    l->edx = vcpus > 1 ? l->edx | 1U << 28 : l->edx & ~(1U << 28);
}

/* 4 and 0x8000001D: EAX[25:14] APIC ids that share this cache, less one; in 4 also EAX[31:26] cores
 * of the package, less one (at most 63: more are told by leaf 0xB). The last level is shared. */
static void cache(struct cpu_leaf *l, uint32_t vcpus, bool cores_too)
{
    uint32_t ids = 1U << bits_for(vcpus), cores = ids > 64 ? 64 : ids;

    if (CACHE_TYPE(l->eax) == 0)
        return;
    l->eax &= 0x3fff;
    if (CACHE_LEVEL(l->eax) >= 3)
        l->eax |= (ids - 1) << 14;
    if (cores_too)
        l->eax |= (cores - 1) << 26;
}

/* 0xB and 0x1F: threads (one), then cores. */
static void extended_topology(struct cpu_leaves *out, uint32_t function, uint32_t index,
                              uint32_t vcpus)
{
    const struct cpu_leaf levels[] = {
        {function, 0, CPU_LEAF_INDEX, 0,               1,     0 | 1 << 8, index},
        {function, 1, CPU_LEAF_INDEX, bits_for(vcpus), vcpus, 1 | 2 << 8, index},
        {function, 2, CPU_LEAF_INDEX, 0,               0,     2,          index},
    };

    for (uint32_t i = 0; i < 3; i++) {
        struct cpu_leaf *l = cpu_leaf_add(out, function, i, CPU_LEAF_INDEX);

        if (l)
            *l = levels[i];
    }
}

static void amd_topology(struct cpu_leaf *l, uint32_t index, uint32_t vcpus)
{
    switch (l->function) {
    case 0x80000001: /* CmpLegacy: the ids of leaf 1 are cores */
        l->ecx = vcpus > 1 ? l->ecx | 2U : l->ecx & ~2U;
        break;
    case 0x80000008: /* ApicIdSize, cores less one */
        l->ecx = bits_for(vcpus) << 12 | (vcpus - 1);
        break;
    case 0x8000001e: /* extended APIC id; core; node 0 of 1 */
        l->eax = index;
        l->ebx = index & 0xff;
        l->ecx = 0;
        l->edx = 0;
        break;
    default:
        break;
    }
}

static bool is_amd(const struct cpu_leaves *l)
{
    const struct cpu_leaf *zero = cpu_leaf_get(l, 0, 0);

    return zero && (zero->ebx == 0x68747541 /* Auth */ || zero->ebx == 0x6f677948 /* Hygo */);
}

static void fix_leaf(struct cpu_leaf *l, uint32_t index, uint32_t vcpus, bool amd)
{
    switch (l->function) {
    case 1:
        leaf_1(l, index, vcpus);
        break;
    case 4:
        cache(l, vcpus, true);
        break;
    case 0x8000001d:
        cache(l, vcpus, false);
        break;
    default:
        if (amd)
            amd_topology(l, index, vcpus);
        break;
    }
}

void cpu_model_vcpu(const struct cpu_leaves *model, uint32_t index, uint32_t vcpus,
                    struct cpu_leaves *out)
{
    const struct cpu_leaf *zero;
    bool amd = is_amd(model);

    *out = *model;
    for (uint32_t i = 0; i < out->n; i++)
        fix_leaf(&out->leaf[i], index, vcpus, amd);
    zero = cpu_leaf_get(out, 0, 0);
    if (zero && zero->eax >= 0xb)
        extended_topology(out, 0xb, index, vcpus);
    if (zero && zero->eax >= 0x1f && !amd)
        extended_topology(out, 0x1f, index, vcpus);
}
