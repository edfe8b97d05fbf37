#include "base/bitmap.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t map_bytes(size_t nbits)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = BITMAP_WORDS(nbits) * sizeof(uint64_t);

    return bytes ? (bytes + page - 1) & ~(page - 1) : page;
}

uint64_t *bitmap_new(size_t nbits)
{
    void *p = mmap(NULL, map_bytes(nbits), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void bitmap_free(uint64_t *map, size_t nbits)
{
    if (map)
        munmap(map, map_bytes(nbits));
}

/* Bits first..63 of a word, and bits 0..last-1. */
static uint64_t from_mask(size_t first)
{
    return ~0ULL << (first % 64);
}

static uint64_t below_mask(size_t last)
{
    return last % 64 ? ~0ULL >> (64 - last % 64) : ~0ULL;
}

enum range_op { RANGE_SET, RANGE_CLEAR, RANGE_SET_ATOMIC };

static inline void apply(uint64_t *word, uint64_t mask, enum range_op op)
{
    if (op == RANGE_SET)
        *word |= mask;
    else if (op == RANGE_CLEAR)
        *word &= ~mask;
    else
        __atomic_fetch_or(word, mask, __ATOMIC_RELEASE);
}

/* Always inlined with a constant op, so that each caller is one tight loop. */
static inline __attribute__((always_inline)) void range(uint64_t *map, size_t first, size_t n,
                                                        enum range_op op)
{
    size_t last = first + n, w = first / 64, w_last;

    if (n == 0)
        return;
    w_last = (last - 1) / 64;
    if (w == w_last) {
        apply(&map[w], from_mask(first) & below_mask(last), op);
        return;
    }
    apply(&map[w++], from_mask(first), op);
    while (w < w_last)
        apply(&map[w++], ~0ULL, op);
    apply(&map[w], below_mask(last), op);
}

void bitmap_set_range(uint64_t *map, size_t first, size_t n)
{
    range(map, first, n, RANGE_SET);
}

void bitmap_clear_range(uint64_t *map, size_t first, size_t n)
{
    range(map, first, n, RANGE_CLEAR);
}

void bitmap_set_range_atomic(uint64_t *map, size_t first, size_t n)
{
    range(map, first, n, RANGE_SET_ATOMIC);
}

/* invert: 0 looks for set bits, ~0 for clear ones. */
static inline size_t next(const uint64_t *map, size_t nbits, size_t from, uint64_t invert)
{
    size_t w = from / 64, words = BITMAP_WORDS(nbits), bit;
    uint64_t word;

    if (from >= nbits)
        return nbits;
    word = (map[w] ^ invert) & from_mask(from);
    while (!word) {
        if (++w == words)
            return nbits;
        word = map[w] ^ invert;
    }
    bit = w * 64 + (size_t)__builtin_ctzll(word);
    return bit < nbits ? bit : nbits;
}

size_t bitmap_next_set(const uint64_t *map, size_t nbits, size_t from)
{
    return next(map, nbits, from, 0);
}

size_t bitmap_next_clear(const uint64_t *map, size_t nbits, size_t from)
{
    return next(map, nbits, from, ~0ULL);
}

size_t bitmap_count(const uint64_t *map, size_t nbits)
{
    return bitmap_count_range(map, 0, nbits);
}

size_t bitmap_count_range(const uint64_t *map, size_t first, size_t n)
{
    size_t last = first + n, w = first / 64, w_last, count;

    if (n == 0)
        return 0;
    w_last = (last - 1) / 64;
    if (w == w_last)
        return (size_t)__builtin_popcountll(map[w] & from_mask(first) & below_mask(last));
    count = (size_t)__builtin_popcountll(map[w++] & from_mask(first));
    while (w < w_last)
        count += (size_t)__builtin_popcountll(map[w++]);
    return count + (size_t)__builtin_popcountll(map[w] & below_mask(last));
}
