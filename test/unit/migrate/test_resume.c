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

static void ends_init(struct ends *t, uint32_t lanes, long long bytes)
{
    struct channel *a[GODWIT_LANES_MAX], *b[GODWIT_LANES_MAX];
    const uint64_t size = SIZE;
    struct err e = ERR_INIT;

    memset(t, 0, sizeof(*t));
    t->lanes = lanes;
    fake_source_init(&t->from, &t->world, &size, 1);
    fake_fill(&t->from, 0, SIZE / GODWIT_PAGE_SIZE * 3 / 4, 1);
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

static void cut_busy(uint32_t lanes, long long a, long long b)
{
    const long long holds[2] = {a, b};
    struct ends t;

    ends_init(&t, lanes, a);
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

/* What the destination has placed is not sent again but for what was under way. */
static void test_sends_little_twice(void **state)
{
    const uint64_t under_way = 2 * 512 + 512; /* a batch at its largest, and a chunk */

    (void)state;
    for (uint32_t lanes = 1; lanes <= 2; lanes++) {
        const long long holds[2] = {5 * MIB, INT64_MAX / 2};
        struct godwit_stats st;
        struct ends t;

        ends_init(&t, lanes, holds[0]);
        move(&t, holds);
        stats_get(&t.received, &st);
        assert_true(st.normal_pages >= SIZE / GODWIT_PAGE_SIZE * 3 / 4);
        assert_true(st.normal_pages <= SIZE / GODWIT_PAGE_SIZE * 3 / 4 + lanes * under_way);
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
        cmocka_unit_test(test_sends_little_twice),
        cmocka_unit_test(test_stopped_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
