/* The one source of pseudo-random words: the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast
 * splittable pseudorandom number generators", OOPSLA 2014). */
#ifndef WITNESS_MIX_H
#define WITNESS_MIX_H

#include <stdint.h>

#define MIX_STEP 0x9e3779b97f4a7c15u

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

#endif
