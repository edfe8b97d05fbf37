/*
 * Bitmaps of 64-bit words: bit i is bit i%64 of word i/64, as KVM's dirty logs lay them out on
 * x86_64.  The _atomic forms may race with one another on the same word.
 */
#ifndef GODWIT_BASE_BITMAP_H
#define GODWIT_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(nbits) (((size_t)(nbits) + 63) / 64)

/* Zeroed, and backed lazily: large bitmaps of sparse machines cost nothing until touched. NULL:
 * ENOMEM. */
uint64_t *bitmap_new(size_t nbits);
void bitmap_free(uint64_t *map, size_t nbits);
void bitmap_set_range(uint64_t *map, size_t first, size_t n);
void bitmap_clear_range(uint64_t *map, size_t first, size_t n);
void bitmap_set_range_atomic(uint64_t *map, size_t first, size_t n);
/* First set (clear) bit at or after from, below nbits; nbits when there is none. */
size_t bitmap_next_set(const uint64_t *map, size_t nbits, size_t from);
size_t bitmap_next_clear(const uint64_t *map, size_t nbits, size_t from);
size_t bitmap_count(const uint64_t *map, size_t nbits);
size_t bitmap_count_range(const uint64_t *map, size_t first, size_t n);

static inline bool bitmap_test(const uint64_t *map, size_t i)
{
    return (map[i / 64] >> (i % 64)) & 1;
}

static inline void bitmap_set(uint64_t *map, size_t i)
{
    map[i / 64] |= 1ULL << (i % 64);
}

#endif
