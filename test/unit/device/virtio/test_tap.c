/* Taps, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device/virtio/tap.h"

static bool have_taps;

static int find_taps(void **state)
{
    struct err e = ERR_INIT;
    struct tap *t;

    (void)state;
    if (unshare(CLONE_NEWNET)) {
        print_message("skipped: tap: no network namespace of my own (%s)\n", strerror(errno));
        return 0;
    }
    if (tap_new("probe0", -1, &t, &e)) {
        print_message("skipped: tap: %s\n", e.text);
        return 0;
    }
    have_taps = true;
    tap_free(t);
    return 0;
}

#define NEED_TAPS                                                                                  \
    do {                                                                                           \
        if (!have_taps)                                                                            \
            skip();                                                                                \
    } while (0)

static struct tap *make(const char *name)
{
    struct err e = ERR_INIT;
    struct tap *t;

    if (tap_new(name, -1, &t, &e))
        fail_msg("%s", e.text);
    assert_int_equal(t->fd, -1);
    return t;
}

static void attaches_late(void **state)
{
    struct err e = ERR_INIT;
    struct ifreq ifr;
    struct tap *t;
    int size = 0;

    (void)state;
    NEED_TAPS;
    t = make("late0");
    assert_int_equal(if_nametoindex("late0"), 0);
    assert_int_equal(tap_set_offloads(t, TUN_F_CSUM | TUN_F_TSO4), 0);
    if (tap_attach(t, &e))
        fail_msg("%s", e.text);
    assert_int_not_equal(if_nametoindex("late0"), 0);
    assert_int_equal(tap_attach(t, &e), 0); /* already */
    assert_true(t->spare_fd >= 0);          /* for a return when /dev is out of reach */
    assert_int_equal(ioctl(t->fd, TUNGETIFF, &ifr), 0);
    assert_true(ifr.ifr_flags & IFF_VNET_HDR);
    assert_int_equal(ioctl(t->fd, TUNGETVNETHDRSZ, &size), 0);
    assert_int_equal(size, 12);
    assert_true(fcntl(t->fd, F_GETFL) & O_NONBLOCK);
    tap_detach(t);
    assert_int_equal(t->fd, -1);
    for (int i = 0; i < 5000 && if_nametoindex("late0"); i++)
        usleep(1000);
    assert_int_equal(if_nametoindex("late0"), 0); /* soon */
    tap_free(t);
}

static void two_cannot_hold_one(void **state)
{
    struct err e = ERR_INIT;
    struct tap *a, *b;

    (void)state;
    NEED_TAPS;
    a = make("both0");
    b = make("both0");
    assert_int_equal(tap_attach(a, &e), 0);
    assert_int_equal(tap_attach(b, &e), -EBUSY);
    assert_non_null(strstr(e.text, "'both0' is in use"));
    /* The move: given up there, taken here; and back again, for it failed. */
    tap_detach(a);
    assert_int_equal(tap_attach(b, &e), 0);
    assert_int_equal(tap_attach(a, &e), -EBUSY);
    tap_detach(b);
    assert_int_equal(tap_attach(a, &e), 0);
    tap_free(a);
    tap_free(b);
}

static void takes_a_descriptor(void **state)
{
    struct ifreq ifr = {.ifr_name = "given0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    struct err e = ERR_INIT;
    struct tap *t;
    int fd;

    (void)state;
    NEED_TAPS;
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
    if (tap_new("", fd, &t, &e))
        fail_msg("%s", e.text);
    assert_string_equal(t->ifname, "given0");
    assert_true(t->vnet_hdr);
    tap_detach(t);
    assert_int_equal(t->fd, fd); /* stays: nobody could open it again */
    tap_free(t);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void refuses_what_is_no_tap(void **state)
{
    struct err e = ERR_INIT;
    struct tap *t = NULL;
    int fd;

    (void)state;
    NEED_TAPS;
    fd = open("/dev/null", O_RDWR);
    assert_true(tap_new("", fd, &t, &e) < 0);
    assert_non_null(strstr(e.text, "not a tap"));
    close(fd);
    assert_int_equal(tap_new("", -1, &t, &e), -EINVAL);
    assert_int_equal(tap_new("sixteen-letters-", -1, &t, &e), -EINVAL);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attaches_late),
        cmocka_unit_test(two_cannot_hold_one),
        cmocka_unit_test(takes_a_descriptor),
        cmocka_unit_test(refuses_what_is_no_tap),
    };

    return cmocka_run_group_tests(tests, find_taps, NULL);
}
