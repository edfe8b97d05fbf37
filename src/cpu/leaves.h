/*
 * CPUID as plain facts: what a host offers, what a machine has.  The layout is that of KVM's
 * kvm_cpuid_entry2 and of state/x86_state.h, so that vmm copies entry by entry; this room stands on
 * base alone.
 */
#ifndef GODWIT_CPU_LEAVES_H
#define GODWIT_CPU_LEAVES_H

#include <stdint.h>

#define CPU_LEAVES_MAX 256
#define CPU_LEAF_INDEX 1U /* flags: index is significant */

struct cpu_leaf {
    uint32_t function, index, flags;
    uint32_t eax, ebx, ecx, edx;
};

struct cpu_leaves {
    uint32_t n;
    struct cpu_leaf leaf[CPU_LEAVES_MAX];
};

struct cpu_leaf *cpu_leaf_find(struct cpu_leaves *l, uint32_t function, uint32_t index);
const struct cpu_leaf *cpu_leaf_get(const struct cpu_leaves *l, uint32_t function, uint32_t index);
/* Existing or new and zero; NULL when there is no room. */
struct cpu_leaf *cpu_leaf_add(struct cpu_leaves *l, uint32_t function, uint32_t index,
                              uint32_t flags);
/* Removes all subleaves of a function. */
void cpu_leaf_drop(struct cpu_leaves *l, uint32_t function);
/* 'a' to 'd'. */
uint32_t cpu_leaf_reg(const struct cpu_leaf *leaf, char reg);
uint32_t *cpu_leaf_regp(struct cpu_leaf *leaf, char reg);

#endif
