#include "cpu/leaves.h"

#include <stddef.h>

const struct cpu_leaf *cpu_leaf_get(const struct cpu_leaves *l, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < l->n && i < CPU_LEAVES_MAX; i++) {
        const struct cpu_leaf *leaf = &l->leaf[i];

        if (leaf->function == function && (leaf->index == index || !(leaf->flags & CPU_LEAF_INDEX)))
            return leaf;
    }
    return NULL;
}

struct cpu_leaf *cpu_leaf_find(struct cpu_leaves *l, uint32_t function, uint32_t index)
{
    return (struct cpu_leaf *)(uintptr_t)cpu_leaf_get(l, function, index);
}

struct cpu_leaf *cpu_leaf_add(struct cpu_leaves *l, uint32_t function, uint32_t index,
                              uint32_t flags)
{
    struct cpu_leaf *leaf = cpu_leaf_find(l, function, index);

    if (leaf || l->n >= CPU_LEAVES_MAX)
        return leaf;
    leaf = &l->leaf[l->n++];
    *leaf = (struct cpu_leaf){.function = function, .index = index, .flags = flags};
    return leaf;
}

void cpu_leaf_drop(struct cpu_leaves *l, uint32_t function)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->n; i++)
        if (l->leaf[i].function != function)
            l->leaf[n++] = l->leaf[i];
    l->n = n;
}

uint32_t *cpu_leaf_regp(struct cpu_leaf *leaf, char reg)
{
    switch (reg) {
    case 'a':
        return &leaf->eax;
    case 'b':
        return &leaf->ebx;
    case 'c':
        return &leaf->ecx;
    default:
        return &leaf->edx;
    }
}

uint32_t cpu_leaf_reg(const struct cpu_leaf *leaf, char reg)
{
    return *cpu_leaf_regp((struct cpu_leaf *)(uintptr_t)leaf, reg);
}
