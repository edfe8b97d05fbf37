/*
 * What looking at a page costs: telling it from zeros (several ways), hashing, packing, and taking
 * the difference from what it was.  Hot: 64 KiB that the core's own cache holds.  Cold: more than
 * any cache.  Medians of 5.
 *
 *     codec [MIB]        MIB of memory for the cold figures (512)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <isa-l/mem_routines.h>

#include "base/clock.h"
#include "migrate/delta.h"
#include "migrate/digest.h"
#include "migrate/pack.h"
#include "migrate/zero.h"

#define PAGE   GODWIT_PAGE_SIZE
#define PASSES 5
#define HOT    (64U << 10)
#define GIB    (1024.0 * 1024 * 1024)

static volatile uint64_t sink; /* so that nothing is optimised away */

static void die(const char *what)
{
    fprintf(stderr, "codec: %s\n", what);
    exit(1);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static int compare_ns(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double v[PASSES])
{
    qsort(v, PASSES, sizeof(*v), compare_ns);
    return v[PASSES / 2];
}

/* ---- what is done to a page ----------------------------------------------------------------- */

static uint64_t by_isal(const uint8_t *page)
{
    return (uint64_t)isal_zero_detect((void *)(uintptr_t)page, PAGE);
}

static uint64_t by_probe(const uint8_t *page)
{
    const uint64_t *w = (const uint64_t *)(const void *)page;

    return w[0] || w[255] || isal_zero_detect((void *)(uintptr_t)page, PAGE);
}

/* Equal to itself one word further on, and the first word is zero. */
static uint64_t by_memcmp(const uint8_t *page)
{
    uint64_t first;

    memcpy(&first, page, sizeof(first));
    return first || memcmp(page, page + 8, PAGE - 8);
}

static uint64_t by_vectors(const uint8_t *page)
{
    return !zero_page(page);
}

static uint64_t by_hash(const uint8_t *page)
{
    return digest_hash(page);
}

/* As a lane does it: the second look finds the page in the cache. */
static uint64_t by_zero_and_hash(const uint8_t *page)
{
    return zero_page(page) ? 0 : digest_hash(page);
}

static uint64_t by_copy(const uint8_t *page)
{
    static uint8_t copy[PAGE] __attribute__((aligned(64)));

    memcpy(copy, page, PAGE);
    return copy[17];
}

static const struct look {
    const char *name;
    uint64_t (*page)(const uint8_t *page);
} looks[] = {
    {"zero: isal",          by_isal         },
    {"zero: 2 words, isal", by_probe        },
    {"zero: memcmp",        by_memcmp       },
    {"zero: zero_page",     by_vectors      },
    {"hash",                by_hash         },
    {"zero_page, hash",     by_zero_and_hash},
    {"copy",                by_copy         },
};

/* ---- over memory ---------------------------------------------------------------------------- */

/* ns a page, over `len` bytes so often that it takes some milliseconds. */
static double look_ns(const struct look *l, const uint8_t *memory, size_t len)
{
    size_t rounds = len < (64U << 20) ? (64U << 20) / len : 1;
    double took[PASSES];

    for (unsigned p = 0; p < PASSES; p++) {
        uint64_t began = clock_now_ns(), sum = 0;

        for (size_t r = 0; r < rounds; r++)
            for (size_t at = 0; at < len; at += PAGE)
                sum += l->page(memory + at);
        sink = sum;
        took[p] = (double)(clock_now_ns() - began) / (double)(rounds * len / PAGE);
    }
    return median(took);
}

static void fill_zero(uint8_t *memory, size_t len)
{
    memset(memory, 0, len);
}

static void fill_random(uint8_t *memory, size_t len)
{
    uint64_t seed = 1, *w = (uint64_t *)(void *)memory;

    for (size_t i = 0; i < len / 8; i++)
        w[i] = next_random(&seed);
}

/* Zeros but for the last byte: all of it must be read. */
static void fill_late(uint8_t *memory, size_t len)
{
    memset(memory, 0, len);
    for (size_t at = PAGE - 1; at < len; at += PAGE)
        memory[at] = 1;
}

static void fill_text(uint8_t *memory, size_t len)
{
    char words[2048][12];
    uint64_t seed = 3;
    size_t at = 0;

    for (size_t i = 0; i < 2048; i++) {
        size_t n = 2 + next_random(&seed) % 8;

        for (size_t k = 0; k < n; k++)
            words[i][k] = (char)('a' + next_random(&seed) % 26);
        words[i][n] = next_random(&seed) % 8 ? ' ' : '\n';
        words[i][n + 1] = '\0';
    }
    while (at < len) {
        uint64_t r = next_random(&seed); /* common words are common */
        const char *w = words[(r % 2048) * ((r >> 20) % 2048) / 2048];
        size_t n = strlen(w) < len - at ? strlen(w) : len - at;

        memcpy(memory + at, w, n);
        at += n;
    }
}

static const struct fill {
    const char *name;
    void (*fill)(uint8_t *memory, size_t len);
} fills[] = {
    {"zero",   fill_zero  },
    {"random", fill_random},
    {"late",   fill_late  },
};

static void bench_looks(uint8_t *memory, size_t len)
{
    printf("%-22s %-8s %10s %10s %12s\n", "look", "pages", "hot ns", "cold ns", "cold GiB/s");
    for (size_t f = 0; f < sizeof(fills) / sizeof(fills[0]); f++) {
        fills[f].fill(memory, len);
        for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
            double hot = look_ns(&looks[i], memory, HOT);
            double cold = look_ns(&looks[i], memory, len);

            printf("%-22s %-8s %10.1f %10.1f %12.1f\n", looks[i].name, fills[f].name, hot, cold,
                   PAGE * 1e9 / cold / GIB);
        }
    }
}

/* ---- packing -------------------------------------------------------------------------------- */

static void bench_pack(struct packer *p, enum godwit_compression codec, const char *name,
                       const uint8_t *memory, size_t len)
{
    static uint8_t packed[PACK_BOUND], back[PACK_BOUND];
    double in_ns[PASSES], out_ns[PASSES], all = 0;

    for (unsigned pass = 0; pass < PASSES; pass++) {
        in_ns[pass] = out_ns[pass] = all = 0;
        for (size_t at = 0; at + PACK_BOUND <= len; at += PACK_BOUND) {
            uint64_t began = clock_now_ns(), done;
            size_t n = pack(p, codec, 1, memory + at, PACK_BOUND, packed, PACK_BOUND);

            done = clock_now_ns();
            in_ns[pass] += (double)(done - began);
            all += n ? (double)n : PACK_BOUND;
            if (n && unpack(p, codec, packed, n, back, PACK_BOUND, NULL))
                die("what was packed does not unpack");
            out_ns[pass] += (double)(clock_now_ns() - done);
        }
    }
    printf("%-22s %-8s %10.0f %10.0f %12.3f\n", godwit_compression_name(codec), name,
           (double)len * 1e3 / median(in_ns), (double)len * 1e3 / median(out_ns),
           all / (double)len);
}

static void bench_packing(uint8_t *memory)
{
    size_t len = 32U << 20;
    struct packer *p;

    if (packer_new(&p, NULL))
        die("no packer");
    printf("\n%-22s %-8s %10s %10s %12s\n", "pack", "pages", "in MB/s", "out MB/s", "ratio");
    for (enum godwit_compression c = GODWIT_COMPRESS_LZ4; c <= GODWIT_COMPRESS_ZSTD; c++) {
        fill_text(memory, len);
        bench_pack(p, c, "text", memory, len);
        fill_random(memory, len);
        bench_pack(p, c, "random", memory, len);
    }
    packer_free(p);
}

/* ---- differences ---------------------------------------------------------------------------- */

static void touch(uint8_t *page, unsigned words, unsigned step)
{
    for (unsigned i = 0; i < words; i++)
        page[(i * step * 8) % PAGE]++;
}

static void bench_delta(uint8_t *memory, size_t pages, unsigned words, unsigned step)
{
    uint8_t out[DELTA_MAX], page[PAGE];
    double took[PASSES], bytes = 0;
    struct delta *d;
    size_t len;

    if (delta_new(4 * pages * PAGE, &d, NULL))
        die("no cache of pages");
    for (size_t i = 0; i < pages; i++)
        delta_encode(d, 0, i, memory + i * PAGE, out, &len);
    for (unsigned p = 0; p < PASSES; p++) {
        uint64_t ns = 0;

        bytes = 0;
        for (size_t i = 0; i < pages; i++) {
            uint64_t began;

            touch(memory + i * PAGE, words, step);
            memcpy(page, memory + i * PAGE, PAGE); /* as a lane does: what is sent stays as it is */
            began = clock_now_ns();
            if (delta_encode(d, 0, i, page, out, &len) == DELTA_OVERFLOW)
                len = PAGE;
            ns += clock_now_ns() - began;
            bytes += (double)len;
        }
        took[p] = (double)ns / (double)pages;
    }
    printf("%-22s %4ux%-3u %10.1f %10.1f %12.3f\n", pages * PAGE > (16U << 20) ? "cold" : "hot",
           words, step, median(took), PAGE / median(took), bytes / (double)pages / PAGE);
    delta_free(d);
}

static void bench_deltas(uint8_t *memory)
{
    static const unsigned changes[][2] = {
        {0,   1 },
        {1,   1 },
        {16,  31},
        {64,  1 },
        {200, 1 },
        {128, 4 },
        {512, 1 }
    };

    printf("\n%-22s %-8s %10s %10s %12s\n", "difference", "words", "ns", "GB/s", "ratio");
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        fill_random(memory, 64U << 20);
        bench_delta(memory, 128, changes[i][0], changes[i][1]);
        bench_delta(memory, (64U << 20) / PAGE, changes[i][0], changes[i][1]);
    }
}

int main(int argc, char **argv)
{
    size_t len = (argc > 1 ? strtoul(argv[1], NULL, 10) : 512) << 20;
    uint8_t *memory;

    if (len < (64U << 20))
        die("at least 64 MiB");
    memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("no memory");
    bench_looks(memory, len);
    bench_packing(memory);
    bench_deltas(memory);
    return 0;
}
