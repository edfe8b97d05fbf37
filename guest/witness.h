/* What all processors read and only the boot processor writes, before the others start. */
#ifndef WITNESS_WITNESS_H
#define WITNESS_WITNESS_H

#include "config.h"
#include "cpu.h"
#include "memory.h"

struct witness {
    struct config config;
    struct boot boot;
    struct area fixed;  /* the static data */
    struct area moving; /* the working set */
    uint64_t start;     /* TSC */
};

extern struct witness witness;

/* By APIC id; NULL where none was started. entry.S reads it too. */
extern struct cpu *cpu_table[MAX_CPUS + 2];
extern struct cpu boot_cpu;

#endif
