/* Memory that is seen rather than sent: whole migrations, and files that are not what they seem. */
#include "migrate/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

#define SIZE (8 * MIB)

static bool was_seen(struct pair *p)
{
    struct godwit_record *r = malloc(sizeof(*r));
    bool seen = false;

    godwit_source_record(p->source, r);
    for (uint32_t i = 0; i < r->ndecisions; i++)
        seen = seen || !strcmp(r->decisions[i].what, "view");
    free(r);
    return seen;
}

static bool move(const char *uri, uint32_t lanes, enum godwit_compression c, uint64_t bandwidth)
{
    struct pair p;
    bool seen;

    pair_init(&p, SIZE);
    p.params.lanes = lanes;
    p.params.compression = c;
    p.params.max_bandwidth = bandwidth;
    p.from.memory.regions[0].fd = p.from.memory.fds[0];
    fake_fill(&p.from, 0, SIZE / GODWIT_PAGE_SIZE / 2, 1);
    fake_source_dirty(&p.from, 20 * MIB, 400);
    pair_listen(&p, uri);
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_true(pair_source_stats(&p).transferred >= SIZE / 2);
    assert_true(pair_sink_stats(&p).normal_pages >= SIZE / 2 / GODWIT_PAGE_SIZE);
    seen = was_seen(&p);
    pair_fini(&p); /* no descriptor is left */
    return seen;
}

static void test_moves(void **state)
{
    for (uint32_t lanes = 1; lanes <= 3; lanes++)
        assert_true(move(NULL, lanes, GODWIT_COMPRESS_AUTO, 0));
    assert_true(move(NULL, 2, GODWIT_COMPRESS_NONE, 64 * MIB));
}

static void test_not_over_tcp(void **state)
{
    assert_false(move("tcp:127.0.0.1:0", 2, GODWIT_COMPRESS_AUTO, 0));
}

/* What was asked for is done: the pages go compressed. */
static void test_compression_goes_first(void **state)
{
    struct pair p;

    pair_init(&p, SIZE);
    p.params.compression = GODWIT_COMPRESS_LZ4;
    p.from.memory.regions[0].fd = p.from.memory.fds[0];
    memset(p.from.memory.regions[0].host, 'a', SIZE);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_true(pair_source_stats(&p).packed_pages > 0);
    pair_fini(&p);
}

/* ---- what is offered ------------------------------------------------------------------------ */

struct offer {
    struct channel *here, *there;
    struct godwit_region region;
    struct view view;
    struct native_view answer;
};

static void offer_init(struct offer *o)
{
    int fd[2];

    memset(o, 0, sizeof(*o));
    o->region = (struct godwit_region){.name = "ram", .size = MIB};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    o->here = channel_from_fd(fd[0], "source");
    o->there = channel_from_fd(fd[1], "destination");
}

static void offer_fini(struct offer *o)
{
    view_close(&o->view);
    channel_free(o->here);
    channel_free(o->there);
}

/* Sends n copies of fd, which is closed, and offers `files` files of region 0 from `offset` on. */
static int offer(struct offer *o, int fd, unsigned n, unsigned files, uint64_t offset)
{
    struct native_view v = {.n = files, .files = {{0, offset}, {0, offset}}};
    int fds[2] = {fd, fd};
    struct err e = ERR_INIT;
    char byte = 0;

    assert_true(fd >= 0);
    assert_int_equal(channel_send_fds(o->here, "x", 1, fds, n, &e), 0);
    assert_int_equal(channel_read(o->there, &byte, 1, &e), 0);
    close(fd);
    return view_take(&o->view, o->there, &v, &o->region, 1, &o->answer, &e);
}

static int memory_of(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, "seen", 4, (off_t)(size / 2)), 4);
    return fd;
}

static void test_memory_is_taken_once(void **state)
{
    unsigned before = count_dir("/proc/self/fd");
    struct err e = ERR_INIT;
    struct offer o;
    char text[4];

    offer_init(&o);
    assert_int_equal(offer(&o, memory_of(2 * MIB), 1, 1, MIB / 2), 0);
    assert_int_equal(o.answer.n, 1);
    assert_int_equal(view_read(&o.view, 0, MIB / 2, text, 4, &e), 0);
    assert_memory_equal(text, "seen", 4);
    assert_int_equal(view_read(&o.view, 1, 0, text, 4, &e), -EPROTO); /* never offered */
    assert_int_equal(offer(&o, memory_of(MIB), 1, 1, 0), -EPROTO);
    offer_fini(&o);
    assert_int_equal(count_dir("/proc/self/fd"), before);
}

static void test_what_is_no_memory_is_left_alone(void **state)
{
    unsigned before = count_dir("/proc/self/fd");
    struct offer o;
    int pipes[2];

    offer_init(&o);
    assert_int_equal(pipe(pipes), 0);
    close(pipes[1]);
    assert_int_equal(offer(&o, pipes[0], 1, 1, 0), 0);
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, open("/dev/zero", O_RDONLY), 1, 1, 0), 0);
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, open("/", O_RDONLY | O_DIRECTORY), 1, 1, 0), 0);
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, open("/proc/self/exe", O_RDONLY), 1, 1, 0), 0);
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, memory_of(MIB - 4096), 1, 1, 0), 0); /* too short */
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, memory_of(MIB), 1, 1, 4096), 0); /* as well, from there on */
    assert_int_equal(o.answer.n, 0);
    offer_fini(&o);
    assert_int_equal(count_dir("/proc/self/fd"), before);
}

static void test_lost_descriptors_are_no_offer(void **state)
{
    struct offer o;

    offer_init(&o);
    assert_int_equal(offer(&o, memory_of(MIB), 1, 2, 0), 0);
    assert_int_equal(o.answer.n, 0);
    assert_int_equal(offer(&o, memory_of(MIB), 2, 2, 0), -EPROTO); /* one region twice */
    offer_fini(&o);
}

static void test_a_file_cut_short_is_told(void **state)
{
    int fd = memory_of(MIB), mine = dup(fd);
    struct err e = ERR_INIT;
    struct offer o;
    char page[4096];

    offer_init(&o);
    assert_int_equal(offer(&o, fd, 1, 1, 0), 0);
    assert_int_equal(ftruncate(mine, 8192), 0);
    assert_int_equal(view_read(&o.view, 0, 4096, page, sizeof(page), &e), 0);
    assert_int_equal(view_read(&o.view, 0, 8192, page, sizeof(page), &e), -EPROTO);
    assert_non_null(strstr(e.text, "cut short"));
    close(mine);
    offer_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_not_over_tcp),
        cmocka_unit_test(test_compression_goes_first),
        cmocka_unit_test(test_memory_is_taken_once),
        cmocka_unit_test(test_what_is_no_memory_is_left_alone),
        cmocka_unit_test(test_lost_descriptors_are_no_offer),
        cmocka_unit_test(test_a_file_cut_short_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
