#include "migrate/delta.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "wire/reader.h"

#define STAGE     "delta"
#define WAYS      4U
#define LOCKS_MAX 1024U
#define WORDS     (GODWIT_PAGE_SIZE / 8)

struct slot {
    uint64_t key;
    uint32_t used;  /* the highest of a set was used last */
    uint32_t epoch; /* what it is of; holds nothing if that is over */
};

struct set {
    struct slot slot[WAYS];
};

_Static_assert(sizeof(struct set) == 64, "a look into a set is one cache line");

/* Both tables are mapped and populated by use. */
struct delta {
    uint64_t nsets;
    struct set *sets;
    uint8_t *pages; /* WAYS to a set */
    atomic_uint epoch;
    uint32_t nlocks; /* set i: lock i % nlocks */
    pthread_mutex_t locks[];
};

static void *map(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int delta_new(uint64_t bytes, struct delta **out, struct err *e)
{
    uint64_t nsets = bytes / (WAYS * GODWIT_PAGE_SIZE);
    uint32_t nlocks;
    struct delta *d;

    *out = NULL;
    if (nsets == 0)
        nsets = 1;
    nlocks = nsets < LOCKS_MAX ? (uint32_t)nsets : LOCKS_MAX;
    d = calloc(1, sizeof(*d) + nlocks * sizeof(d->locks[0]));
    if (!d)
        return err_set_errno(e, -ENOMEM, STAGE, "a cache");
    d->nsets = nsets;
    d->nlocks = nlocks;
    atomic_init(&d->epoch, 1); /* of which an empty table has nothing */
    for (uint32_t i = 0; i < nlocks; i++)
        pthread_mutex_init(&d->locks[i], NULL);
    d->sets = map(nsets * sizeof(*d->sets));
    d->pages = map(nsets * WAYS * GODWIT_PAGE_SIZE);
    if (!d->sets || !d->pages) {
        delta_free(d);
        return err_set_errno(e, -ENOMEM, STAGE, "a cache of %" PRIu64 " bytes", bytes);
    }
    *out = d;
    return 0;
}

void delta_free(struct delta *d)
{
    if (!d)
        return;
    if (d->sets)
        munmap(d->sets, d->nsets * sizeof(*d->sets));
    if (d->pages)
        munmap(d->pages, d->nsets * WAYS * GODWIT_PAGE_SIZE);
    for (uint32_t i = 0; i < d->nlocks; i++)
        pthread_mutex_destroy(&d->locks[i]);
    free(d);
}

void delta_forget(struct delta *d)
{
    atomic_fetch_add(&d->epoch, 1);
}

/* ---- the cache ---- */

static uint64_t key_of(uint32_t region, uint64_t page)
{
    return ((uint64_t)region << 48) | page;
}

/* Neighbours, which a guest uses together, go to sets far apart (multiplicative hashing; the
 * product with nsets takes the hash to [0, nsets) without a division). */
static uint64_t set_of(const struct delta *d, uint64_t key)
{
    return (uint64_t)(((unsigned __int128)(key * 0x9e3779b97f4a7c15ULL) * d->nsets) >> 64);
}

static struct slot *find(struct set *s, uint64_t key, uint32_t epoch)
{
    for (unsigned int i = 0; i < WAYS; i++)
        if (s->slot[i].key == key && s->slot[i].epoch == epoch)
            return &s->slot[i];
    return NULL;
}

/* An empty slot, or the one that was used least recently. */
static struct slot *oldest(struct set *s, uint32_t epoch)
{
    struct slot *old = &s->slot[0];

    for (unsigned int i = 0; i < WAYS; i++) {
        if (s->slot[i].epoch != epoch)
            return &s->slot[i];
        if (s->slot[i].used < old->used)
            old = &s->slot[i];
    }
    return old;
}

static uint32_t newest(const struct set *s)
{
    uint32_t used = 0;

    for (unsigned int i = 0; i < WAYS; i++)
        if (s->slot[i].used > used)
            used = s->slot[i].used;
    return used;
}

/* ---- differences ---- */

static uint64_t word(const uint8_t *page, size_t i)
{
    uint64_t v;

    memcpy(&v, page + 8 * i, sizeof(v));
    return v;
}

/* What every 64-bit machine has. */
typedef uint64_t vector __attribute__((vector_size(16)));

#define BLOCK 16U /* words that are looked at together: most are the same */

static bool block_differs(const uint8_t *a, const uint8_t *b)
{
    vector x, y, any = {0, 0};

    for (size_t at = 0; at < BLOCK * 8; at += sizeof(vector)) {
        memcpy(&x, a + at, sizeof(x));
        memcpy(&y, b + at, sizeof(y));
        any |= x ^ y;
    }
    return (any[0] | any[1]) != 0;
}

/* A bit for each word that differs. */
static void compare(const uint8_t *a, const uint8_t *b, uint64_t differs[WORDS / 64])
{
    memset(differs, 0, WORDS / 8);
    for (size_t i = 0; i < WORDS; i += BLOCK) {
        uint64_t bits = 0;

        if (!block_differs(a + 8 * i, b + 8 * i))
            continue;
        for (size_t k = 0; k < BLOCK; k++)
            bits |= (uint64_t)(word(a, i + k) != word(b, i + k)) << k;
        differs[i / 64] |= bits << i % 64;
    }
}

/* The first word from `from` whose bit is `set`; WORDS: none. */
static size_t next_word(const uint64_t differs[WORDS / 64], size_t from, bool set)
{
    while (from < WORDS) {
        uint64_t bits = (set ? differs[from / 64] : ~differs[from / 64]) >> from % 64;

        if (bits)
            return from + (size_t)__builtin_ctzll(bits);
        from = (from / 64 + 1) * 64;
    }
    return WORDS;
}

static uint8_t *put_leb128(uint8_t *p, size_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

/* Words [first, end) differ: from their first byte that does to the last.  False: no room. */
static bool put_run(const uint8_t *old, const uint8_t *page, size_t first, size_t end, size_t *done,
                    uint8_t *out, size_t *len)
{
    uint64_t head = le64toh(word(old, first) ^ word(page, first));
    uint64_t tail = le64toh(word(old, end - 1) ^ word(page, end - 1));
    size_t from = 8 * first + (size_t)__builtin_ctzll(head) / 8;
    size_t to = 8 * end - (size_t)__builtin_clzll(tail) / 8;
    uint8_t *p;

    if (*len + 4 + (to - from) > DELTA_MAX) /* numbers below 16384 take two bytes */
        return false;
    p = put_leb128(out + *len, from - *done);
    p = put_leb128(p, to - from);
    memcpy(p, page + from, to - from);
    *len = (size_t)(p - out) + (to - from);
    *done = to;
    return true;
}

static enum delta_result difference(const uint8_t *old, const uint8_t *page, uint8_t out[DELTA_MAX],
                                    size_t *len)
{
    uint64_t differs[WORDS / 64];
    size_t done = 0, first, end;

    *len = 0;
    compare(old, page, differs);
    for (first = next_word(differs, 0, true); first < WORDS;
         first = next_word(differs, end, true)) {
        end = next_word(differs, first, false);
        if (!put_run(old, page, first, end, &done, out, len))
            return DELTA_OVERFLOW;
    }
    return *len ? DELTA_FOUND : DELTA_SAME;
}

enum delta_result delta_encode(struct delta *d, uint32_t region, uint64_t page, const void *bytes,
                               uint8_t out[DELTA_MAX], size_t *len)
{
    uint64_t key = key_of(region, page), at = set_of(d, key);
    pthread_mutex_t *lock = &d->locks[at % d->nlocks];
    enum delta_result result = DELTA_MISS;
    struct set *s = &d->sets[at];
    struct slot *slot;
    uint32_t epoch;
    uint8_t *held;

    *len = 0;
    pthread_mutex_lock(lock);
    epoch = atomic_load(&d->epoch);
    slot = find(s, key, epoch);
    if (!slot)
        slot = oldest(s, epoch);
    held = d->pages + (at * WAYS + (uint64_t)(slot - s->slot)) * GODWIT_PAGE_SIZE;
    if (slot->key == key && slot->epoch == epoch)
        result = difference(held, bytes, out, len);
    if (result != DELTA_SAME)
        memcpy(held, bytes, GODWIT_PAGE_SIZE);
    *slot = (struct slot){.key = key, .used = newest(s) + 1, .epoch = epoch};
    pthread_mutex_unlock(lock);
    return result;
}

void delta_drop(struct delta *d, uint32_t region, uint64_t page)
{
    uint64_t key = key_of(region, page), at = set_of(d, key);
    pthread_mutex_t *lock = &d->locks[at % d->nlocks];
    struct slot *slot;

    pthread_mutex_lock(lock);
    slot = find(&d->sets[at], key, atomic_load(&d->epoch));
    if (slot)
        slot->epoch = 0;
    pthread_mutex_unlock(lock);
}

/* ---- the other side ---- */

static uint32_t take_leb128(struct reader *r)
{
    uint32_t low = reader_u8(r), high;

    if (low < 0x80)
        return low;
    high = reader_u8(r);
    if (high == 0 || high >= 0x80) /* longer than need be, or than a page */
        r->failed = true;
    return (low & 0x7f) | high << 7;
}

int delta_apply(void *page, const uint8_t *delta, size_t len, struct err *e)
{
    const uint8_t *bytes;
    struct reader r;
    size_t at = 0;

    reader_init(&r, delta, len);
    while (reader_left(&r)) {
        uint32_t same = take_leb128(&r), other = take_leb128(&r);

        bytes = reader_view(&r, other);
        if (!bytes || other == 0 || (same == 0 && at > 0) ||
            (size_t)same + other > GODWIT_PAGE_SIZE - at)
            return err_set(e, -EPROTO, STAGE,
                           "a difference of %zu bytes does not describe a page: %u bytes the same, "
                           "then %u, at byte %zu",
                           len, same, other, at);
        memcpy((uint8_t *)page + at + same, bytes, other);
        at += (size_t)same + other;
    }
    return 0;
}
