#include "cpu/compat.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cpu/feature.h"

struct list {
    struct cpu_gap *gaps;
    uint32_t n, max;
};

static struct cpu_gap *next_gap(struct list *l)
{
    static const struct cpu_gap empty;
    struct cpu_gap *g = l->n < l->max ? &l->gaps[l->n] : NULL;

    l->n++;
    if (g)
        *g = empty;
    return g;
}

static void vendor_name(const struct cpu_leaves *l, char name[13])
{
    const struct cpu_leaf *zero = cpu_leaf_get(l, 0, 0);

    memset(name, 0, 13);
    if (!zero)
        return;
    memcpy(name, &zero->ebx, 4);
    memcpy(name + 4, &zero->edx, 4);
    memcpy(name + 8, &zero->ecx, 4);
}

static void check_vendor(const struct cpu_leaves *need, const struct cpu_leaves *host,
                         struct list *l)
{
    char a[13], b[13];
    struct cpu_gap *g;

    vendor_name(need, a);
    vendor_name(host, b);
    if (strcmp(a, b) == 0 || !(g = next_gap(l)))
        return;
    snprintf(g->name, sizeof(g->name), "vendor");
    snprintf(g->need, sizeof(g->need), "%s", a);
    snprintf(g->have, sizeof(g->have), "%s", b);
}

static void number_gap(struct list *l, const char *name, uint32_t need, uint32_t have)
{
    struct cpu_gap *g = next_gap(l);

    if (!g)
        return;
    snprintf(g->name, sizeof(g->name), "%s", name);
    snprintf(g->need, sizeof(g->need), "%u", need);
    snprintf(g->have, sizeof(g->have), "%u", have);
}

/* Pinned when the machine was made; a host may have more, not less. */
static void check_address_bits(const struct cpu_leaves *need, const struct cpu_leaves *host,
                               struct list *l)
{
    const struct cpu_leaf *n = cpu_leaf_get(need, 0x80000008, 0);
    const struct cpu_leaf *h = cpu_leaf_get(host, 0x80000008, 0);
    uint32_t have = h ? h->eax : 36;

    if (!n)
        return;
    if ((n->eax & 0xff) > (have & 0xff))
        number_gap(l, "phys-bits", n->eax & 0xff, have & 0xff);
    if ((n->eax >> 8 & 0xff) > (have >> 8 & 0xff))
        number_gap(l, "linear-bits", n->eax >> 8 & 0xff, have >> 8 & 0xff);
}

/* Not every host keeps an XSAVE component at the same place. */
static void check_xsave(const struct cpu_leaves *need, const struct cpu_leaves *host,
                        struct list *l)
{
    const struct cpu_leaf *n = cpu_leaf_get(need, 0xd, 0), *h = cpu_leaf_get(host, 0xd, 0);
    uint64_t needed = n ? n->eax | (uint64_t)n->edx << 32 : 0;
    uint64_t offered = h ? h->eax | (uint64_t)h->edx << 32 : 0;

    for (uint32_t i = 0; i < 63; i++) {
        const struct cpu_leaf *a, *b;
        struct cpu_gap *g;
        bool same;

        if (!(needed >> i & 1))
            continue;
        a = cpu_leaf_get(need, 0xd, i);
        b = cpu_leaf_get(host, 0xd, i);
        same = i < 2 || (a && b && a->eax == b->eax && a->ebx == b->ebx);
        if (((offered >> i & 1) && same) || !(g = next_gap(l)))
            continue;
        snprintf(g->name, sizeof(g->name), "xsave-component %u", i);
        snprintf(g->need, sizeof(g->need), "%u bytes at %u", a ? a->eax : 0, a ? a->ebx : 0);
        if (offered >> i & 1 && b)
            snprintf(g->have, sizeof(g->have), "%u bytes at %u", b->eax, b->ebx);
        else
            snprintf(g->have, sizeof(g->have), "none");
    }
}

static void bit_gap(struct list *l, uint32_t function, uint32_t index, char reg, uint8_t bit)
{
    const struct cpu_feature *f = cpu_feature_at(function, index, reg, bit);
    struct cpu_gap *g = next_gap(l);

    if (!g)
        return;
    if (f)
        snprintf(g->name, sizeof(g->name), "%s", f->name);
    else
        snprintf(g->name, sizeof(g->name), "cpuid 0x%x.%u e%cx bit %u", function, index, reg, bit);
    snprintf(g->need, sizeof(g->need), "on");
    snprintf(g->have, sizeof(g->have), "off");
}

/* ht and cmp-legacy say how many vCPUs there are: the monitor makes them, no host need have them.
 */
static bool made_here(uint32_t function, char reg, uint8_t bit)
{
    return (function == 1 && reg == 'd' && bit == 28) ||
           (function == 0x80000001 && reg == 'c' && bit == 1);
}

/* Registers that the list has features in; each is looked at once. */
static void check_features(const struct cpu_leaves *need, const struct cpu_leaves *host,
                           struct list *l)
{
    for (size_t i = 0; i < cpu_nfeatures; i++) {
        const struct cpu_feature *f = &cpu_features[i], *before = f - 1;
        const struct cpu_leaf *n = cpu_leaf_get(need, f->function, f->index);
        const struct cpu_leaf *h = cpu_leaf_get(host, f->function, f->index);
        uint32_t missing;

        if (i > 0 && before->function == f->function && before->index == f->index &&
            before->reg == f->reg)
            continue;
        missing = (n ? cpu_leaf_reg(n, f->reg) : 0) & ~(h ? cpu_leaf_reg(h, f->reg) : 0);
        for (uint8_t bit = 0; bit < 32; bit++)
            if (missing >> bit & 1 && !made_here(f->function, f->reg, bit))
                bit_gap(l, f->function, f->index, f->reg, bit);
    }
}

uint32_t cpu_compat(const struct cpu_leaves *need, const struct cpu_leaves *host,
                    struct cpu_gap *gaps, uint32_t max)
{
    struct list l = {.gaps = gaps, .max = max};

    check_vendor(need, host, &l);
    check_features(need, host, &l);
    check_xsave(need, host, &l);
    check_address_bits(need, host, &l);
    return l.n;
}
