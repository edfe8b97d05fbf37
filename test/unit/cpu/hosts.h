/* Two hosts' CPUID as KVM offers it, for the tests of this room: an Intel server with AVX-512 and
 * an AMD EPYC. */
#ifndef GODWIT_TEST_UNIT_CPU_HOSTS_H
#define GODWIT_TEST_UNIT_CPU_HOSTS_H

#include "cpu/leaves.h"

extern const struct cpu_leaves host_intel, host_amd;

#endif
