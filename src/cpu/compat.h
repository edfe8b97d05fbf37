/*
 * Could this machine's processor exist on that host?  Pure; for verdicts, before any RAM moves.
 * Directional by nature: what it says of A to B says nothing of B to A.
 */
#ifndef GODWIT_CPU_COMPAT_H
#define GODWIT_CPU_COMPAT_H

#include <stdint.h>

#include "cpu/leaves.h"

struct cpu_gap {
    char
        name[48]; /* "avx512f", "vendor", "phys-bits", "xsave-layout 7", "cpuid 0x7.0 ecx bit 13" */
    char need[32],
        have[32]; /* the two values as a person reads them: "on", "off", "46", "GenuineIntel" */
};

/*
 * need: the machine's leaves (cpu_model_build, from the manifest); host: what the destination's KVM
 * offers.  Returns how many gaps there are, of which the first `max` are filled in; 0: it fits.
 */
uint32_t cpu_compat(const struct cpu_leaves *need, const struct cpu_leaves *host,
                    struct cpu_gap *gaps, uint32_t max);

#endif
