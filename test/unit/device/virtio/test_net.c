/*
 * virtio-net through a guest's driver, on a real tap in a network namespace of the test's own; a
 * packet socket on the tap's interface is the world outside.
 */
#include "driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "device/virtio/net.h"

#define QUEUE     64
#define HEADER    12
#define ETHERTYPE 0x88b5 /* for experiments: nobody else sends it */
#define CTRL_AT   0x380000U
#define BIT(n)    (1ULL << (n))

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 1, 2, 3};
static bool have_taps;

struct fixture {
    struct rig rig;
    enum rig_transport transport;
    struct tap *tap;
    struct device *dev;
    struct driver g;
    int world; /* packet socket */
};

/* The host's own neighbour discovery would be frames nobody here expects. */
static void silence_ipv6(void)
{
    int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    assert_int_equal(write(fd, "1", 1), 1);
    close(fd);
}

static int find_taps(void **state)
{
    struct err e = ERR_INIT;
    struct tap *t;

    (void)state;
    if (unshare(CLONE_NEWNET) || tap_new("probe0", -1, &t, &e)) {
        print_message("skipped: net: no taps in a namespace of my own here\n");
        return 0;
    }
    have_taps = true;
    silence_ipv6();
    tap_free(t);
    return 0;
}

static int open_world(void)
{
    struct ifreq ifr = {.ifr_name = "net0"};
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));

    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
    ifr.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
    addr.sll_ifindex = (int)if_nametoindex("net0");
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static struct device *make_net(struct fixture *f)
{
    struct virtio_device *v;
    struct err e = ERR_INIT;

    if (virtio_net_new(&f->rig.env, "nic0", f->tap, guest_mac, &v, &e))
        fail_msg("%s", e.text);
    return rig_plug(&f->rig, v, f->transport);
}

static void probe(struct fixture *f, uint64_t without)
{
    driver_attach(&f->g, &f->rig, f->dev, f->transport);
    assert_true(driver_negotiate(&f->g, driver_offered(&f->g) & ~without));
    for (uint32_t i = 0; i < 3; i++)
        driver_queue(&f->g, i, QUEUE);
    driver_ok(&f->g);
}

static int setup(void **state, enum rig_transport t)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err e = ERR_INIT;

    assert_non_null(f);
    *state = f;
    if (!have_taps)
        return 0;
    f->transport = t;
    rig_init(&f->rig);
    if (tap_new("net0", -1, &f->tap, &e) || tap_attach(f->tap, &e))
        fail_msg("%s", e.text);
    f->world = open_world();
    f->dev = make_net(f);
    probe(f, 0);
    rig_start(f->dev);
    rig_run_ms(&f->rig, 5);
    return 0;
}

static int setup_pci(void **state)
{
    return setup(state, RIG_PCI);
}

static int setup_mmio(void **state)
{
    return setup(state, RIG_MMIO_BUS);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (have_taps) {
        rig_stop(&f->rig, f->dev);
        rig_unplug(f->dev);
        tap_free(f->tap);
        close(f->world);
        rig_fini(&f->rig);
    }
    free(f);
    return 0;
}

#define FIXTURE                                                                                    \
    struct fixture *f = *state;                                                                    \
    if (!have_taps)                                                                                \
    skip()

/* Frames */

static uint32_t make_frame(uint8_t *p, uint32_t len, uint8_t seed)
{
    memset(p, 0xff, 6);
    memcpy(p + 6, guest_mac, 6);
    p[12] = ETHERTYPE >> 8;
    p[13] = ETHERTYPE & 0xff;
    for (uint32_t i = 14; i < len; i++)
        p[i] = (uint8_t)(i * 7 + seed);
    return len;
}

struct listening {
    struct fixture *f;
    uint16_t type;
    uint8_t frame[70000];
    ssize_t len;
};

static bool frame_came(void *opaque)
{
    struct listening *l = opaque;

    while ((l->len = recv(l->f->world, l->frame, sizeof(l->frame), 0)) > 0)
        if (l->len >= 14 && (l->frame[12] << 8 | l->frame[13]) == l->type)
            return true;
    return false;
}

static struct listening *listen_for(struct fixture *f, uint16_t type)
{
    static struct listening l;

    memset(&l, 0, sizeof(l));
    l.f = f;
    l.type = type;
    if (!rig_run_until(&f->rig, frame_came, &l))
        fail_msg("no frame came");
    return &l;
}

static void send_to_guest(struct fixture *f, const uint8_t *frame, uint32_t len)
{
    assert_int_equal(send(f->world, frame, len, 0), len);
}

static void give_buffers(struct fixture *f, uint32_t n, uint32_t len)
{
    for (uint32_t i = 0; i < n; i++) {
        struct driver_seg seg = {.gpa =
                                     DRIVER_DATA + 0x1000ULL * (f->g.q[NET_RX].avail_idx % QUEUE),
                                 .len = len,
                                 .in = true};

        memset(driver_ram(&f->g, seg.gpa), 0xee, len);
        driver_add(&f->g, NET_RX, &seg, 1);
    }
    driver_kick(&f->g, NET_RX);
}

static uint64_t buffer_of(struct fixture *f, uint32_t head)
{
    return driver_desc(&f->g, NET_RX, (uint16_t)head)->addr;
}

/* Sending and receiving */

static void tells_what_it_is(void **state)
{
    FIXTURE;

    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(driver_config(&f->g, i, 1), guest_mac[i]);
    assert_int_equal(driver_config(&f->g, 6, 2), VIRTIO_NET_S_LINK_UP);
    assert_true(f->g.features & BIT(VIRTIO_NET_F_MRG_RXBUF));
    assert_true(f->g.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
    assert_false(f->g.features & BIT(VIRTIO_NET_F_HOST_UFO));
}

static void transmit(struct fixture *f, uint32_t len, uint8_t seed)
{
    uint64_t at = DRIVER_DATA + 0x100000;
    struct driver_seg segs[] = {
        {at,        HEADER,                   false},
        {at + 4096, 10,                       false},
        {at + 8192, len > 10 ? len - 10 : 10, false},
    };
    uint8_t frame[9000];

    make_frame(frame, len, seed);
    memset(driver_ram(&f->g, at), 0, HEADER);
    memcpy(driver_ram(&f->g, at + 4096), frame, 10);
    memcpy(driver_ram(&f->g, at + 8192), frame + 10, len - 10);
    driver_add(&f->g, NET_TX, segs, 3);
    driver_kick(&f->g, NET_TX);
}

static void sends(void **state)
{
    struct listening *l;
    uint8_t expect[1000];
    FIXTURE;

    transmit(f, 1000, 5);
    l = listen_for(f, ETHERTYPE);
    make_frame(expect, 1000, 5);
    assert_int_equal(l->len, 1000);
    assert_memory_equal(l->frame, expect, 1000);
    assert_int_equal(driver_wait(&f->g, NET_TX).len, 0);
}

static void receives(void **state)
{
    struct vring_used_elem u;
    uint8_t frame[1000];
    FIXTURE;

    give_buffers(f, 4, 2048);
    make_frame(frame, sizeof(frame), 9);
    send_to_guest(f, frame, sizeof(frame));
    u = driver_wait(&f->g, NET_RX);
    assert_int_equal(u.len, HEADER + sizeof(frame));
    assert_memory_equal((uint8_t *)driver_ram(&f->g, buffer_of(f, u.id)) + HEADER, frame,
                        sizeof(frame));
    assert_int_equal(*(uint16_t *)driver_ram(&f->g, buffer_of(f, u.id) + 10), 1);
    assert_true(rig_dirty(&f->rig, buffer_of(f, u.id)));
    assert_true(driver_interrupts(&f->g, NET_RX) > 0);
}

static void merges_buffers(void **state)
{
    struct vring_used_elem u[3];
    uint8_t frame[1400], got[1500];
    uint32_t len = 0;
    FIXTURE;

    give_buffers(f, 8, 512);
    make_frame(frame, sizeof(frame), 1);
    send_to_guest(f, frame, sizeof(frame));
    for (int i = 0; i < 3; i++) {
        u[i] = driver_wait(&f->g, NET_RX);
        memcpy(got + len, driver_ram(&f->g, buffer_of(f, u[i].id)), u[i].len);
        len += u[i].len;
    }
    assert_int_equal(len, HEADER + sizeof(frame));
    assert_int_equal(got[10] | got[11] << 8, 3);
    assert_memory_equal(got + HEADER, frame, sizeof(frame));
}

/* A frame that found too few buffers waits for more, and none is lost or cut. */
static void waits_for_buffers(void **state)
{
    struct vring_used_elem u;
    uint8_t frame[1400];
    FIXTURE;

    give_buffers(f, 2, 512);
    make_frame(frame, sizeof(frame), 1);
    send_to_guest(f, frame, sizeof(frame));
    rig_run_ms(&f->rig, 30);
    assert_false(driver_used(&f->g, NET_RX, &u));
    give_buffers(f, 1, 512);
    assert_int_equal(driver_wait(&f->g, NET_RX).len, 512);
    assert_int_equal(driver_wait(&f->g, NET_RX).len, 512);
    assert_int_equal(driver_wait(&f->g, NET_RX).len, HEADER + 1400 - 1024);
}

static void drops_what_no_buffer_holds(void **state)
{
    struct vring_used_elem u;
    uint8_t frame[1400];
    FIXTURE;

    probe(f, BIT(VIRTIO_NET_F_MRG_RXBUF));
    give_buffers(f, 4, 512);
    make_frame(frame, sizeof(frame), 1);
    send_to_guest(f, frame, sizeof(frame));
    send_to_guest(f, frame, 300);
    u = driver_wait(&f->g, NET_RX);
    assert_int_equal(u.len, HEADER + 300);
    assert_memory_equal((uint8_t *)driver_ram(&f->g, buffer_of(f, u.id)) + HEADER, frame, 300);
}

static void carries_many(void **state)
{
    struct listening *l;
    uint8_t expect[600], frame[600];
    FIXTURE;

    f->g.indirect = true;
    for (uint32_t i = 0; i < 200; i++) {
        transmit(f, 600, (uint8_t)i);
        l = listen_for(f, ETHERTYPE);
        make_frame(expect, 600, (uint8_t)i);
        assert_memory_equal(l->frame, expect, 600);
        driver_wait(&f->g, NET_TX);
        give_buffers(f, 1, 2048);
        make_frame(frame, 600, (uint8_t)(i + 1));
        send_to_guest(f, frame, 600);
        assert_int_equal(driver_wait(&f->g, NET_RX).len, HEADER + 600);
    }
}

static void breaks_on_frames_without_header(void **state)
{
    struct driver_seg only = {.gpa = DRIVER_DATA, .len = 11};
    FIXTURE;

    driver_add(&f->g, NET_TX, &only, 1);
    driver_kick(&f->g, NET_TX);
    rig_run_ms(&f->rig, 20);
    assert_true(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET);
    probe(f, 0);
    transmit(f, 100, 3);
    driver_wait(&f->g, NET_TX);
}

static void breaks_on_buffers_without_room(void **state)
{
    uint8_t frame[100];
    FIXTURE;

    give_buffers(f, 1, HEADER - 1);
    make_frame(frame, sizeof(frame), 1);
    send_to_guest(f, frame, sizeof(frame));
    rig_run_ms(&f->rig, 20);
    assert_true(driver_status(&f->g) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void sets_offloads_by_negotiation(void **state)
{
    FIXTURE;

    assert_int_equal(f->tap->offloads, 0x07); /* TUN_F_CSUM, TSO4, TSO6 */
    probe(f, BIT(VIRTIO_NET_F_GUEST_TSO6));
    assert_int_equal(f->tap->offloads, 0x03);
    probe(f, BIT(VIRTIO_NET_F_GUEST_CSUM));
    assert_int_equal(f->tap->offloads, 0);
}

/* Moving */

static void moves_with_its_tap_given_over(void **state)
{
    struct err e = ERR_INIT;
    uint8_t frame[200];
    struct buf b;
    FIXTURE;

    give_buffers(f, 4, 2048);
    rig_stop(&f->rig, f->dev);
    tap_detach(f->tap);
    rig_save(f->dev, &b);
    rig_unplug(f->dev);
    tap_free(f->tap);

    assert_int_equal(tap_new("net0", -1, &f->tap, &e), 0);
    f->dev = make_net(f);
    if (rig_load(f->dev, &b, &e))
        fail_msg("%s", e.text);
    buf_fini(&b);
    if (tap_attach(f->tap, &e))
        fail_msg("%s", e.text);
    close(f->world);
    f->world = open_world();
    assert_int_equal(f->tap->offloads, 0x07);
    rig_start(f->dev);
    rig_run_ms(&f->rig, 5);

    make_frame(frame, sizeof(frame), 77);
    send_to_guest(f, frame, sizeof(frame));
    assert_int_equal(driver_wait(&f->g, NET_RX).len, HEADER + sizeof(frame));
    transmit(f, 200, 8);
    listen_for(f, ETHERTYPE);
    driver_wait(&f->g, NET_TX);
}

static void stopped_takes_nothing(void **state)
{
    struct vring_used_elem u;
    uint8_t frame[200];
    FIXTURE;

    give_buffers(f, 4, 2048);
    rig_run_ms(&f->rig, 5);
    rig_stop(&f->rig, f->dev);
    make_frame(frame, sizeof(frame), 1);
    send_to_guest(f, frame, sizeof(frame));
    transmit(f, 100, 1);
    rig_run_ms(&f->rig, 20);
    assert_false(driver_used(&f->g, NET_RX, &u));
    assert_false(driver_used(&f->g, NET_TX, &u));
    rig_start(f->dev);
    driver_wait(&f->g, NET_RX);
    driver_wait(&f->g, NET_TX);
}

static uint8_t control(struct fixture *f, uint8_t class, uint8_t cmd)
{
    struct driver_seg segs[] = {
        {CTRL_AT,     2, false},
        {CTRL_AT + 8, 1, true },
    };
    uint8_t *p = driver_ram(&f->g, CTRL_AT);

    p[0] = class;
    p[1] = cmd;
    p[8] = 0x77;
    driver_add(&f->g, NET_CTRL, segs, 2);
    driver_kick(&f->g, NET_CTRL);
    driver_wait(&f->g, NET_CTRL);
    return p[8];
}

static const struct virtio_announce usual = VIRTIO_ANNOUNCE_DEFAULT;

static void announces(void **state)
{
    static const uint8_t head[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
    struct listening *l;
    uint64_t start;
    FIXTURE;

    virtio_net_announce(f->dev, &usual);
    /* The guest is asked, and says that it has done so. */
    assert_int_equal(driver_config(&f->g, 6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    assert_int_equal(control(f, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK),
                     VIRTIO_NET_OK);
    assert_int_equal(driver_config(&f->g, 6, 2), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(control(f, 1, 0), VIRTIO_NET_ERR);

    /* Five RARP requests, ever further apart. */
    start = clock_now_ns();
    for (int i = 0; i < 5; i++) {
        l = listen_for(f, ETH_P_RARP);
        assert_int_equal(l->len, 60);
        assert_memory_equal(l->frame + 6, guest_mac, 6);
        assert_memory_equal(l->frame + 12, head, sizeof(head));
        assert_memory_equal(l->frame + 22, guest_mac, 6);
        assert_memory_equal(l->frame + 32, guest_mac, 6);
    }
    assert_in_range(clock_now_ns() - start, 550 * NS_PER_MS, 2000 * NS_PER_MS);
    rig_run_ms(&f->rig, 500);
    while ((l->len = recv(f->world, l->frame, sizeof(l->frame), 0)) > 0)
        assert_false(l->frame[12] == 0x80 && l->frame[13] == 0x35);
}

static uint32_t count_rarp(struct fixture *f, uint32_t ms)
{
    uint8_t frame[2048];
    uint32_t n = 0;
    ssize_t len;

    rig_run_ms(&f->rig, ms);
    while ((len = recv(f->world, frame, sizeof(frame), MSG_DONTWAIT)) > 0)
        n += len > 13 && frame[12] == 0x80 && frame[13] == 0x35;
    return n;
}

static void announces_on_a_schedule(void **state)
{
    const struct virtio_announce quick = {.initial_ms = 5, .max_ms = 10, .rounds = 3, .step_ms = 5},
                                 never = {.initial_ms = 5, .max_ms = 5},
                                 slow = {.initial_ms = 250, .max_ms = 250, .rounds = 3};
    FIXTURE;

    virtio_net_announce(f->dev, &quick); /* after 0, 5 and 15 ms */
    assert_int_equal(count_rarp(f, 200), 3);
    virtio_net_announce(f->dev, &never);
    assert_int_equal(count_rarp(f, 50), 0);
    virtio_net_announce(f->dev, &slow);
    assert_int_equal(count_rarp(f, 50), 1);
    virtio_net_announce(f->dev, &quick); /* in its place */
    assert_int_equal(count_rarp(f, 600), 3);
}

static void announces_for_a_guest_that_cannot(void **state)
{
    FIXTURE;

    probe(f, BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
    rig_run_ms(&f->rig, 5);
    virtio_net_announce(f->dev, &usual);
    assert_int_equal(driver_config(&f->g, 6, 2), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(listen_for(f, ETH_P_RARP)->len, 60);
}

int main(void)
{
#define BOTH(f)                                                                                    \
    cmocka_unit_test_setup_teardown(f, setup_pci, teardown),                                       \
        cmocka_unit_test_setup_teardown(f, setup_mmio, teardown)
    const struct CMUnitTest tests[] = {
        BOTH(tells_what_it_is),
        BOTH(sends),
        BOTH(receives),
        BOTH(merges_buffers),
        BOTH(waits_for_buffers),
        BOTH(drops_what_no_buffer_holds),
        BOTH(carries_many),
        BOTH(breaks_on_frames_without_header),
        BOTH(breaks_on_buffers_without_room),
        BOTH(sets_offloads_by_negotiation),
        BOTH(moves_with_its_tap_given_over),
        BOTH(stopped_takes_nothing),
        BOTH(announces),
        BOTH(announces_on_a_schedule),
        BOTH(announces_for_a_guest_that_cannot),
    };

    return cmocka_run_group_tests(tests, find_taps, NULL);
}
