#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "mem/guest_mem.h"

#define MIB      (1ULL << 20)
#define GIB      (1ULL << 30)
#define FOUR_GIB (4 * GIB)

static const struct guest_mem_config split = {.size = 16 * MIB, .low_max = 8 * MIB};

static struct guest_mem *make(const struct guest_mem_config *c)
{
    struct guest_mem *m;
    struct err e = ERR_INIT;

    if (guest_mem_new(c, &m, &e) < 0)
        fail_msg("guest_mem_new: %s", e.text);
    return m;
}

static void lays_out_around_the_hole(void **state)
{
    struct guest_mem *m = make(&split);

    assert_int_equal(m->nranges, 2);
    assert_int_equal(m->ranges[0].gpa, 0);
    assert_int_equal(m->ranges[0].size, 8 * MIB);
    assert_true(m->ranges[1].gpa == FOUR_GIB);
    assert_int_equal(m->ranges[1].offset, 8 * MIB);
    assert_int_equal((uintptr_t)m->host % (2 * MIB), 0);
    assert_ptr_equal(guest_mem_ptr(m, FOUR_GIB, 8 * MIB), m->host + 8 * MIB);
    assert_true(strlen(m->backing) > 0);
    guest_mem_free(m);
}

static void low_only_when_it_fits(void **state)
{
    struct guest_mem_config c = {.size = 8 * MIB, .low_max = 8 * MIB};
    struct guest_mem *m = make(&c);

    assert_int_equal(m->nranges, 1);
    assert_null(guest_mem_ptr(m, FOUR_GIB, 1));
    guest_mem_free(m);
}

static void refuses_what_is_not_ram(void **state)
{
    struct guest_mem *m = make(&split);
    uint8_t byte = 0;

    assert_non_null(guest_mem_ptr(m, 8 * MIB - 1, 1));
    assert_null(guest_mem_ptr(m, 8 * MIB - 1, 2));
    assert_null(guest_mem_ptr(m, 8 * MIB, 1));
    assert_null(guest_mem_ptr(m, FOUR_GIB - 1, 2));
    assert_null(guest_mem_ptr(m, 0, UINT64_MAX));
    assert_null(guest_mem_ptr(m, UINT64_MAX, 1));
    assert_null(guest_mem_ptr(m, UINT64_MAX, UINT64_MAX));
    assert_null(guest_mem_ptr(m, FOUR_GIB + 4096, UINT64_MAX - 4096));
    assert_int_equal(guest_mem_write(m, 8 * MIB, &byte, 1), -EFAULT);
    assert_int_equal(guest_mem_read(m, 8 * MIB, &byte, 1), -EFAULT);
    guest_mem_free(m);
}

static void refuses_bad_sizes(void **state)
{
    const struct guest_mem_config bad[] = {
        {.size = 0,                        .low_max = 8 * MIB},
        {.size = 3 * MIB,                  .low_max = 8 * MIB},
        {.size = 8 * MIB,                  .low_max = 0      },
        {.size = 8 * MIB,                  .low_max = 3 * MIB},
        {.size = 8 * MIB,                  .low_max = 6 * GIB},
        {.size = UINT64_MAX - 2 * MIB + 1, .low_max = GIB    },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct guest_mem *m;
        struct err e = ERR_INIT;

        assert_int_equal(guest_mem_new(&bad[i], &m, &e), -EINVAL);
        assert_null(m);
        assert_true(strlen(e.text) > 0);
    }
}

static void writes_are_marked(void **state)
{
    struct guest_mem *m = make(&split);
    uint64_t got[BITMAP_WORDS(16 * MIB / 4096)] = {0};
    const char text[] = "across two pages";
    char back[sizeof(text)];

    assert_int_equal(guest_mem_write(m, FOUR_GIB + 4090, text, sizeof(text)), 0);
    assert_int_equal(guest_mem_read(m, FOUR_GIB + 4090, back, sizeof(back)), 0);
    assert_string_equal(back, text);
    guest_mem_mark(m, 0x3000, 4096);       /* one page, to its last byte */
    guest_mem_mark(m, 0x5000, 0);          /* nothing was written */
    guest_mem_mark(m, 8 * MIB, 4096);      /* the hole */
    guest_mem_mark(m, UINT64_MAX - 1, 10); /* nowhere */
    got[0] = 1;                            /* or'ed: what is there stays */
    guest_mem_dirty_fetch(m, got);
    assert_int_equal(bitmap_count(got, 4096), 4);
    assert_true(bitmap_test(got, 0) && bitmap_test(got, 3));
    assert_true(bitmap_test(got, 2048) && bitmap_test(got, 2049));
    memset(got, 0, sizeof(got));
    guest_mem_dirty_fetch(m, got);
    assert_int_equal(bitmap_count(got, 4096), 0);
    guest_mem_free(m);
}

static void marks_can_be_forgotten(void **state)
{
    struct guest_mem *m = make(&split);
    uint64_t got[64] = {0};
    uint8_t byte = 1;

    assert_int_equal(guest_mem_write(m, 4096, &byte, 1), 0);
    guest_mem_dirty_forget(m);
    assert_int_equal(guest_mem_write(m, 8192, &byte, 1), 0);
    guest_mem_dirty_fetch(m, got);
    assert_int_equal(bitmap_count(got, 4096), 1);
    assert_true(bitmap_test(got, 2));
    guest_mem_free(m);
}

static void untouched_memory_is_told_apart(void **state)
{
    struct guest_mem *m = make(&split);
    uint64_t start, end;
    uint8_t byte = 1;

    assert_int_equal(guest_mem_next_data(m, 0, &start, &end), 0);
    assert_int_equal(start, m->size);
    assert_int_equal(guest_mem_write(m, FOUR_GIB + 2 * MIB, &byte, 1), 0);
    assert_int_equal(guest_mem_next_data(m, 0, &start, &end), 0);
    assert_int_equal(start, 10 * MIB);
    assert_true(end > start && end <= 12 * MIB);
    assert_int_equal(guest_mem_next_data(m, end, &start, &end), 0);
    assert_int_equal(start, m->size);
    assert_int_equal(guest_mem_next_data(m, UINT64_MAX, &start, &end), 0);
    assert_int_equal(start, m->size);
    guest_mem_free(m);
}

/* What was found is remembered; what is touched later is found all the same. */
static void touched_memory_grows(void **state)
{
    struct guest_mem *m = make(&split);
    uint64_t start, end, first_end;

    assert_false(guest_mem_touched(m, 2 * MIB));
    memset(guest_mem_ptr(m, 2 * MIB, 8192), 1, 8192);
    assert_int_equal(guest_mem_next_data(m, 0, &start, &first_end), 0);
    assert_int_equal(start, 2 * MIB);
    assert_int_equal(guest_mem_next_data(m, 2 * MIB + 4096, &start, &end), 0);
    assert_int_equal(start, 2 * MIB + 4096);
    assert_int_equal(end, first_end);
    memset(guest_mem_ptr(m, first_end, 1), 1, 1);
    memset(guest_mem_ptr(m, MIB, 1), 1, 1);
    assert_int_equal(guest_mem_next_data(m, first_end, &start, &end), 0);
    assert_int_equal(start, first_end);
    assert_true(end > first_end);
    assert_int_equal(guest_mem_next_data(m, 0, &start, &end), 0);
    assert_true(start <= MIB);
    assert_true(guest_mem_touched(m, 2 * MIB + 4096 + 17));
    guest_mem_free(m);
}

static void discard_gives_zeros_back(void **state)
{
    struct guest_mem *m = make(&split);
    uint64_t start, end;
    struct stat st;

    memset(guest_mem_ptr(m, 0, 4 * MIB), 0xaa, 4 * MIB);
    guest_mem_next_data(m, 0, &start, &end);
    assert_int_equal(start, 0);
    guest_mem_discard(m);
    assert_int_equal(*(uint8_t *)guest_mem_ptr(m, 12345, 1), 0);
    guest_mem_discard(m);
    guest_mem_next_data(m, 0, &start, &end);
    assert_int_equal(start, m->size);
    assert_int_equal(fstat(m->fd, &st), 0);
    assert_int_equal(st.st_blocks, 0);
    guest_mem_free(m);
}

static void prealloc_takes_it_now(void **state)
{
    struct guest_mem_config c = {.size = 4 * MIB, .low_max = 8 * MIB, .prealloc = true};
    struct guest_mem *m = make(&c);
    struct stat st;

    assert_true(m->preallocated);
    assert_int_equal(fstat(m->fd, &st), 0);
    assert_int_equal(st.st_blocks * 512, 4 * MIB);
    guest_mem_free(m);
}

/* 512 GiB on any host: nothing is taken until it is touched. */
static void a_sparse_machine_may_exceed_the_host(void **state)
{
    struct guest_mem_config c = {.size = 512 * GIB, .low_max = 2 * GIB};
    struct guest_mem *m = make(&c);
    uint64_t start, end, word = 0x1122334455667788;
    struct stat st;

    assert_int_equal(guest_mem_write(m, FOUR_GIB + 509 * GIB, &word, sizeof(word)), 0);
    assert_int_equal(guest_mem_next_data(m, 0, &start, &end), 0);
    assert_true(start == 511 * GIB);
    assert_int_equal(fstat(m->fd, &st), 0);
    assert_true(st.st_blocks * 512 <= (off_t)(2 * MIB));
    guest_mem_free(m);
}

static uint64_t taken(const struct guest_mem *m)
{
    struct stat st;

    assert_int_equal(fstat(m->fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* A machine that arrives takes 2 MiB only where most of them will be written. */
static void an_arriving_machine_stays_small(void **state)
{
    struct guest_mem_config c = {.size = 32 * MIB, .low_max = 1 * GIB, .arriving = true};
    struct guest_mem *m = make(&c);
    uint64_t before;

    if (!m->huge) {
        guest_mem_free(m);
        skip();
    }
    for (uint64_t at = 0; at < 8 * MIB; at += 2 * MIB)
        m->host[at] = 1;
    assert_true(taken(m) <= 4 * GUEST_PAGE_SIZE);
    guest_mem_dense(m, 4 * 512 + 1, 3 * 512); /* two whole blocks, and parts of two */
    before = taken(m);
    assert_true(before > 4 * MIB && before <= 4 * MIB + 4 * GUEST_PAGE_SIZE);
    for (uint64_t at = 10 * MIB; at < 14 * MIB; at++)
        assert_int_equal(m->host[at], 0);
    memset(m->host + 10 * MIB, 0x55, 4 * MIB);
    assert_int_equal(taken(m), before);
    guest_mem_dense(m, 15 * 512, 512 * 512); /* the end of memory is the end */
    assert_int_equal(taken(m), before + 2 * MIB);
    guest_mem_arrived(m);
    m->host[20 * MIB] = 1; /* large pages again */
    assert_int_equal(taken(m), before + 4 * MIB);
    guest_mem_dense(m, 11 * 512, 512); /* nobody arrives any more: nothing */
    assert_int_equal(taken(m), before + 4 * MIB);
    guest_mem_free(m);
}

/* The pool that was asked for may not be there: then there is nothing to see. */
static void large_pages_from_a_pool_tell_what_was_touched(void **state)
{
    struct guest_mem_config c = {
        .size = 16 * MIB, .low_max = 1 * GIB, .path = "/dev/hugepages", .arriving = true};
    uint64_t start, end;
    struct guest_mem *m;

    if (guest_mem_new(&c, &m, NULL) < 0)
        skip();
    if (!m->hugetlb) {
        guest_mem_free(m);
        skip();
    }
    guest_mem_next_data(m, 0, &start, &end);
    assert_true(start == 16 * MIB);
    m->host[5 * MIB] = 1;
    guest_mem_next_data(m, 4096, &start, &end);
    assert_true(start == 4 * MIB && end == 6 * MIB);
    guest_mem_next_data(m, 4 * MIB + 8192, &start, &end);
    assert_true(start == 4 * MIB + 8192 && end == 6 * MIB);
    guest_mem_next_data(m, end, &start, &end);
    assert_true(start == 16 * MIB);
    m->host[15 * MIB] = 1;
    guest_mem_next_data(m, 6 * MIB, &start, &end);
    assert_true(start == 14 * MIB && end == 16 * MIB);
    guest_mem_free(m);
}

static void a_directory_holds_an_unnamed_file(void **state)
{
    char dir[] = "/tmp/godwit-test-mem-XXXXXX", link[64], target[256];
    struct guest_mem_config c = {.size = 2 * MIB, .low_max = 8 * MIB, .path = dir};
    struct guest_mem *m;
    ssize_t n;

    assert_non_null(mkdtemp(dir));
    m = make(&c);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", m->fd);
    n = readlink(link, target, sizeof(target) - 1);
    assert_true(n > 0);
    target[n] = '\0';
    assert_int_equal(strncmp(target, dir, strlen(dir)), 0);
    assert_int_equal(rmdir(dir), 0); /* empty: the file has no name */
    assert_int_equal(strncmp(m->backing, "file /tmp", 9), 0);
    guest_mem_free(m);
}

static void a_path_that_is_no_directory_is_named(void **state)
{
    struct guest_mem_config c = {.size = 2 * MIB, .low_max = 8 * MIB, .path = "/dev/null"};
    struct guest_mem *m;
    struct err e = ERR_INIT;

    assert_int_equal(guest_mem_new(&c, &m, &e), -ENOTDIR);
    assert_non_null(strstr(e.text, "/dev/null"));
    c.path = "/nonexistent/dir";
    assert_int_equal(guest_mem_new(&c, &m, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/dir"));
}

static int open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void nothing_leaks(void **state)
{
    struct guest_mem_config bad = {.size = 2 * MIB, .low_max = 8 * MIB, .path = "/dev/null"};
    int before = open_fds();
    struct guest_mem *m = make(&split);

    assert_int_equal(open_fds(), before + 1); /* the tmpfs itself is not kept open */
    guest_mem_free(m);
    guest_mem_free(NULL);
    assert_int_not_equal(guest_mem_new(&bad, &m, NULL), 0);
    assert_int_equal(open_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lays_out_around_the_hole),
        cmocka_unit_test(low_only_when_it_fits),
        cmocka_unit_test(refuses_what_is_not_ram),
        cmocka_unit_test(refuses_bad_sizes),
        cmocka_unit_test(writes_are_marked),
        cmocka_unit_test(marks_can_be_forgotten),
        cmocka_unit_test(untouched_memory_is_told_apart),
        cmocka_unit_test(touched_memory_grows),
        cmocka_unit_test(discard_gives_zeros_back),
        cmocka_unit_test(prealloc_takes_it_now),
        cmocka_unit_test(a_sparse_machine_may_exceed_the_host),
        cmocka_unit_test(an_arriving_machine_stays_small),
        cmocka_unit_test(large_pages_from_a_pool_tell_what_was_touched),
        cmocka_unit_test(a_directory_holds_an_unnamed_file),
        cmocka_unit_test(a_path_that_is_no_directory_is_named),
        cmocka_unit_test(nothing_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
