/* Machines that are saved into a file and come out of it; files that are no good. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/tape.h"

static char folder[64], path[96], uri[128];

static void put(struct pair *p)
{
    snprintf(p->dial, sizeof(p->dial), "%s", uri);
    pair_migrate(p);
}

static bool is_there(const char *suffix)
{
    char name[128];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

static void save_machine(struct pair *p)
{
    pair_init(p, 64 * MIB);
    fake_fill(&p->from, 0, 64 * MIB / 4096 / 2, 2);
    fake_source_dirty(&p->from, 100 * MIB, 1000);
    put(p);
    pair_expect_source(p, GODWIT_COMPLETED);
    assert_true(is_there(""));
    assert_false(is_there(".part"));
}

static void test_round_trip(void **state)
{
    struct pair p;

    save_machine(&p);
    pair_listen(&p, uri);
    pair_expect_moved(&p);
    pair_fini(&p);
}

static void test_offset(void **state)
{
    const char *front = "somebody's header, 32 bytes long";
    char text[33] = "";
    struct pair p;
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);

    assert_int_equal(write(fd, front, 32), 32);
    close(fd);
    snprintf(uri, sizeof(uri), "file:%s,offset=32", path);
    save_machine(&p);
    fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, 32), 32);
    close(fd);
    assert_string_equal(text, front);
    pair_listen(&p, uri);
    pair_expect_moved(&p);
    pair_fini(&p);
}

/* What was there stays, and nothing else does. */
static void test_canceled(void **state)
{
    struct pair p;
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);

    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    pair_init(&p, 64 * MIB);
    p.params.max_bandwidth = MIB;
    fake_fill(&p.from, 0, 64 * MIB / 4096, 1);
    put(&p);
    pair_expect_source(&p, GODWIT_ACTIVE);
    assert_true(is_there(".part"));
    assert_int_equal(godwit_source_cancel(p.source), 0);
    pair_expect_source(&p, GODWIT_CANCELED);
    wait_until(!is_there(".part"));
    pair_expect_kept(&p);
    pair_fini(&p);
    fd = open(path, O_RDONLY);
    assert_int_equal(lseek(fd, 0, SEEK_END), 8);
    close(fd);
}

static void test_no_folder(void **state)
{
    struct pair p;
    struct godwit_source *s;
    struct err e = ERR_INIT;

    pair_init(&p, MIB);
    struct godwit_source_config c = {.ops = &fake_source_ops,
                                     .opaque = &p.from,
                                     .uri = "file:/nowhere/at/all",
                                     .regions = p.from.memory.regions,
                                     .nregions = 1,
                                     .params = p.params};

    assert_int_equal(godwit_source_start(&c, &s, &e), -ENOENT);
    assert_non_null(strstr(e.text, "cannot make '/nowhere/at/all.part'"));
    pair_fini(&p);
}

/* The second is told; what somebody left who died is in nobody's way. */
static void test_two_savers(void **state)
{
    struct tape first, second;
    struct err e = ERR_INIT;
    char part[112];
    int fd;

    snprintf(part, sizeof(part), "%s.part", path);
    fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(tape_create(&first, path, 0, &e), 0);
    assert_int_equal(tape_create(&second, path, 0, &e), -EBUSY);
    assert_int_equal(access(part, F_OK), 0); /* it is not the second's to remove */
    tape_close(&first);
    assert_int_not_equal(access(part, F_OK), 0);
}

/* A file that ends at any place, or has a byte changed that a checksum covers, is no machine. */
static void play_damaged(struct pair *p, off_t length, const char *why)
{
    struct godwit_stats st;

    assert_int_equal(truncate(path, length), 0);
    pair_listen(p, uri);
    pair_expect_sink(p, GODWIT_FAILED);
    st = pair_sink_stats(p);
    if (!strstr(st.error.text, why))
        fail_msg("cut to %lld: '%s' does not say '%s'", (long long)length, st.error.text, why);
    assert_false(p->to.runs);
    pair_end_sink(p);
}

static void test_cut_short(void **state)
{
    struct pair p;
    struct stat st;

    save_machine(&p);
    assert_int_equal(stat(path, &st), 0);
    play_damaged(&p, st.st_size - 1, "is cut short");
    play_damaged(&p, st.st_size - 8, "is cut short");
    play_damaged(&p, st.st_size / 2, "is cut short");
    pair_fini(&p);
}

static void refuse(const char *why)
{
    struct fake_world world = {0};
    struct fake_sink g;
    struct godwit_sink *s;
    struct err e = ERR_INIT;

    fake_sink_init(&g, &world);
    struct godwit_sink_config c = {.ops = &fake_sink_ops, .opaque = &g, .uri = uri};

    assert_int_not_equal(godwit_sink_start(&c, &s, &e), 0);
    if (!strstr(e.text, why))
        fail_msg("'%s' does not say '%s'", e.text, why);
    fake_sink_fini(&g);
}

static void test_no_machine(void **state)
{
    int fd;

    refuse("No such file");
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    refuse("holds no machine");
    assert_int_equal(write(fd, "PK\3\4 this is something else", 27), 27);
    refuse("holds no machine");
    assert_int_equal(pwrite(fd, "\r\nGODWITFILE\2\0\0\0", 16, 0), 16);
    close(fd);
    refuse("is of version 2, this reads 1");
}

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/godwit-test-file-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/machine", folder);
    snprintf(uri, sizeof(uri), "file:%s", path);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_offset),    TEST(test_canceled),
        TEST(test_no_folder),  TEST(test_two_savers), TEST(test_cut_short), TEST(test_no_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
