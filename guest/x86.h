/* The instructions that C has no words for. All of them are legal in ring 3 with IOPL 3; what needs
 * ring 0 goes through gate_*(), the services of entry.S. */
#ifndef WITNESS_X86_H
#define WITNESS_X86_H

#include <stdbool.h>
#include <stdint.h>
#include "layout.h"

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* Ordered after every load before it, so that a value read earlier was written earlier. */
static inline uint64_t tsc_now(void)
{
    uint32_t lo, hi;

    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

/* CPUID is asked in ring 0: some hosts answer ring 3 with their own processor's values. */
static inline struct cpuid gate_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {leaf, 0, subleaf, 0};
    uint32_t gate = GATE_CPUID;

    __asm__ volatile("hlt" : "+D"(gate), "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "=d"(r.edx));
    return r;
}

/* False when the processor refused. */
static inline bool gate_rdmsr(uint32_t msr, uint64_t *value)
{
    uint32_t gate = GATE_RDMSR, lo = 0, hi = 0;

    __asm__ volatile("hlt" : "+D"(gate), "+a"(lo), "+d"(hi) : "c"(msr) : "memory");
    *value = (uint64_t)hi << 32 | lo;
    return gate == 0;
}

static inline bool gate_wrmsr(uint32_t msr, uint64_t value)
{
    uint32_t gate = GATE_WRMSR;

    __asm__ volatile("hlt"
                     : "+D"(gate)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return gate == 0;
}

static inline bool gate_xsetbv(uint32_t xcr, uint64_t value)
{
    uint32_t gate = GATE_XSETBV;

    __asm__ volatile("hlt"
                     : "+D"(gate)
                     : "c"(xcr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return gate == 0;
}

static inline bool gate_enable_xsave(void)
{
    uint32_t gate = GATE_OSXSAVE;

    __asm__ volatile("hlt" : "+D"(gate) : : "rax", "memory");
    return gate == 0;
}

/* A triple fault, the last resort of a reset. */
static inline void gate_shutdown(void)
{
    __asm__ volatile("hlt" : : "D"(GATE_SHUTDOWN) : "memory");
}

/* The four words of GATE_GET_DR (DR0 to DR3) or GATE_GET_CR (CR0, CR2, CR3, CR4). */
static inline void gate_get4(uint32_t gate, uint64_t v[4])
{
    register uint64_t r8 __asm__("r8");
    register uint64_t r9 __asm__("r9");
    register uint64_t r10 __asm__("r10");
    register uint64_t r11 __asm__("r11");

    __asm__ volatile("hlt" : "+D"(gate), "=r"(r8), "=r"(r9), "=r"(r10), "=r"(r11));
    v[0] = r8;
    v[1] = r9;
    v[2] = r10;
    v[3] = r11;
}

static inline void gate_set_dr(const uint64_t v[4])
{
    register uint64_t r8 __asm__("r8") = v[0];
    register uint64_t r9 __asm__("r9") = v[1];
    register uint64_t r10 __asm__("r10") = v[2];
    register uint64_t r11 __asm__("r11") = v[3];
    uint32_t gate = GATE_SET_DR;

    __asm__ volatile("hlt" : "+D"(gate) : "r"(r8), "r"(r9), "r"(r10), "r"(r11));
}

#endif
