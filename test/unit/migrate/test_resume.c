/*
 * A cut link during precopy, at the level of the lanes: a sender and a receiver over socket pairs,
 * cut after so many bytes (within records, at their ends, between rounds), suspended, resumed. What
 * arrives in the end is compared byte by byte, by digest, and counted: what was placed is not sent
 * twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "harness.h"
#include "migrate/digest.h"
#include "migrate/receiver.h"
#include "migrate/sender.h"
#include "transport/channel.h"

#define SIZE   (8 * MIB)
#define ROUNDS 4

/* ---- a channel that breaks after so many bytes ---------------------------------------------- */

struct brittle {
    struct channel base;
    struct channel *inner;
    atomic_llong *left; /* shared by all lanes; of which none is left, no byte goes */
};

static ssize_t brittle_readv(struct channel *c, const struct iovec *iov, int n)
{
    struct channel *inner = ((struct brittle *)c)->inner;

    return inner->ops->readv(inner, iov, n);
}

static ssize_t brittle_writev(struct channel *c, const struct iovec *iov, int n)
{
    struct brittle *b = (struct brittle *)c;
    long long left = atomic_load(b->left);
    struct iovec part = iov[0];
    ssize_t ret;

    if (left <= 0) {
        shutdown(c->fd, SHUT_RDWR);
        return -ECONNRESET;
    }
    if (part.iov_len > (size_t)left)
        part.iov_len = (size_t)left;
    ret = n > 1 && left > (64LL << 20) ? b->inner->ops->writev(b->inner, iov, n)
                                       : b->inner->ops->writev(b->inner, &part, 1);
    if (ret > 0)
        atomic_fetch_sub(b->left, ret);
    return ret;
}

static void brittle_shutdown(struct channel *c)
{
    channel_shutdown(((struct brittle *)c)->inner);
}

static void brittle_free(struct channel *c)
{
    channel_free(((struct brittle *)c)->inner);
    free(c);
}

static const struct channel_ops brittle_ops = {.name = "brittle",
                                               .readv = brittle_readv,
                                               .writev = brittle_writev,
                                               .shutdown = brittle_shutdown,
                                               .free = brittle_free};

static void connect_lane(atomic_llong *left, struct channel **a, struct channel **b)
{
    struct brittle *c = calloc(1, sizeof(*c));
    int fds[2];

    assert_non_null(c);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    c->inner = channel_from_fd(fds[0], "pair");
    *b = channel_from_fd(fds[1], "pair");
    assert_non_null(c->inner);
    assert_non_null(*b);
    c->base.ops = &brittle_ops;
    c->base.fd = c->inner->fd;
    c->left = left;
    *a = &c->base;
}

/* ---- both ends ------------------------------------------------------------------------------ */

struct ends {
    struct fake_world world;
    struct fake_source from;
    struct fake_sink to;
    struct bell bell;
    struct pace pace;
    struct stats sent, received;
    struct digest theirs, ours;
    struct sender *sender;
    struct receiver *receiver;
    uint32_t lanes;
    atomic_llong left;
    struct godwit_params params;
    uint64_t sequence, passed;
    unsigned cuts;
};

static void nothing(void *arg)
{
    (void)arg;
}

static void connect_all(struct ends *t, long long bytes, struct channel **a, struct channel **b)
{
    atomic_store(&t->left, bytes);
    for (uint32_t i = 0; i < t->lanes; i++)
        connect_lane(&t->left, &a[i], &b[i]);
}

static void start_sink(struct ends *t)
{
    struct godwit_region regions[1] = {t->from.memory.regions[0]};
    struct err e = ERR_INIT;

    regions[0].host = NULL;
    fake_sink_init(&t->to, &t->world);
    assert_int_equal(fake_sink_ops.manifest(&t->to, "m", 1, regions, 1, &e), 0);
}

/* Pages of four kinds: zeros, noise, text, and hardly anything. */
static void fill(struct fake_source *g)
{
    static const char text[] = "it was the best of lanes, it was the worst of lanes; ";
    uint8_t *host = g->memory.regions[0].host;

    fake_fill(g, 0, SIZE / GODWIT_PAGE_SIZE * 3 / 4, 1);
    for (uint64_t at = 0; at < SIZE * 3 / 4; at += GODWIT_PAGE_SIZE) {
        uint8_t *page = host + at;

        if (at / GODWIT_PAGE_SIZE % 8 < 4)
            continue;
        memset(page, 0, GODWIT_PAGE_SIZE);
        for (size_t i = 0; i < GODWIT_PAGE_SIZE && at / GODWIT_PAGE_SIZE % 8 >= 5; i += 64)
            memcpy(page + i, text + (at + i) % 7, at / GODWIT_PAGE_SIZE % 8 == 5 ? 1 : 40);
    }
}

static void ends_init(struct ends *t, uint32_t lanes, long long bytes)
{
    struct channel *a[GODWIT_LANES_MAX], *b[GODWIT_LANES_MAX];
    const uint64_t size = SIZE;
    struct err e = ERR_INIT;

    memset(t, 0, sizeof(*t));
    t->lanes = lanes;
    fake_source_init(&t->from, &t->world, &size, 1);
    fill(&t->from);
    t->params = (struct godwit_params)GODWIT_PARAMS_DEFAULT;
    t->params.compression = GODWIT_COMPRESS_NONE;
    start_sink(t);
    assert_int_equal(bell_init(&t->bell), 0);
    assert_int_equal(pace_init(&t->pace, 0), 0);
    assert_int_equal(stats_init(&t->sent, NULL, NULL), 0);
    assert_int_equal(stats_init(&t->received, NULL, NULL), 0);
    assert_int_equal(digest_init(&t->theirs, t->from.memory.regions, 1, &e), 0);
    assert_int_equal(digest_init(&t->ours, t->to.memory.regions, 1, &e), 0);
    connect_all(t, bytes, a, b);
    assert_int_equal(sender_new(&(struct sender_config){.ops = &fake_source_ops,
                                                        .opaque = &t->from,
                                                        .regions = t->from.memory.regions,
                                                        .nregions = 1,
                                                        .lanes = lanes,
                                                        .pace = &t->pace,
                                                        .stats = &t->sent,
                                                        .digest = &t->theirs,
                                                        .bell = &t->bell,
                                                        .idle = nothing},
                                a, &t->sender, &e),
                     0);
    assert_int_equal(receiver_new(&(struct receiver_config){.regions = t->to.memory.regions,
                                                            .nregions = 1,
                                                            .lanes = lanes,
                                                            .stats = &t->received,
                                                            .digest = &t->ours,
                                                            .bell = &t->bell},
                                  b, &t->receiver, &e),
                     0);
}

static void ends_fini(struct ends *t)
{
    sender_free(t->sender);
    receiver_free(t->receiver);
    digest_fini(&t->theirs);
    digest_fini(&t->ours);
    stats_fini(&t->sent);
    stats_fini(&t->received);
    pace_fini(&t->pace);
    bell_fini(&t->bell);
    fake_source_fini(&t->from);
    fake_sink_fini(&t->to);
}

/* What the control channel would do after a cut. true: the job has to be done again. */
static bool reconnect(struct ends *t, long long bytes)
{
    struct channel *a[GODWIT_LANES_MAX], *b[GODWIT_LANES_MAX];
    uint64_t records[GODWIT_LANES_MAX];
    struct err e = ERR_INIT;

    sender_suspend(t->sender);
    receiver_suspend(t->receiver, &t->passed, records);
    assert_true(t->passed == t->sequence || t->passed + 1 == t->sequence);
    connect_all(t, bytes, a, b);
    assert_int_equal(receiver_resume(t->receiver, b, &e), 0);
    assert_int_equal(
        sender_resume(t->sender, a, records, t->passed == t->sequence ? 0 : t->lanes, &e), 0);
    t->cuts++;
    return t->passed < t->sequence;
}

/* 0: the mark was passed; else some lane's error. */
static int run_job(struct ends *t, bool first, bool last)
{
    struct sender_job job = {.sequence = t->sequence, .first = first, .last = last};
    struct err e = ERR_INIT;
    int ret = 0;

    sender_set_params(t->sender, &t->params);
    sender_go(t->sender, &job);
    while (!ret && (!sender_idle(t->sender) || receiver_passed(t->receiver) < t->sequence)) {
        bell_wait(&t->bell, clock_now_ns() + NS_PER_S);
        ret = sender_error(t->sender, &e);
        if (!ret)
            ret = receiver_error(t->receiver, &e);
    }
    return ret;
}

static void sync_dirty(struct ends *t)
{
    struct err e = ERR_INIT;

    assert_int_equal(fake_source_ops.dirty_sync(&t->from, 0, sender_bitmap(t->sender, 0), &e), 0);
}

static void expect_same(struct ends *t)
{
    const char *difference;

    memcpy(t->to.state, t->from.state, FAKE_STATE_SIZE); /* none travels here */
    t->to.state_len = FAKE_STATE_SIZE;
    difference = fake_compare(&t->from, &t->to);
    if (difference)
        fail_msg("%s", difference);
    assert_int_equal(digest_root(&t->theirs), digest_root(&t->ours));
}

/* Rounds as source_precopy does them; the links hold for so many bytes each, the third for ever. */
static void move(struct ends *t, const long long holds[2])
{
    const uint64_t pages = SIZE / GODWIT_PAGE_SIZE;
    struct godwit_stopped stopped;
    struct err e = ERR_INIT;

    assert_int_equal(fake_source_ops.dirty_start(&t->from, &e), 0);
    bitmap_set_range(sender_bitmap(t->sender, 0), 0, pages);
    for (unsigned round = 1; round < ROUNDS; round++) {
        t->sequence++;
        while (run_job(t, round == 1, false)) {
            long long next = t->cuts == 0 ? holds[1] : INT64_MAX / 2;

            assert_true(t->cuts < 2);
            if (!reconnect(t, next))
                break;
            sync_dirty(t);
        }
        sync_dirty(t);
    }
    assert_int_equal(fake_source_ops.stop(&t->from, &stopped, &e), 0);
    if (t->cuts < 2) /* it was not cut in time: the last job is not to be */
        reconnect(t, INT64_MAX / 2);
    sync_dirty(t);
    t->sequence++;
    assert_int_equal(run_job(t, false, true), 0);
    assert_int_equal(receiver_ended(t->receiver, t->sequence, &e), 0);
    expect_same(t);
}

/* ---- the tests ------------------------------------------------------------------------------ */

/* Every way of sending in turn. */
static void cut_busy(uint32_t lanes, long long a, long long b)
{
    static unsigned serial;
    const long long holds[2] = {a, b};
    struct ends t;

    ends_init(&t, lanes, a);
    t.params.compression = (enum godwit_compression)(serial % GODWIT_COMPRESS_COUNT);
    t.params.delta = serial++ / GODWIT_COMPRESS_COUNT % 2;
    fake_source_dirty(&t.from, 60 * MIB, 300);
    move(&t, holds);
    ends_fini(&t);
}

/* Within the header of the first record, within its table, at single bytes of pages, within the
 * marks and later rounds: 6 MiB are 3 records of 2 MiB. */
static void test_cut_everywhere(void **state)
{
    (void)state;
    for (uint32_t lanes = 1; lanes <= 3; lanes += 2) {
        for (long long at = 1; at < (long long)(7 * MIB); at += MIB / 2 + 4099)
            cut_busy(lanes, at, MIB);
        for (long long at = 1; at < 64; at += 15)
            cut_busy(lanes, at, at * 100);
    }
}

/* The last bytes of round 1 in a guest that is still: the mark's. */
static void test_cut_at_the_mark(void **state)
{
    (void)state;
    for (uint32_t lanes = 1; lanes <= 2; lanes++) {
        const long long for_ever[2] = {INT64_MAX / 2, INT64_MAX / 2};
        struct ends t;
        uint64_t round;

        ends_init(&t, lanes, for_ever[0]);
        assert_int_equal(fake_source_ops.dirty_start(&t.from, &(struct err)ERR_INIT), 0);
        bitmap_set_range(sender_bitmap(t.sender, 0), 0, SIZE / GODWIT_PAGE_SIZE);
        t.sequence = 1;
        assert_int_equal(run_job(&t, true, false), 0);
        round = (uint64_t)(for_ever[0] - atomic_load(&t.left));
        fake_source_ops.dirty_stop(&t.from);
        ends_fini(&t);
        for (long long off = -100; off <= 100; off += 20) {
            const long long holds[2] = {(long long)round + off, for_ever[0]};

            ends_init(&t, lanes, holds[0]);
            move(&t, holds);
            ends_fini(&t);
        }
    }
}

/* All ways of sending, all numbers of lanes, round upon round over a guest that works. */
static void test_ways(void **state)
{
    static const uint32_t lanes[] = {1, 2, 5};
    const long long holds[2] = {INT64_MAX / 2, INT64_MAX / 2};

    (void)state;
    for (unsigned way = 0; way < GODWIT_COMPRESS_COUNT * 2 * 3; way++) {
        bool delta = way % 2;
        enum godwit_compression c = (enum godwit_compression)(way / 2 % GODWIT_COMPRESS_COUNT);
        struct godwit_stats sent, received;
        struct ends t;

        ends_init(&t, lanes[way / 2 / GODWIT_COMPRESS_COUNT], holds[0]);
        t.params.compression = c;
        t.params.delta = delta;
        t.cuts = 2; /* no more */
        fake_source_dirty(&t.from, 100 * MIB, 300);
        move(&t, holds);
        stats_get(&t.sent, &sent);
        stats_get(&t.received, &received);
        if (c == GODWIT_COMPRESS_LZ4 || c == GODWIT_COMPRESS_ZSTD) {
            assert_in_range(sent.packed_pages, SIZE / GODWIT_PAGE_SIZE / 4, INT64_MAX);
            assert_true(sent.packed_bytes < sent.packed_pages * GODWIT_PAGE_SIZE);
        }
        if (c == GODWIT_COMPRESS_NONE)
            assert_int_equal(sent.packed_pages, 0);
        assert_int_equal(received.packed_pages, sent.packed_pages);
        assert_int_equal(received.packed_bytes, sent.packed_bytes);
        assert_int_equal(delta, sent.delta_misses > 0);
        assert_int_equal(received.delta_pages, sent.delta_pages);
        assert_int_equal(received.transferred, sent.transferred);
        assert_int_equal(received.normal_pages, sent.normal_pages);
        assert_int_equal(received.zero_pages, sent.zero_pages);
        ends_fini(&t);
    }
}

/* A guest that changes a little of the same pages again and again: differences take over. */
static void test_differences(void **state)
{
    struct godwit_stopped stopped;
    struct err e = ERR_INIT;
    struct godwit_stats st;
    struct ends t;

    (void)state;
    ends_init(&t, 2, INT64_MAX / 2);
    t.params.delta = true;
    assert_int_equal(fake_source_ops.dirty_start(&t.from, &e), 0);
    bitmap_set_range(sender_bitmap(t.sender, 0), 0, SIZE / GODWIT_PAGE_SIZE);
    t.sequence = 1;
    assert_int_equal(run_job(&t, true, false), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t page = 0; page < 300; page++) {
            ((uint8_t *)t.from.memory.regions[0].host)[page * GODWIT_PAGE_SIZE + 99]++;
            bitmap_set(sender_bitmap(t.sender, 0), page);
        }
        t.sequence++;
        assert_int_equal(run_job(&t, false, false), 0);
    }
    stats_get(&t.sent, &st);
    assert_int_equal(st.delta_misses, 300);
    assert_int_equal(st.delta_hits, 600);
    assert_int_equal(st.delta_pages, 600);
    assert_true(st.delta_bytes < 600 * 8);
    bitmap_set_range(sender_bitmap(t.sender, 0), 0, 300); /* set, but nothing has changed */
    t.sequence++;
    assert_int_equal(run_job(&t, false, false), 0);
    stats_get(&t.sent, &st);
    assert_int_equal(st.delta_hits, 900);
    assert_int_equal(st.delta_pages, 600);
    assert_false(reconnect(&t, INT64_MAX / 2)); /* the cache is forgotten */
    bitmap_set_range(sender_bitmap(t.sender, 0), 0, 300);
    t.sequence++;
    assert_int_equal(run_job(&t, false, false), 0);
    stats_get(&t.sent, &st);
    assert_int_equal(st.delta_misses, 600);
    assert_int_equal(fake_source_ops.stop(&t.from, &stopped, &e), 0);
    t.sequence++;
    assert_int_equal(run_job(&t, false, true), 0);
    expect_same(&t);
    ends_fini(&t);
}

/* What the destination has placed is not sent again but for what was under way. */
static void test_sends_little_twice(void **state)
{
    const uint64_t under_way = 2 * 512 + 512; /* a batch at its largest, and a chunk */
    const uint64_t pages = SIZE / GODWIT_PAGE_SIZE * 3 / 4;

    (void)state;
    for (uint32_t lanes = 1; lanes <= 2; lanes++) {
        const long long holds[2] = {3 * MIB, INT64_MAX / 2};
        struct godwit_stats st;
        struct ends t;

        ends_init(&t, lanes, holds[0]);
        move(&t, holds);
        stats_get(&t.received, &st);
        assert_true(st.normal_pages + st.zero_pages >= pages);
        assert_true(st.normal_pages + st.zero_pages <= pages + lanes * under_way);
        stats_get(&t.sent, &st);
        assert_int_equal(st.skipped_pages, SIZE / GODWIT_PAGE_SIZE / 4);
        ends_fini(&t);
    }
}

/* A cancel that comes while there is no link ends the next one at once. */
static void test_stopped_meanwhile(void **state)
{
    struct channel *a[2], *b[2];
    uint64_t records[GODWIT_LANES_MAX], passed;
    struct err e = ERR_INIT;
    struct ends t;

    (void)state;
    ends_init(&t, 2, INT64_MAX / 2);
    sender_suspend(t.sender);
    receiver_suspend(t.receiver, &passed, records);
    assert_int_equal(passed, 0);
    sender_stop(t.sender);
    receiver_stop(t.receiver);
    connect_all(&t, INT64_MAX / 2, a, b);
    assert_int_equal(sender_resume(t.sender, a, records, 0, &e), -ECANCELED);
    assert_int_equal(receiver_resume(t.receiver, b, &e), -ECANCELED);
    ends_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_cut_at_the_mark),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_sends_little_twice),
        cmocka_unit_test(test_stopped_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
