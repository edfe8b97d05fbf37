/*
 * virtio-net inside (virtio 1.2, sec. 5.1): one pair of queues and a control queue, on the main
 * loop.
 *
 * A tap with IFF_VNET_HDR takes and gives the same 12-byte header that the driver does, so frames
 * to send go out of the guest's memory as they are.  A received frame is read into one buffer and
 * copied into as many of the guest's as it needs.  Each turn handles a bounded batch and comes back
 * by ringing its own doorbell, so that the loop stays responsive.
 */
#ifndef GODWIT_DEVICE_VIRTIO_NET_H
#define GODWIT_DEVICE_VIRTIO_NET_H

#include <linux/virtio_net.h>

#include "device/virtio/tap.h"
#include "device/virtio/vdev.h"
#include "device/virtio/virtio.h"

#define NET_HEADER    12 /* struct virtio_net_hdr_v1 */
#define NET_FRAME_MAX (NET_HEADER + 65536 + 64)

enum net_queue { NET_RX, NET_TX, NET_CTRL, NET_QUEUES };

struct net {
    struct virtio_device v; /* first */
    struct tap *tap;
    struct loop_fd *doorbells[NET_QUEUES];

    /* The loop's own. */
    struct loop_fd *tap_watch;
    uint32_t tap_events; /* what tap_watch waits for */
    struct loop_timer *announce_timer;
    struct virtio_announce announce;
    uint32_t announce_round;
    bool announce_waits; /* for the machine to run: it arrived paused */

    /* Guarded by the device lock. */
    bool rx_starved;    /* no buffer for what was received: wait for the doorbell */
    bool tx_blocked;    /* the tap is full: wait until it is writable */
    bool tap_gone;      /* its interface was deleted: complained once */
    uint32_t frame_len; /* received and not yet delivered; 0: none */
    uint8_t frame[NET_FRAME_MAX];
    struct chain chain; /* scratch */
};

/* net.c: the net device behind a bus device, or NULL. */
struct net *net_of(struct device *d);
struct virtio_net_config *net_config(struct net *n);
/* net_announce.c, on the loop: the machine may have started; announces it if that was due. */
void net_announce_started(struct net *n);

#endif
