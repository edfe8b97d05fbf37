/*
 * After a move switches still send the machine's frames to its old place, until they see one from
 * its new one.  A guest that knows how is asked to announce its addresses (virtio 1.2, 5.1.6.5.4);
 * and because it takes its time, and others do not know how, a RARP request (RFC 903) with its
 * address goes out in its name at once.  Frames get lost while links come up: several rounds, ever
 * further apart.  A machine that arrived paused answers nobody: its announcement waits until it
 * runs.
 */
#include <linux/if_ether.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/virtio/net.h"

#define FRAME_SIZE 60 /* the shortest, without checksum */

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void make_rarp(uint8_t frame[FRAME_SIZE], const uint8_t mac[6])
{
    uint8_t *arp = frame + ETH_HLEN;

    memset(frame, 0, FRAME_SIZE);
    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + ETH_ALEN, mac, ETH_ALEN);
    put16(frame + 12, ETH_P_RARP);
    put16(arp, 1); /* Ethernet */
    put16(arp + 2, ETH_P_IP);
    arp[4] = ETH_ALEN;
    arp[5] = 4;
    put16(arp + 6, 3); /* request reverse */
    memcpy(arp + 8, mac, ETH_ALEN);
    memcpy(arp + 18, mac, ETH_ALEN);
}

static void send_rarp(struct net *n)
{
    uint8_t buf[NET_HEADER + FRAME_SIZE] = {0};
    uint32_t skip = n->tap->vnet_hdr ? 0 : NET_HEADER;

    make_rarp(buf + NET_HEADER, net_config(n)->mac);
    if (n->tap->fd >= 0 && write(n->tap->fd, buf + skip, sizeof(buf) - skip) < 0)
        log_debug("virtio-net", "'%s': announcement lost", n->v.id);
}

static void ask_guest(struct net *n)
{
    if (!vdev_accepted(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE) ||
        !vdev_accepted(&n->v, VIRTIO_NET_F_CTRL_VQ) || !vdev_queue_ready(&n->v, NET_CTRL))
        return;
    net_config(n)->status |= VIRTIO_NET_S_ANNOUNCE;
    vdev_config_changed(&n->v);
}

/* Until the next round. */
static uint64_t delay_ns(const struct virtio_announce *a, uint32_t round)
{
    uint64_t ms = a->initial_ms + (uint64_t)round * a->step_ms;

    return (ms < a->max_ms ? ms : a->max_ms) * NS_PER_MS;
}

static void tick(void *opaque)
{
    struct net *n = opaque;
    uint32_t round;

    vdev_lock(&n->v);
    n->announce_waits = !n->v.running;
    if (n->v.running) {
        send_rarp(n);
        ask_guest(n);
    }
    vdev_unlock(&n->v);
    if (n->announce_waits)
        return;
    round = n->announce_round++;
    if (n->announce_round < n->announce.rounds)
        loop_timer_set(n->announce_timer, clock_now_ns() + delay_ns(&n->announce, round));
}

void net_announce_started(struct net *n)
{
    if (n->announce_waits)
        tick(n);
}

struct asked {
    struct net *n;
    const struct virtio_announce *when;
};

static void begin(void *opaque)
{
    const struct asked *a = opaque;
    struct net *n = a->n;

    if (!n->announce_timer)
        n->announce_timer = loop_timer_new(n->v.loop, tick, n);
    if (!n->announce_timer)
        return;
    n->announce = *a->when;
    n->announce_round = 0;
    n->announce_waits = false;
    loop_timer_cancel(n->announce_timer);
    if (n->announce.rounds)
        tick(n);
}

void virtio_net_announce(struct device *d, const struct virtio_announce *when)
{
    struct asked a = {.n = net_of(d), .when = when};

    if (a.n)
        loop_call(a.n->v.loop, begin, &a);
}
