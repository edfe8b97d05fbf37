/* Machines that arrive: transports, lanes, sizes, guests that work, zeros, paused machines. */
#include "harness.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/lanes.h"

static void move(struct pair *p, const char *uri)
{
    pair_listen(p, uri);
    pair_migrate(p);
    pair_expect_moved(p);
}

static void test_tcp(void **state)
{
    struct pair p;

    pair_init(&p, 64 * MIB);
    fake_fill(&p.from, 0, 64 * MIB / 4096, 1);
    move(&p, "tcp:127.0.0.1:0");
    assert_string_equal(p.to.manifest, "a fake machine");
    assert_true(p.to.was_running);
    pair_fini(&p);
}

static void test_tcp6(void **state)
{
    struct pair p;

    pair_init(&p, 4 * MIB);
    fake_fill(&p.from, 0, 1024, 1);
    move(&p, "tcp:[::1]:0");
    pair_fini(&p);
}

static void test_unix(void **state)
{
    struct pair p;

    pair_init(&p, 64 * MIB);
    fake_fill(&p.from, 0, 64 * MIB / 4096, 1);
    move(&p, NULL);
    pair_fini(&p);
}

/* One socket for all channels, whatever lanes are asked for. */
static void test_fd(void **state)
{
    char uri[32];
    struct pair p;
    int fds[2];

    pair_init(&p, 64 * MIB);
    p.params.lanes = 4;
    fake_fill(&p.from, 0, 64 * MIB / 4096, 1);
    fake_source_dirty(&p.from, 100 * MIB, 1000);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    snprintf(uri, sizeof(uri), "fd:%d", fds[0]);
    pair_listen(&p, uri);
    snprintf(p.dial, sizeof(p.dial), "fd:%d", fds[1]);
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_int_equal(pair_source_stats(&p).lanes, 1);
    pair_fini(&p);
}

/* By who is at the other end, and whether its CPUs are ours. */
static void test_lanes_by_default(void **state)
{
    static const struct {
        bool here, encrypted;
        uint32_t cpus, lanes;
    } cases[] = {
        {true,  false, 1,   1 },
        {true,  false, 2,   2 },
        {true,  false, 4,   2 },
        {true,  false, 12,  6 },
        {true,  false, 64,  8 },
        {false, false, 1,   2 },
        {false, false, 6,   6 },
        {false, false, 64,  8 },
        {false, true,  1,   1 },
        {false, true,  24,  24},
        {true,  true,  500, 64},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(lanes_for(cases[i].here, cases[i].encrypted, cases[i].cpus),
                         cases[i].lanes);
}

/* A datagram socket that is "connected" sends nothing. */
static bool stays_here(int family, const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    bool v4 = family == AF_INET;
    int ret, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool here;

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(family, host, v4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr),
                     1);
    ret = v4 ? connect(fd, (struct sockaddr *)&in, sizeof(in))
             : connect(fd, (struct sockaddr *)&in6, sizeof(in6));
    here = !ret && lanes_stay_here(fd);
    close(fd);
    return here;
}

static void test_lanes_know_loopback(void **state)
{
    int fds[2];

    assert_true(stays_here(AF_INET, "127.0.0.1"));
    assert_true(stays_here(AF_INET, "127.8.9.10"));
    assert_false(stays_here(AF_INET, "192.0.2.1"));
    assert_false(stays_here(AF_INET6, "2001:db8::1"));
    assert_true(stays_here(AF_INET6, "::ffff:127.0.0.1"));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_true(lanes_stay_here(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void test_lanes(void **state)
{
    for (uint32_t lanes = 1; lanes <= 4; lanes++) {
        const uint64_t sizes[] = {40 * MIB, 4096, 12 * MIB + 4096 * 3};
        struct pair p;

        pair_init_regions(&p, sizes, 3);
        p.params.lanes = lanes;
        fake_fill(&p.from, 0, 40 * MIB / 4096, 1);
        fake_fill(&p.from, 1, 1, 1);
        fake_fill(&p.from, 2, 3075, 2);
        fake_source_dirty(&p.from, 200 * MIB, 2000);
        move(&p, lanes % 2 ? "tcp:127.0.0.1:0" : NULL);
        assert_int_equal(pair_source_stats(&p).lanes, lanes);
        pair_fini(&p);
    }
}

static void test_busy(void **state)
{
    for (int i = 0; i < 10; i++) {
        struct godwit_stats st;
        struct pair p;

        pair_init(&p, 256 * MIB);
        fake_fill(&p.from, 0, 256 * MIB / 4096, 1);
        fake_source_dirty(&p.from, 100 * MIB, 20000);
        move(&p, i % 2 ? "tcp:127.0.0.1:0" : NULL);
        st = pair_source_stats(&p);
        assert_true(st.rounds >= 2);
        print_message("busy: %s total %.1f ms, downtime %.2f ms (stop %.2f state %.2f ready %.2f "
                      "commit %.2f running %.2f), rounds %llu, last %llu KiB, %.0f MB/s\n",
                      i % 2 ? "tcp" : "unix", (double)st.total_ns / 1e6,
                      (double)st.downtime_ns / 1e6,
                      (double)st.stages[GODWIT_STAGE_STOP].duration_ns / 1e6,
                      (double)st.stages[GODWIT_STAGE_STATE].duration_ns / 1e6,
                      (double)st.stages[GODWIT_STAGE_READY].duration_ns / 1e6,
                      (double)st.stages[GODWIT_STAGE_COMMIT].duration_ns / 1e6,
                      (double)st.stages[GODWIT_STAGE_RUNNING].duration_ns / 1e6,
                      (unsigned long long)st.rounds, (unsigned long long)st.downtime_bytes / 1024,
                      (double)st.bandwidth / 1e6);
        pair_fini(&p);
    }
}

/* 4 GiB of which 32 MiB exist: neither side gets more than that. */
static void test_sparse(void **state)
{
    struct godwit_stats st;
    struct pair p;

    pair_init(&p, 4 * GIB);
    fake_fill(&p.from, 0, 8192, 1);
    memset((uint8_t *)p.from.memory.regions[0].host + 3 * GIB, 0x5a, 4096);
    move(&p, NULL);
    st = pair_source_stats(&p);
    assert_true(st.skipped_pages > 1000000);
    assert_int_equal(st.normal_pages + st.zero_pages + st.skipped_pages,
                     4 * GIB / 4096 + 1 /* the page that saving the state dirtied */);
    assert_true(fake_allocated(&p.from.memory) < 33 * MIB);
    assert_true(fake_allocated(&p.to.memory) < 33 * MIB);
    assert_true(st.total_ns < 2 * NS_PER_S);
    pair_fini(&p);
}

/* Pages that are there and hold zeros are found out, and cost the destination nothing. */
static void test_zeros(void **state)
{
    struct pair p;

    pair_init(&p, 64 * MIB);
    memset(p.from.memory.regions[0].host, 0, 64 * MIB);
    fake_fill(&p.from, 0, 4096, 4);
    assert_true(fake_allocated(&p.from.memory) == 64 * MIB);
    move(&p, "tcp:127.0.0.1:0");
    assert_int_equal(fake_allocated(&p.to.memory), 1025 * 4096);
    assert_true(pair_source_stats(&p).transferred < 5 * MIB);
    pair_fini(&p);
}

/* What was sent once and is zero later must be zero there, in small runs and in punched ones. */
static void become_zero(void *arg)
{
    struct pair *p = arg;
    uint8_t *host = p->from.memory.regions[0].host;

    if (p->from.slots[FAKE_DIRTY_SYNC].calls != 1)
        return;
    memset(host + 8 * MIB, 0, 8 * MIB);
    for (uint64_t i = 2048; i < 4096; i++)
        __atomic_fetch_or(&p->from.dirty[0][i / 64], 1ULL << (i % 64), __ATOMIC_SEQ_CST);
    memset(host + 40 * 4096, 0, 4096 * 3);
    __atomic_fetch_or(&p->from.dirty[0][0], 7ULL << 40, __ATOMIC_SEQ_CST);
}

static void test_becomes_zero(void **state)
{
    struct pair p;

    pair_init(&p, 32 * MIB);
    fake_fill(&p.from, 0, 8192, 1);
    p.params.lanes = 1; /* one lane sees long runs, and long runs are given back */
    p.from.slots[FAKE_DIRTY_SYNC].hook = become_zero;
    p.from.slots[FAKE_DIRTY_SYNC].arg = &p;
    move(&p, NULL);
    /* 8 MiB less what lies outside of whole 2 MiB blocks. */
    assert_true(fake_allocated(&p.to.memory) <= 26 * MIB);
    pair_fini(&p);
}

static void test_paused(void **state)
{
    struct pair p;

    pair_init(&p, 16 * MIB);
    fake_fill(&p.from, 0, 4096, 1);
    fake_source_pause(&p.from);
    move(&p, NULL);
    assert_false(p.to.was_running);
    assert_int_equal(p.world.running, 0);
    pair_fini(&p);
}

/* Memory of which nothing was ever touched, and of one page. */
static void test_smallest(void **state)
{
    struct pair p;

    pair_init(&p, 4096);
    move(&p, NULL);
    pair_fini(&p);
    pair_init(&p, 1 * GIB);
    move(&p, "tcp:127.0.0.1:0");
    assert_true(fake_allocated(&p.to.memory) <= 8192);
    pair_fini(&p);
}

/* There and back again, as soon as completed is reported. */
static void test_again_and_again(void **state)
{
    for (int i = 0; i < 20; i++) {
        struct pair p;

        pair_init(&p, 8 * MIB);
        fake_fill(&p.from, 0, 2048, 3);
        fake_source_dirty(&p.from, 50 * MIB, 500);
        move(&p, i % 2 ? NULL : "tcp:127.0.0.1:0");
        pair_fini(&p);
    }
}

static void test_statistics(void **state)
{
    struct godwit_stats st, there;
    struct pair p;

    pair_init(&p, 32 * MIB);
    fake_fill(&p.from, 0, 4096, 1);
    move(&p, "tcp:127.0.0.1:0");
    st = pair_source_stats(&p);
    there = pair_sink_stats(&p);
    assert_int_equal(st.stage, GODWIT_STAGE_DONE);
    assert_int_equal(st.total, 32 * MIB);
    assert_int_equal(st.remaining, 0);
    assert_int_equal(st.state_bytes, FAKE_STATE_SIZE);
    assert_int_equal(there.state_bytes, FAKE_STATE_SIZE);
    assert_int_equal(st.precopy_bytes + st.downtime_bytes, st.transferred);
    assert_int_equal(st.normal_pages, there.normal_pages);
    assert_int_equal(st.zero_pages, there.zero_pages);
    assert_true(st.transferred > 16 * MIB && st.transferred < 17 * MIB);
    assert_true(st.downtime_ns > 0 && st.downtime_ns < st.total_ns);
    assert_int_equal(st.error.code, 0);
    for (int i = GODWIT_STAGE_MANIFEST; i < GODWIT_STAGE_COUNT; i++)
        assert_true(st.stages[i].start_ns >= st.stages[i - 1].start_ns);
    assert_true(st.stages[GODWIT_STAGE_PRECOPY].duration_ns > 0);
    pair_fini(&p);
}

/* The test itself: an engine broken through its callbacks is caught by the comparison. */
static void test_dropped_page_is_seen(void **state)
{
    struct pair p;

    pair_init(&p, 32 * MIB);
    fake_fill(&p.from, 0, 8192, 1);
    fake_source_dirty(&p.from, 100 * MIB, 4000);
    p.from.drop_dirty_page = true;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_COMPLETED);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    assert_false(p.from.drop_dirty_page); /* it was done */
    assert_non_null(strstr(fake_compare(&p.from, &p.to), "differs in page"));
    pair_fini(&p);
}

static void test_wrong_state_is_seen(void **state)
{
    struct pair p;

    pair_init(&p, 8 * MIB);
    p.from.spoil_state = true;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_COMPLETED);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    assert_string_equal(fake_compare(&p.from, &p.to), "the state differs");
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp6),
        cmocka_unit_test(test_unix), cmocka_unit_test(test_fd),
        cmocka_unit_test(test_lanes_by_default),
        cmocka_unit_test(test_lanes_know_loopback),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_becomes_zero),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_again_and_again),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_dropped_page_is_seen),
        cmocka_unit_test(test_wrong_state_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
