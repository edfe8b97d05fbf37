/* The interrupt table, written from ring 3, and what becomes of a processor that takes a fault. */
#ifndef WITNESS_TRAP_H
#define WITNESS_TRAP_H

struct cpu;

/* Boot processor, first thing: nothing that may fault works before. */
void trap_init(void);

/* Where entry.S sends a processor after a fault: says so and stops for good. */
void panic(struct cpu *c) __attribute__((noreturn));

/* Stops this processor. */
void halt_forever(void) __attribute__((noreturn));

#endif
