/*
 * The static data: pages filled once with pseudo-random words that depend on seed, address and
 * place, then compared with the generator again and again. A page that was lost, moved or damaged
 * in any bit is found within one pass. A wrong word is reported, counted once, and mended.
 */
#ifndef WITNESS_PATTERN_H
#define WITNESS_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "mix.h"
#include "pace.h"

struct cpu;

/* One vCPU's slice of the static data. */
struct pattern {
    uint64_t first, end, next; /* pages */
    uint64_t words, passes, bad;
    uint64_t pass_start, pass_ticks; /* of the last full pass */
    struct pace pace;
};

/* Fills the vCPU's slice. */
void pattern_init(struct cpu *c);

/* Verifies one page when one is due; true when it did. */
bool pattern_step(struct cpu *c, uint64_t now);

/* Mends the words [first, end) of a page, reports them in one event and returns how many differed.
 */
uint64_t pattern_mend(struct cpu *c, uint64_t gpa, unsigned first, unsigned end);

/* The key of a page, and its word w. */
static inline uint64_t pattern_key(uint64_t seed, uint64_t gpa)
{
    return mix(seed * MIX_STEP ^ gpa);
}

static inline uint64_t pattern_word(uint64_t key, unsigned w)
{
    return mix(key + (w + 1) * MIX_STEP);
}

/* The same as text: eight-letter words of a thousand, the first of them the likeliest. */
static inline uint64_t pattern_letters(uint64_t key, unsigned w)
{
    uint64_t random = pattern_word(key, w), letters = mix((random & random >> 20) & 1023);

    return 0x2061616161616161u + (letters & 0x000f0f0f0f0f0f0fu);
}

#endif
