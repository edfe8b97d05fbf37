/*
 * The words of processor and device state that canary.c watches: which there are, how each is read,
 * and what may be planted in it without changing how the machine works. Processor state is that of
 * the calling processor. Sources: Intel SDM volumes 3 and 4; the data sheets of the 8254, 8259A,
 * 82093AA, PC16550D and MC146818; PCI Local Bus 3.0, section 6.2.4 (interrupt line).
 */
#ifndef WITNESS_WORDS_H
#define WITNESS_WORDS_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct source;

struct word {
    const char *name;
    uint32_t arg; /* which one of that name */
    const struct source *source;
};

/* Opens the upper halves of the vector registers; false where there are none. Comes first, and the
 * answer is expected in the processor's canary.avx. */
bool words_enable_avx(void);

/* Word n of this processor's words; false past the last. */
bool words_locate(const struct cpu *c, unsigned n, struct word *w);

uint64_t words_read(const struct word *w);

/* Puts this processor's own pattern into the word, where that does no harm. */
void words_plant(const struct cpu *c, const struct word *w);

#endif
