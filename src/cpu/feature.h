/*
 * The features of an x86 processor by name: where CPUID shows them, and whether a guest may have
 * them.  Names are QEMU's; places are from the Intel SDM vol. 2A (CPUID), the AMD APM vol. 3
 * appendix E and Linux' asm/kvm_para.h.
 */
#ifndef GODWIT_CPU_FEATURE_H
#define GODWIT_CPU_FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cpu_feature_kind {
    CPU_FEATURE_HOST,  /* given if the host has it */
    CPU_FEATURE_ASKED, /* given if the host has it and it was asked for */
    CPU_FEATURE_NEVER, /* its state cannot be moved, or it would lie */
};

struct cpu_feature {
    const char *name;
    uint32_t function, index;
    char reg; /* 'a' to 'd' */
    uint8_t bit;
    enum cpu_feature_kind kind;
    const char *needs; /* another feature without which it must be off, or NULL */
};

#define CPU_FEATURES_MAX 256

extern const struct cpu_feature cpu_features[];
extern const size_t cpu_nfeatures;

/* NULL: unknown. */
const struct cpu_feature *cpu_feature_find(const char *name);
/* The known name most like this one. */
const char *cpu_feature_nearest(const char *name);
/* By place; NULL: no such feature. */
const struct cpu_feature *cpu_feature_at(uint32_t function, uint32_t index, char reg, uint8_t bit);

#endif
