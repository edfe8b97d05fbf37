/* The local APIC from ring 3: starting the other processors, and the timer that ends an idle nap.
 * Registers: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller". */
#ifndef WITNESS_SMP_H
#define WITNESS_SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

struct cpu;

#define LAPIC_ID     0x020
#define LAPIC_TPR    0x080
#define LAPIC_LDR    0x0d0
#define LAPIC_DFR    0x0e0
#define LAPIC_SVR    0x0f0
#define LAPIC_ICR    0x300
#define LAPIC_ICR2   0x310
#define LAPIC_TIMER  0x320
#define LAPIC_THERM  0x330
#define LAPIC_PERF   0x340
#define LAPIC_LINT0  0x350
#define LAPIC_LINT1  0x360
#define LAPIC_ERROR  0x370
#define LAPIC_COUNT  0x380
#define LAPIC_NOW    0x390
#define LAPIC_DIVIDE 0x3e0

static inline uint32_t lapic_read(unsigned reg)
{
    return *(volatile uint32_t *)(uintptr_t)(LAPIC_BASE + reg);
}

static inline void lapic_write(unsigned reg, uint32_t v)
{
    *(volatile uint32_t *)(uintptr_t)(LAPIC_BASE + reg) = v;
}

/* Each processor for itself: APIC on, timer one-shot, all other sources masked. */
void lapic_init(void);

/* Watches the TSC for so long. */
void wait_us(uint64_t us);

/* Boot processor: how fast the timer counts. */
void lapic_calibrate(void);

/* One interrupt after so many microseconds. */
void lapic_arm(uint64_t us);

/* Boot processor: starts the processors with APIC ids 1 to count - 1, which begin at entry. Returns
 * NULL, or what went wrong. */
const char *smp_start(unsigned count, void (*entry)(struct cpu *));

#endif
