/*
 * Time: the TSC, its frequency, and the host's word on when it stopped the machine.
 *
 * The frequency comes from, in this order: tsc_khz= on the command line; the KVM clock's own scale;
 * CPUID 0x40000010; CPUID 0x15 with a crystal; three times 50 ms of PIT channel 2; CPUID 0x16.
 */
#ifndef WITNESS_CLOCK_H
#define WITNESS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Written by the host: Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW. */
struct pvclock {
    uint32_t version, pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t mul;
    int8_t shift;
    uint8_t flags;
    uint8_t pad1[2];
} __attribute__((aligned(32)));

_Static_assert(sizeof(struct pvclock) == 32, "pvclock_vcpu_time_info");

#define PVCLOCK_STOPPED 2 /* the host stopped this vCPU (KVM_KVMCLOCK_CTRL); ours to clear */

struct clock {
    uint64_t khz;
    const char *source; /* where khz is from */
    bool kvm;           /* the host has a KVM clock */
};

extern struct clock tsc_clock;

/* Boot processor, before the others start. attach is then called by each processor for itself. */
void clock_init(uint64_t khz_wanted, struct pvclock *own);
void clock_attach(struct pvclock *own);

/* Nanoseconds of the KVM clock at `tsc`, 0 without one. */
uint64_t clock_kvm_ns(const struct pvclock *own, uint64_t tsc);

/* True once after each time the host stopped this vCPU and told so. */
static inline bool clock_was_stopped(struct pvclock *own)
{
    volatile uint8_t *flags = &own->flags;

    if (!(*flags & PVCLOCK_STOPPED))
        return false;
    __asm__ volatile("lock andb %1, %0" : "+m"(*flags) : "iq"((uint8_t)~PVCLOCK_STOPPED));
    return true;
}

static inline uint64_t ticks_of_us(uint64_t us)
{
    return us * tsc_clock.khz / 1000;
}

static inline uint64_t us_of_ticks(uint64_t ticks)
{
    return ticks * 1000 / tsc_clock.khz;
}

static inline uint64_t ms_of_ticks(uint64_t ticks)
{
    return ticks / tsc_clock.khz;
}

#endif
