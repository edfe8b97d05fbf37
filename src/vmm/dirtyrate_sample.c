#include "vmm/dirtyrate_sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "migrate/digest.h"

#define STEP_SAMPLES 512U /* 2 MiB to hash: well below a millisecond */
#define GIB          (1ULL << 30)

/* Good enough to choose pages with (xorshift64*, Vigna 2016). */
static uint64_t next_random(uint64_t *x)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * 2685821657736338717ULL;
}

int samples_init(struct samples *s, const struct guest_mem *mem, uint32_t per_gib)
{
    uint64_t pages = mem->size / GUEST_PAGE_SIZE, seed = 1;
    uint64_t n = (mem->size * per_gib + GIB - 1) / GIB;

    *s = (struct samples){.mem = mem, .n = (uint32_t)n};
    s->pages = calloc(n, sizeof(s->pages[0]));
    s->hashes = calloc(n, sizeof(s->hashes[0]));
    if (!s->pages || !s->hashes) {
        samples_fini(s);
        return -ENOMEM;
    }
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed) || seed == 0)
        seed = 1;
    for (uint32_t i = 0; i < s->n; i++)
        s->pages[i] = (uint32_t)(next_random(&seed) % pages);
    return 0;
}

void samples_fini(struct samples *s)
{
    free(s->pages);
    free(s->hashes);
    memset(s, 0, sizeof(*s));
}

/* To read what was never touched would take memory for it; its hash is that of zeros. */
static uint64_t hash_of(const struct samples *s, uint32_t i)
{
    uint64_t at = (uint64_t)s->pages[i] * GUEST_PAGE_SIZE;

    return guest_mem_touched(s->mem, at) ? digest_hash(s->mem->host + at) : 0;
}

static uint32_t step_end(const struct samples *s)
{
    return s->n - s->at < STEP_SAMPLES ? s->n : s->at + STEP_SAMPLES;
}

bool samples_take(struct samples *s)
{
    for (uint32_t end = step_end(s); s->at < end; s->at++)
        s->hashes[s->at] = hash_of(s, s->at);
    if (s->at < s->n)
        return false;
    s->at = 0;
    return true;
}

bool samples_compare(struct samples *s)
{
    for (uint32_t end = step_end(s); s->at < end; s->at++)
        s->changed += hash_of(s, s->at) != s->hashes[s->at];
    return s->at == s->n;
}

uint64_t samples_changed_bytes(const struct samples *s)
{
    return s->n ? s->mem->size / s->n * s->changed : 0;
}
