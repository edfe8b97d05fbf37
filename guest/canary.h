/*
 * Words of processor and device state that must never change by themselves.
 *
 * At the start each vCPU puts its own pattern into every word of state that it may choose (vector
 * and debug registers, MSRs that nothing here uses, LAPIC registers; the boot processor also device
 * registers), reads back what stuck, and from then on compares one group of words each few
 * milliseconds. What the machine does not have reads back the same forever and does no harm. So a
 * migration that loses or mixes up a word of state is caught although no work depends on that word.
 */
#ifndef WITNESS_CANARY_H
#define WITNESS_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "pace.h"

struct cpu;

#define CANARY_WORDS 192

struct canary {
    uint64_t want[CANARY_WORDS];
    unsigned count, next;
    bool avx;
    uint64_t checks, bad;
    struct pace pace;
    uint64_t hold[12]; /* general registers while idle; see hold.S */
};

/* Plants the words; each processor for itself. */
void canary_init(struct cpu *c);

/* Compares a group when one is due. */
void canary_step(struct cpu *c, uint64_t now);

/* Idles with known values in the general registers, and compares them afterwards: until the TSC has
 * reached `until`, or in HLT until the next interrupt. */
void canary_spin(struct cpu *c, uint64_t until);
void canary_hlt(struct cpu *c);

#endif
