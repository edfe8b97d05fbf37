/* The locks of an image, held by this process against another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/image.h"

/* The other machine: a child that opens the image and obeys one letter at a time. */
struct other {
    pid_t pid;
    int sock;
};

struct fixture {
    char path[64];
    int fd;
    struct image *mine;
    struct other other;
};

static int obey(struct image *i, char command)
{
    struct err e = ERR_INIT;

    switch (command) {
    case 'l':
        return image_lock(i, &e);
    case 'r':
        return image_reserve(i, &e);
    case 't':
        return image_take_over(i, &e);
    case 'd':
        image_release(i);
        return 0;
    default:
        return -EINVAL;
    }
}

static void be_other(const char *path, bool readonly, int sock)
{
    struct image *i;
    char command;

    if (image_open(path, readonly, false, &i, NULL))
        _exit(1);
    while (read(sock, &command, 1) == 1) {
        int ret = obey(i, command);

        if (write(sock, &ret, sizeof(ret)) != sizeof(ret))
            _exit(1);
    }
    _exit(0);
}

static void other_start(struct fixture *f, bool readonly)
{
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    f->other.pid = fork();
    assert_true(f->other.pid >= 0);
    if (f->other.pid == 0) {
        close(sv[0]);
        be_other(f->path, readonly, sv[1]);
    }
    close(sv[1]);
    f->other.sock = sv[0];
}

static int other(struct fixture *f, char command)
{
    int ret = -1;

    assert_int_equal(write(f->other.sock, &command, 1), 1);
    assert_int_equal(read(f->other.sock, &ret, sizeof(ret)), sizeof(ret));
    return ret;
}

static void other_dies(struct fixture *f)
{
    if (f->other.pid <= 0)
        return;
    kill(f->other.pid, SIGKILL);
    waitpid(f->other.pid, NULL, 0);
    close(f->other.sock);
    f->other.pid = 0;
}

static void mine_opens(struct fixture *f, bool readonly)
{
    struct err e = ERR_INIT;

    if (image_open(f->path, readonly, false, &f->mine, &e))
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    strcpy(f.path, "/var/tmp/godwit-lock-XXXXXX");
    f.fd = mkstemp(f.path);
    assert_true(f.fd >= 0);
    assert_int_equal(ftruncate(f.fd, 1 << 20), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    other_dies(f);
    image_close(f->mine);
    close(f->fd);
    unlink(f->path);
    return 0;
}

static void one_machine_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    mine_opens(f, false);
    other_start(f, false);
    assert_int_equal(image_lock(f->mine, &e), 0);
    assert_true(f->mine->owner_held);
    assert_false(f->mine->reservation_held);
    assert_int_equal(other(f, 'l'), -EAGAIN);
    image_release(f->mine);
    assert_int_equal(other(f, 'l'), 0);
    assert_int_equal(image_lock(f->mine, &e), -EAGAIN);
    assert_non_null(strstr(e.text, f->path));
    assert_non_null(strstr(e.text, "another machine holds it"));
    assert_false(f->mine->owner_held || f->mine->reservation_held);
}

static void a_lock_dies_with_its_holder(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    mine_opens(f, false);
    other_start(f, false);
    assert_int_equal(other(f, 'l'), 0);
    assert_int_equal(image_lock(f->mine, &e), -EAGAIN);
    other_dies(f);
    assert_int_equal(image_lock(f->mine, &e), 0);
}

/* The move: the source owns, the destination reserves, and nobody comes in between. */
static void a_reservation_leaves_no_gap(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *third;

    mine_opens(f, false);
    other_start(f, false);
    assert_int_equal(image_open(f->path, false, false, &third, &e), 0);
    assert_int_equal(image_lock(f->mine, &e), 0);
    assert_int_equal(other(f, 'r'), 0);
    assert_int_equal(other(f, 't'), -EAGAIN); /* not yet */
    image_release(f->mine);
    assert_int_equal(image_lock(third, &e), -EAGAIN);
    assert_non_null(strstr(e.text, "reserved"));
    assert_int_equal(image_reserve(third, &e), -EAGAIN);
    assert_int_equal(other(f, 't'), 0);
    assert_int_equal(image_lock(third, &e), -EAGAIN);
    /* The reservation is free for the next move. */
    assert_int_equal(image_reserve(third, &e), 0);
    image_close(third);
}

static void a_failed_move_gives_back(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    mine_opens(f, false);
    other_start(f, false);
    assert_int_equal(image_lock(f->mine, &e), 0);
    assert_int_equal(other(f, 'r'), 0);
    image_release(f->mine);
    assert_int_equal(other(f, 'd'), 0); /* the destination gave up */
    assert_int_equal(image_lock(f->mine, &e), 0);
}

static void readers_share(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image *writer;

    mine_opens(f, true);
    other_start(f, true);
    assert_int_equal(image_lock(f->mine, &e), 0);
    assert_int_equal(other(f, 'l'), 0);
    assert_int_equal(other(f, 'r'), 0);
    assert_int_equal(image_reserve(f->mine, &e), 0);
    image_release(f->mine);
    assert_int_equal(image_open(f->path, false, false, &writer, &e), 0);
    assert_int_equal(image_lock(writer, &e), -EAGAIN);
    assert_int_equal(other(f, 'd'), 0);
    assert_int_equal(image_lock(writer, &e), 0);
    assert_int_equal(image_lock(f->mine, &e), -EAGAIN);
    assert_non_null(strstr(e.text, "for writing"));
    image_close(writer);
}

static void asking_twice_is_harmless(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    mine_opens(f, false);
    other_start(f, false);
    assert_int_equal(image_reserve(f->mine, &e), 0);
    assert_int_equal(image_reserve(f->mine, &e), 0);
    assert_int_equal(image_take_over(f->mine, &e), 0);
    assert_int_equal(image_take_over(f->mine, &e), 0);
    assert_int_equal(image_lock(f->mine, &e), 0);
    assert_true(f->mine->owner_held);
    assert_false(f->mine->reservation_held);
    assert_int_equal(other(f, 'l'), -EAGAIN);
    image_release(f->mine);
    image_release(f->mine);
    assert_int_equal(other(f, 'l'), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_machine_at_a_time),
        TEST(a_lock_dies_with_its_holder),
        TEST(a_reservation_leaves_no_gap),
        TEST(a_failed_move_gives_back),
        TEST(readers_share),
        TEST(asking_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
