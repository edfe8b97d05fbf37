/* Images: regular files, and block devices where loop devices can be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/image.h"

#define MIB (1U << 20)

struct fixture {
    char dir[64], path[128];
};

static int setup(void **state)
{
    static struct fixture f;

    strcpy(f.dir, "/var/tmp/godwit-image-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.path, sizeof(f.path), "%s/disk.raw", f.dir);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unlink(f->path);
    rmdir(f->dir);
    return 0;
}

static void make_file(const struct fixture *f, uint64_t size)
{
    int fd = open(f->path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    char byte = 'x';

    assert_true(fd >= 0);
    if (size)
        assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void refused(const char *path, bool readonly, bool direct, int code, const char *text)
{
    struct err e = ERR_INIT;
    struct image *i = NULL;

    assert_int_equal(image_open(path, readonly, direct, &i, &e), code);
    assert_null(i);
    assert_int_equal(e.code, code);
    if (!strstr(e.text, text) || !strstr(e.text, path))
        fail_msg("'%s' does not name '%s' and '%s'", e.text, path, text);
}

static void opens_a_file(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *i;

    make_file(f, MIB);
    if (image_open(f->path, false, false, &i, &e))
        fail_msg("%s", e.text);
    assert_int_equal(i->size, MIB);
    assert_int_equal(i->block_size, 512);
    assert_false(i->is_block_device);
    assert_true(i->can_write_zeroes);
    assert_false(i->owner_held || i->reservation_held);
    assert_false(fcntl(i->fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fcntl(i->fd, F_GETFL) & O_ACCMODE, O_RDWR);
    assert_string_equal(image_lock_reach(i), "this host and NFSv4 peers");
    assert_int_equal(image_invalidate_cache(i, &e), 0);
    image_close(i);
}

static void opening_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct stat before, after;
    struct image *i;

    make_file(f, MIB);
    assert_int_equal(stat(f->path, &before), 0);
    assert_int_equal(image_open(f->path, false, false, &i, &e), 0);
    image_close(i);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_blocks, after.st_blocks);
}

static void readonly_cannot_be_changed(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *i;

    make_file(f, MIB);
    assert_int_equal(image_open(f->path, true, false, &i, &e), 0);
    assert_true(i->readonly);
    assert_false(i->can_discard || i->can_write_zeroes);
    assert_int_equal(write(i->fd, "x", 1), -1);
    image_close(i);
}

static void direct_knows_its_alignment(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *i;
    void *block = NULL;

    make_file(f, MIB);
    if (image_open(f->path, false, true, &i, &e)) {
        print_message("skipped: direct_knows_its_alignment: %s\n", e.text);
        skip();
    }
    assert_true(fcntl(i->fd, F_GETFL) & O_DIRECT);
    assert_int_equal(posix_memalign(&block, i->block_size, i->block_size), 0);
    assert_int_equal(pread(i->fd, block, i->block_size, i->block_size), i->block_size);
    free(block);
    image_close(i);
}

static void refuses_what_is_no_image(void **state)
{
    struct fixture *f = *state;

    refused(f->path, false, false, -ENOENT, "No such file");
    make_file(f, 0);
    refused(f->path, false, false, -EINVAL, "is empty");
    make_file(f, 1000);
    refused(f->path, false, false, -EINVAL, "not whole 512-byte sectors");
    refused(f->dir, true, false, -EINVAL, "neither a regular file nor a block device");
    refused("/dev/null", false, false, -EINVAL, "neither a regular file nor a block device");
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    refused(f->path, true, false, -EINVAL, "neither a regular file nor a block device");
}

static void refuses_a_path_too_long(void **state)
{
    struct err e = ERR_INIT;
    struct image *i;
    char path[2000];

    (void)state;
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(image_open(path, false, false, &i, &e), -ENAMETOOLONG);
}

static void says_what_a_plain_user_can_do(void **state)
{
    struct fixture *f = *state;

    if (geteuid() == 0 && seteuid(65534)) {
        print_message("skipped: says_what_a_plain_user_can_do: cannot become one\n");
        skip();
    }
    refused("/etc/passwd", false, false, -EACCES, "readonly=on");
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    (void)f;
}

/* A loop device over the file; -1 where there are none. */
static int loop_device(const char *file, char path[64])
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1, back, n;

    if (control < 0)
        return -1;
    n = ioctl(control, LOOP_CTL_GET_FREE);
    close(control);
    snprintf(path, 64, "/dev/loop%d", n);
    back = open(file, O_RDWR | O_CLOEXEC);
    if (n >= 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, LOOP_SET_FD, back)) {
        close(fd);
        fd = -1;
    }
    close(back);
    return fd;
}

static void opens_a_block_device(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *i;
    char path[64];
    int loop;

    make_file(f, MIB);
    loop = loop_device(f->path, path);
    if (loop < 0) {
        print_message("skipped: opens_a_block_device: no loop devices here\n");
        skip();
    }
    if (image_open(path, false, false, &i, &e))
        fail_msg("%s", e.text);
    assert_true(i->is_block_device);
    assert_int_equal(i->size, MIB);
    assert_string_equal(image_lock_reach(i), "this host only");
    assert_int_equal(image_lock(i, &e), 0);
    assert_int_equal(image_invalidate_cache(i, &e), 0);
    image_close(i);
    ioctl(loop, LOOP_CLR_FD);
    close(loop);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(opens_a_file),
        TEST(opening_changes_nothing),
        TEST(readonly_cannot_be_changed),
        TEST(direct_knows_its_alignment),
        TEST(refuses_what_is_no_image),
        TEST(refuses_a_path_too_long),
        TEST(says_what_a_plain_user_can_do),
        TEST(opens_a_block_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
