/*
 * What every engine test needs: a source and a sink over one URI, waiting for outcomes with a
 * bound, and a check that neither descriptors nor threads nor sockets are left behind.
 */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_guest.h"
#include "godwit/migrate.h"

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

struct pair {
    struct fake_world world;
    struct fake_source from;
    struct fake_sink to;
    struct godwit_params params;
    const struct godwit_tls *sink_tls, *source_tls; /* NULL: in the clear */
    const char *tls_hostname;
    struct godwit_source *source;
    struct godwit_sink *sink;
    char uri[384];         /* where the sink listens */
    char dial[384];        /* where the source connects; uri unless a proxy is between */
    unsigned fds, threads; /* before */
};

/* Everything but the two sides: a fake machine of one region; params are the defaults, shortened so
 * that faults show within a test's patience. */
void pair_init(struct pair *p, uint64_t size);
void pair_init_regions(struct pair *p, const uint64_t *sizes, uint32_t n);
/* uri: "tcp:127.0.0.1:0", or NULL for a fresh unix path. */
void pair_listen(struct pair *p, const char *uri);
void pair_migrate(struct pair *p);
/* Waits (at most 20 s) until the side has this status; fails the test, with its error, otherwise.
 */
void pair_expect_source(struct pair *p, enum godwit_status s);
void pair_expect_sink(struct pair *p, enum godwit_status s);
/* Both completed, the sink runs, memory and state are the same, everything was called once. */
void pair_expect_moved(struct pair *p);
/* The guest runs at the source as if nothing had happened, the sink holds nothing. */
void pair_expect_kept(struct pair *p);
struct godwit_stats pair_source_stats(struct pair *p);
struct godwit_stats pair_sink_stats(struct pair *p);
void pair_end_source(struct pair *p);
void pair_end_sink(struct pair *p);
/* Ends both sides, frees both machines and checks that nothing is left. */
void pair_fini(struct pair *p);

unsigned count_dir(const char *path);
/* Waits (at most 10 s) for a condition, which is evaluated often: no side effects. */
#define wait_until(cond)                                                                           \
    do {                                                                                           \
        uint64_t end_ = clock_now_ns() + 10 * NS_PER_S;                                            \
        while (!(cond) && clock_now_ns() < end_)                                                   \
            clock_sleep_ns(NS_PER_MS);                                                             \
        assert_true(cond);                                                                         \
    } while (0)

#endif
