/*
 * Packing: what is packed is unpacked again and what is damaged is refused.  The choice of "auto":
 * on a simulated lane (a codec of a given speed and ratio, a link of a given speed behind a
 * socket's buffer, or a link that is the lane's own CPU) the time it takes is compared with that of
 * the best codec used throughout.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "migrate/pack.h"

#define MB 1e6

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

/* ---- packing -------------------------------------------------------------------------------- */

static uint8_t *text_new(size_t len)
{
    static const char *const words[] = {"page ",  "lane ", "guest ", "the ",   "of ",
                                        "moves ", "0x00",  "1a\n",   "stone ", "and "};
    uint8_t *text = malloc(len);
    uint64_t seed = 7;
    size_t at = 0;

    assert_non_null(text);
    while (at < len) {
        const char *w = words[next_random(&seed) % 10];
        size_t n = strlen(w) < len - at ? strlen(w) : len - at;

        memcpy(text + at, w, n);
        at += n;
    }
    return text;
}

static uint8_t *random_new(size_t len)
{
    uint8_t *bytes = malloc(len);
    uint64_t seed = 11;

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(next_random(&seed) >> 32);
    return bytes;
}

static void test_there_and_back(void **state)
{
    uint8_t *text = text_new(PACK_BOUND), *packed = malloc(PACK_BOUND), *back = malloc(PACK_BOUND);
    struct packer *p;

    assert_int_equal(packer_new(&p, NULL), 0);
    for (enum godwit_compression c = GODWIT_COMPRESS_LZ4; c <= GODWIT_COMPRESS_ZSTD; c++)
        for (size_t len = GODWIT_PAGE_SIZE; len <= PACK_BOUND; len *= 4)
            for (uint32_t level = 0; level < 20; level += 19) {
                size_t n = pack(p, c, level, text, len, packed, len);

                assert_in_range(n, 1, len * 3 / 4);
                memset(back, 0xee, PACK_BOUND);
                assert_int_equal(unpack(p, c, packed, n, back, len, NULL), 0);
                assert_memory_equal(back, text, len);
            }
    packer_free(p);
    free(text);
    free(packed);
    free(back);
}

static void test_what_does_not_shrink(void **state)
{
    uint8_t *bytes = random_new(PACK_BOUND), *packed = malloc(PACK_BOUND);
    struct packer *p;

    assert_int_equal(packer_new(&p, NULL), 0);
    for (enum godwit_compression c = GODWIT_COMPRESS_LZ4; c <= GODWIT_COMPRESS_ZSTD; c++)
        assert_int_equal(pack(p, c, 1, bytes, PACK_BOUND, packed, PACK_BOUND - GODWIT_PAGE_SIZE),
                         0);
    assert_int_equal(pack(p, GODWIT_COMPRESS_LZ4, 1, bytes, PACK_BOUND + 1, packed, PACK_BOUND), 0);
    assert_int_equal(pack(p, GODWIT_COMPRESS_NONE, 1, bytes, PACK_BOUND, packed, PACK_BOUND), 0);
    packer_free(p);
    free(bytes);
    free(packed);
}

static void test_damaged(void **state)
{
    uint8_t *text = text_new(PACK_BOUND), *packed = malloc(PACK_BOUND);
    size_t len = 4 * GODWIT_PAGE_SIZE, n;
    struct err e = ERR_INIT;
    struct packer *p;

    assert_int_equal(packer_new(&p, NULL), 0);
    for (enum godwit_compression c = GODWIT_COMPRESS_LZ4; c <= GODWIT_COMPRESS_ZSTD; c++) {
        uint8_t *back = malloc(len); /* exactly: a byte more is the sanitizer's to see */

        n = pack(p, c, 1, text, len, packed, PACK_BOUND);
        assert_int_equal(unpack(p, c, packed, n - 1, back, len, &e), -EPROTO);
        assert_string_not_equal(e.text, "");
        assert_int_equal(unpack(p, c, packed, n, back, len - 1, NULL), -EPROTO);
        assert_int_equal(unpack(p, c, packed, 0, back, len, NULL), -EPROTO);
        assert_int_equal(unpack(p, c, packed, n, back, 0, NULL), -EPROTO);
        free(back);
        back = malloc(len + 1);
        assert_int_equal(unpack(p, c, packed, n, back, len + 1, NULL), -EPROTO);
        free(back);
    }
    n = pack(p, GODWIT_COMPRESS_LZ4, 1, text, len, packed, PACK_BOUND);
    assert_int_equal(unpack(p, GODWIT_COMPRESS_ZSTD, packed, n, text, len, NULL), -EPROTO);
    assert_int_equal(unpack(p, GODWIT_COMPRESS_NONE, packed, n, text, len, NULL), -EPROTO);
    packer_free(p);
    free(text);
    free(packed);
}

/* ---- the simulated lane --------------------------------------------------------------------- */

struct codec {
    double speed, ratio; /* bytes/s */
};

struct lane {
    double link;   /* bytes/s */
    double buffer; /* bytes a socket takes at once; 0: the lane's CPU is the link */
    struct codec codec[GODWIT_COMPRESS_AUTO];
    double stolen;      /* how often in a ms of packing others take the CPU for 3 */
    double now, queued; /* s, bytes */
    uint64_t noise;
    unsigned int used[GODWIT_COMPRESS_AUTO]; /* batches */
};

#define SOCKET_SPEED 5e9
#define BATCH        (512 * 1024)
#define RECORD       (256 * 1024)

/* 0.9 .. 1.1 */
static double noise(struct lane *l)
{
    return 0.9 + (double)(next_random(&l->noise) % 1000) / 5000;
}

static void pass(struct lane *l, double s)
{
    l->now += s;
    l->queued -= s * l->link;
    if (l->queued < 0)
        l->queued = 0;
}

static void lane_send(struct lane *l, double bytes)
{
    if (l->buffer <= 0) {
        pass(l, bytes / l->link * noise(l));
        return;
    }
    pass(l, bytes / SOCKET_SPEED * noise(l));
    l->queued += bytes;
    if (l->queued > l->buffer)
        pass(l, (l->queued - l->buffer) / l->link);
}

static double lane_pack(struct lane *l, enum godwit_compression codec, double bytes)
{
    double ratio = l->codec[codec].ratio < 1 ? l->codec[codec].ratio * noise(l) : 1;

    double s = bytes / l->codec[codec].speed * noise(l);

    pass(l, s);
    if (l->stolen > 0 && (double)(next_random(&l->noise) % 1000) < 1e6 * l->stolen * s)
        pass(l, 0.003);
    return bytes * ratio;
}

static uint64_t ns(double s)
{
    return (uint64_t)(s * 1e9 + 0.5);
}

static void one_batch(struct lane *l, struct pack_choice *c, enum godwit_compression wanted)
{
    enum godwit_compression codec = pack_choose(c, wanted);
    double bytes = 0, began;

    assert_true(codec < GODWIT_COMPRESS_AUTO);
    l->used[codec]++;
    for (size_t i = 0; i < BATCH; i += RECORD) {
        double packed = RECORD;

        if (codec != GODWIT_COMPRESS_NONE) {
            began = l->now;
            packed = lane_pack(l, codec, RECORD);
            pack_packed(c, codec, RECORD, (size_t)packed, ns(l->now - began));
        }
        bytes += packed;
    }
    began = l->now;
    lane_send(l, bytes);
    pack_sent(c, (size_t)bytes, ns(l->now - began));
}

/* Seconds until the last byte has left. */
static double run(struct lane *l, enum godwit_compression wanted, unsigned int batches)
{
    struct pack_choice c;
    double began = l->now;

    pack_choice_init(&c);
    memset(l->used, 0, sizeof(l->used));
    l->noise = 1;
    for (unsigned int i = 0; i < batches; i++)
        one_batch(l, &c, wanted);
    pass(l, l->queued / l->link);
    return l->now - began;
}

static double best_fixed(const struct lane *what, unsigned int batches)
{
    double best = 1e9;

    for (enum godwit_compression c = GODWIT_COMPRESS_NONE; c < GODWIT_COMPRESS_AUTO; c++) {
        struct lane l = *what;
        double t = run(&l, c, batches);

        if (t < best)
            best = t;
    }
    return best;
}

static const struct {
    const char *name;
    struct codec codec[GODWIT_COMPRESS_AUTO];
} data[] = {
    {"text",            {{0, 1}, {700 * MB, 0.45}, {400 * MB, 0.25}}  },
    {"random",          {{0, 1}, {2500 * MB, 1.0}, {900 * MB, 1.0}}   },
    {"nearly nothing",  {{0, 1}, {3000 * MB, 0.02}, {1500 * MB, 0.01}}},
    {"hardly worth it", {{0, 1}, {450 * MB, 0.80}, {250 * MB, 0.60}}  },
    {"a slow CPU",      {{0, 1}, {300 * MB, 0.50}, {120 * MB, 0.30}}  },
};
static const double links[] = {25 * MB,  50 * MB,   117 * MB, 300 * MB,
                               600 * MB, 1200 * MB, 4000 * MB};
static const double buffers[] = {0, 256e3, 4e6};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* At first pages go plain until they have filled the socket's buffer and shown how fast the link
 * is: what that takes is the price of knowing. */
static double until_known(const struct lane *l)
{
    return (l->buffer + 4 * BATCH) / l->link;
}

static void check(const struct lane *what, const char *name, double as_good)
{
    struct lane l = *what;
    double best = best_fixed(what, 2000), t = run(&l, GODWIT_COMPRESS_AUTO, 2000);

    if (t > best * as_good + until_known(what))
        fail_msg("%s, %.0f MB/s, buffer %.0f: %.3f of the best (none %u, lz4 %u, zstd %u)", name,
                 l.link / MB, l.buffer, t / best, l.used[0], l.used[1], l.used[2]);
}

static void test_as_good_as_the_best(void **state)
{
    for (size_t d = 0; d < COUNT(data); d++)
        for (size_t k = 0; k < COUNT(links); k++)
            for (size_t b = 0; b < COUNT(buffers); b++) {
                struct lane l = {.link = links[k], .buffer = buffers[b]};

                memcpy(l.codec, data[d].codec, sizeof(l.codec));
                check(&l, data[d].name, 1.07);
            }
}

static struct lane lane_of(unsigned int what, double link, double buffer)
{
    struct lane l = {.link = link, .buffer = buffer};

    memcpy(l.codec, data[what].codec, sizeof(l.codec));
    return l;
}

/* What does not shrink goes plain, and looking whether it does now costs less than 2 %. */
static void test_random_costs_nothing(void **state)
{
    for (size_t k = 0; k < COUNT(links); k++)
        for (size_t b = 0; b < COUNT(buffers); b++) {
            struct lane l = lane_of(1, links[k], buffers[b]), plain = l;
            double t = run(&l, GODWIT_COMPRESS_AUTO, 4000);

            assert_true(t < 1.02 * run(&plain, GODWIT_COMPRESS_NONE, 4000));
        }
}

/* A fast link gets text plain, a gigabit gets it packed, twice as fast as plain and more. */
static void test_text(void **state)
{
    struct lane fast = lane_of(0, 3000 * MB, 0), slow = lane_of(0, 117 * MB, 1e6), plain = slow;
    double t;

    run(&fast, GODWIT_COMPRESS_AUTO, 2000);
    assert_true(fast.used[GODWIT_COMPRESS_NONE] > 1950);
    t = run(&slow, GODWIT_COMPRESS_AUTO, 2000);
    assert_true(slow.used[GODWIT_COMPRESS_ZSTD] > 1900);
    assert_true(2 * t < run(&plain, GODWIT_COMPRESS_NONE, 2000));
}

/* The choice of the last quarter of n batches. */
static enum godwit_compression settle(struct lane *l, struct pack_choice *c, unsigned int n)
{
    enum godwit_compression most = GODWIT_COMPRESS_NONE;

    for (unsigned int i = 0; i < n; i++) {
        if (i == n - n / 4)
            memset(l->used, 0, sizeof(l->used));
        one_batch(l, c, GODWIT_COMPRESS_AUTO);
    }
    for (enum godwit_compression k = most; k < GODWIT_COMPRESS_AUTO; k++)
        if (l->used[k] > l->used[most])
            most = k;
    return most;
}

/* Links and data change, in both directions, and the choice with them. */
static void test_follows(void **state)
{
    struct lane l = lane_of(0, 3000 * MB, 1e6);
    struct pack_choice c;

    l.noise = 1;
    pack_choice_init(&c);
    assert_int_equal(settle(&l, &c, 400), GODWIT_COMPRESS_NONE);
    l.link = 50 * MB;
    assert_int_equal(settle(&l, &c, 400), GODWIT_COMPRESS_ZSTD);
    l.link = 3000 * MB;
    assert_int_equal(settle(&l, &c, 8000), GODWIT_COMPRESS_NONE);
    l.link = 117 * MB;
    assert_int_equal(settle(&l, &c, 400), GODWIT_COMPRESS_ZSTD);
    memcpy(l.codec, data[1].codec, sizeof(l.codec)); /* text, then random, then text */
    assert_int_equal(settle(&l, &c, 400), GODWIT_COMPRESS_NONE);
    memcpy(l.codec, data[0].codec, sizeof(l.codec));
    assert_int_equal(settle(&l, &c, 400), GODWIT_COMPRESS_ZSTD);
}

/* Whatever is asked for by name is what is used. */
static void test_named(void **state)
{
    struct lane l = lane_of(0, 3000 * MB, 0);

    for (enum godwit_compression k = GODWIT_COMPRESS_NONE; k < GODWIT_COMPRESS_AUTO; k++) {
        run(&l, k, 100);
        assert_int_equal(l.used[k], 100);
    }
}

/* A lane that had to wait for a CPU once is no reason to pack on a fast link. */
static void test_a_hiccup(void **state)
{
    struct lane l = lane_of(0, 3000 * MB, 0);
    struct pack_choice c;

    l.noise = 1;
    pack_choice_init(&c);
    settle(&l, &c, 400);
    for (unsigned int i = 0; i < 10; i++) {
        pack_choose(&c, GODWIT_COMPRESS_AUTO);
        pack_sent(&c, BATCH, 30000000);
        memset(l.used, 0, sizeof(l.used));
        for (unsigned int k = 0; k < 40; k++)
            one_batch(&l, &c, GODWIT_COMPRESS_AUTO);
        assert_true(l.used[GODWIT_COMPRESS_NONE] >= 38);
    }
}

/* Guests that leave a lane little CPU: what packing really costs is told from bad luck in trials.
 */
static void test_a_busy_cpu(void **state)
{
    for (size_t k = 0; k < COUNT(links); k++)
        for (double stolen = 0.05; stolen < 0.22; stolen += 0.05) {
            struct lane l = lane_of(0, links[k], 1e6);

            l.stolen = stolen;
            check(&l, "text, a busy CPU", 1.15);
        }
}

/* Records without data are all call and no bytes: they say nothing about the link. */
static void test_zeros(void **state)
{
    struct lane l = lane_of(0, 3000 * MB, 0);
    struct pack_choice c;

    l.noise = 1;
    pack_choice_init(&c);
    settle(&l, &c, 400);
    for (unsigned int i = 0; i < 100000; i++) {
        assert_int_equal(pack_choose(&c, GODWIT_COMPRESS_AUTO), GODWIT_COMPRESS_NONE);
        pack_sent(&c, 56, 4000);
    }
    assert_int_equal(settle(&l, &c, 40), GODWIT_COMPRESS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_does_not_shrink),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_as_good_as_the_best),
        cmocka_unit_test(test_random_costs_nothing),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_named),
        cmocka_unit_test(test_a_hiccup),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_a_busy_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
