#include "device/virtio/net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"

#define STAGE "virtio-net"

#define QUEUE_SIZE 256
#define BATCH      64 /* frames a turn */

#define BIT(n) (1ULL << (n))

_Static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER, "virtio 1.2, 5.1.6");
_Static_assert(sizeof(struct virtio_net_config) <= VIRTIO_CONFIG_MAX, "fits what moves");

#define CONFIG_BYTES offsetof(struct virtio_net_config, max_virtqueue_pairs)

static struct net *of(struct virtio_device *v)
{
    return (struct net *)v;
}

struct virtio_net_config *net_config(struct net *n)
{
    return (struct virtio_net_config *)n->v.config;
}

/* The tap's watch: exactly what can be used now. */

static void tap_ready(void *opaque, uint32_t events);

static void watch_tap(struct net *n)
{
    bool on = n->v.running && n->tap->fd >= 0 && !n->tap_gone;
    uint32_t events = 0;

    if (on && vdev_queue_ready(&n->v, NET_RX) && !n->rx_starved)
        events |= EPOLLIN;
    if (on && n->tx_blocked)
        events |= EPOLLOUT;
    if (events == n->tap_events)
        return;
    if (events && n->tap_watch) {
        loop_fd_mod(n->tap_watch, events);
    } else if (events) {
        n->tap_watch = loop_fd_add(n->v.loop, n->tap->fd, events, tap_ready, n);
        if (!n->tap_watch)
            events = 0;
    } else {
        loop_fd_del(n->tap_watch);
        n->tap_watch = NULL;
    }
    n->tap_events = events;
}

/* Receiving */

/* Where byte `offset` of the part the device writes lies; it is there. */
static uint64_t locate(struct chain *c, uint64_t offset)
{
    uint32_t i = c->nout;

    while (offset >= c->iov[i].iov_len)
        offset -= c->iov[i++].iov_len;
    return c->gpa[i] + offset;
}

static void bad_buffer(struct net *n, const char *what)
{
    struct err e;

    err_set(&e, -EPROTO, STAGE, "%s", what);
    vdev_break(&n->v, &e);
}

/* Puts the frame into the driver's buffers, published by the caller: how many, or 0 when there are
 * not enough now. */
static uint16_t fill_buffers(struct net *n, uint64_t count_gpa[2])
{
    struct virtq *q = &n->v.queues[NET_RX];
    bool mergeable = vdev_accepted(&n->v, VIRTIO_NET_F_MRG_RXBUF);
    uint16_t used = 0;
    size_t done = 0;

    while (done < n->frame_len) {
        struct cursor in;
        size_t len;

        if ((used && !mergeable) || used == q->size || !vdev_pop(&n->v, NET_RX, &n->chain))
            goto give_back;
        in = chain_in(&n->chain);
        if (n->chain.in_len < NET_HEADER) {
            bad_buffer(n, "a receive buffer smaller than a header");
            return 0;
        }
        if (used == 0)
            for (uint32_t i = 0; i < 2; i++)
                count_gpa[i] =
                    locate(&n->chain, offsetof(struct virtio_net_hdr_v1, num_buffers) + i);
        len = cursor_write(&in, n->v.mem, n->frame + done, n->frame_len - done);
        virtq_put(q, used++, n->chain.head, (uint32_t)len);
        done += len;
    }
    return used;
give_back:
    virtq_unpop(q, used);
    /* One buffer must do, or all of them did not: no waiting helps. */
    if ((used && !mergeable) || used == q->size)
        n->frame_len = 0;
    return 0;
}

static bool deliver(struct net *n)
{
    struct virtq *q = &n->v.queues[NET_RX];
    uint64_t count_gpa[2];
    uint16_t used = fill_buffers(n, count_gpa);

    if (used == 0)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t byte = (uint8_t)(used >> (8 * i));

        guest_mem_write(n->v.mem, count_gpa[i], &byte, 1);
    }
    virtq_publish(q, used);
    n->frame_len = 0;
    return true;
}

/* Reads one frame from the tap; false when there is none. */
static bool receive(struct net *n)
{
    uint32_t skip = n->tap->vnet_hdr ? 0 : NET_HEADER;
    ssize_t len;

    memset(n->frame, 0, NET_HEADER);
    len = read(n->tap->fd, n->frame + skip, sizeof(n->frame) - skip);
    if (len <= 0 || (size_t)len + skip <= NET_HEADER)
        return false;
    n->frame_len = (uint32_t)len + skip;
    return true;
}

static void serve_rx(struct net *n)
{
    struct virtq *q = &n->v.queues[NET_RX];
    uint32_t delivered = 0;

    n->rx_starved = false;
    if (!vdev_queue_ready(&n->v, NET_RX) || n->tap->fd < 0)
        return;
    virtq_suppress_kicks(q);
    for (uint32_t i = 0; i < BATCH; i++) {
        if (!n->frame_len && !receive(n))
            break;
        if (deliver(n)) {
            delivered++;
        } else if (n->frame_len && !virtq_want_kicks(q)) {
            n->rx_starved = true;
            break;
        }
    }
    if (delivered)
        vdev_signal(&n->v, NET_RX);
}

/* Sending */

/* False when the tap is full: the chain must come again. */
static bool send_frame(struct net *n)
{
    struct cursor out = chain_out(&n->chain);
    ssize_t ret;

    if (!n->tap->vnet_hdr)
        cursor_skip(&out, NET_HEADER);
    do
        ret = writev(n->tap->fd, out.iov, (int)out.n);
    while (ret < 0 && errno == EINTR);
    /* Any other error is this frame's own: it is lost, as on a wire. */
    return ret >= 0 || errno != EAGAIN;
}

/* One frame from the queue; false when there is none, or none can be sent. */
static bool send_next(struct net *n)
{
    struct virtq *q = &n->v.queues[NET_TX];

    if (!vdev_pop(&n->v, NET_TX, &n->chain))
        return false;
    if (n->chain.nin || n->chain.out_len < NET_HEADER) {
        bad_buffer(n, "a frame to send without a header, or with a writable part");
        return false;
    }
    if (!send_frame(n)) {
        virtq_unpop(q, 1);
        n->tx_blocked = true;
        return false;
    }
    virtq_push(q, n->chain.head, 0);
    return true;
}

static void serve_tx(struct net *n)
{
    struct virtq *q = &n->v.queues[NET_TX];
    uint32_t sent = 0;

    if (!vdev_queue_ready(&n->v, NET_TX) || n->tap->fd < 0 || n->tap_gone)
        return;
    n->tx_blocked = false;
    do {
        virtq_suppress_kicks(q);
        while (sent < BATCH && send_next(n))
            sent++;
        if (sent == BATCH)
            vdev_kick(&n->v, NET_TX);
    } while (sent < BATCH && !n->tx_blocked && vdev_queue_ready(&n->v, NET_TX) &&
             virtq_want_kicks(q));
    if (sent)
        vdev_signal(&n->v, NET_TX);
}

/* The control queue (sec. 5.1.6.5): the guest says that it announced itself */

static uint8_t control(struct net *n, const struct virtio_net_ctrl_hdr *h)
{
    if (h->class != VIRTIO_NET_CTRL_ANNOUNCE || h->cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
        return VIRTIO_NET_ERR;
    net_config(n)->status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
    return VIRTIO_NET_OK;
}

/* One command; false when there is none. */
static bool obey_next(struct net *n)
{
    struct cursor out, in;
    struct virtio_net_ctrl_hdr head;
    uint8_t ack;

    if (!vdev_pop(&n->v, NET_CTRL, &n->chain))
        return false;
    out = chain_out(&n->chain);
    in = chain_in(&n->chain);
    if (cursor_read(&out, &head, sizeof(head)) != sizeof(head) || !in.n) {
        bad_buffer(n, "a control command without head or room for an answer");
        return false;
    }
    ack = control(n, &head);
    virtq_push(&n->v.queues[NET_CTRL], n->chain.head,
               (uint32_t)cursor_write(&in, n->v.mem, &ack, 1));
    return true;
}

static void serve_ctrl(struct net *n)
{
    struct virtq *q = &n->v.queues[NET_CTRL];
    uint32_t served = 0;

    do {
        while (served < BATCH && obey_next(n))
            served++;
        if (served == BATCH)
            vdev_kick(&n->v, NET_CTRL);
    } while (served < BATCH && vdev_queue_ready(&n->v, NET_CTRL) && virtq_want_kicks(q));
    if (served)
        vdev_signal(&n->v, NET_CTRL);
}

/* Events of the loop */

static void tap_ready(void *opaque, uint32_t events)
{
    struct net *n = opaque;

    vdev_lock(&n->v);
    if (events & (EPOLLERR | EPOLLHUP)) {
        log_warn(STAGE, "'%s': tap '%s' is gone", n->v.id, n->tap->ifname);
        n->tap_gone = true;
    } else {
        if (events & EPOLLIN)
            serve_rx(n);
        if (events & EPOLLOUT)
            serve_tx(n);
    }
    watch_tap(n);
    vdev_unlock(&n->v);
}

static void rung(struct net *n, enum net_queue queue, void (*serve)(struct net *))
{
    vdev_lock(&n->v);
    vdev_doorbell_clear(&n->v, queue);
    if (vdev_queue_ready(&n->v, queue))
        serve(n);
    watch_tap(n);
    vdev_unlock(&n->v);
    net_announce_started(n); /* a start rings every doorbell */
}

static void rx_rung(void *opaque, uint32_t events)
{
    (void)events;
    rung(opaque, NET_RX, serve_rx);
}

static void tx_rung(void *opaque, uint32_t events)
{
    (void)events;
    rung(opaque, NET_TX, serve_tx);
}

static void ctrl_rung(void *opaque, uint32_t events)
{
    (void)events;
    rung(opaque, NET_CTRL, serve_ctrl);
}

/* The type */

static int attached(struct virtio_device *v, struct err *e)
{
    static const loop_fd_fn handlers[NET_QUEUES] = {rx_rung, tx_rung, ctrl_rung};
    struct net *n = of(v);

    for (uint32_t i = 0; i < NET_QUEUES; i++) {
        n->doorbells[i] = loop_fd_add(v->loop, v->doorbells[i], EPOLLIN, handlers[i], n);
        if (!n->doorbells[i])
            return err_set_errno(e, -errno, STAGE, "cannot watch the doorbells of '%s'", v->id);
    }
    return 0;
}

static void negotiated(struct virtio_device *v)
{
    struct net *n = of(v);
    uint32_t tun_f = 0;

    if (vdev_accepted(v, VIRTIO_NET_F_GUEST_CSUM)) {
        tun_f |= TUN_F_CSUM;
        if (vdev_accepted(v, VIRTIO_NET_F_GUEST_TSO4))
            tun_f |= TUN_F_TSO4;
        if (vdev_accepted(v, VIRTIO_NET_F_GUEST_TSO6))
            tun_f |= TUN_F_TSO6;
    }
    if (tap_set_offloads(n->tap, tun_f))
        vdev_warn(v, "tap '%s' does not take offloads %#x", n->tap->ifname, tun_f);
}

static void reset(struct virtio_device *v)
{
    struct net *n = of(v);

    n->frame_len = 0;
    n->rx_starved = n->tx_blocked = false;
    net_config(n)->status = VIRTIO_NET_S_LINK_UP;
    tap_set_offloads(n->tap, 0);
}

/* The address is the machine's, so it comes along; the rest must be what it is here. */
static int load_config(struct virtio_device *v, const uint8_t *config, uint32_t len, struct err *e)
{
    struct virtio_net_config theirs = {.status = 0};

    if (len != CONFIG_BYTES)
        return err_set(e, -EPROTO, STAGE, "%u bytes of configuration", len);
    memcpy(&theirs, config, len);
    if ((theirs.mac[0] & 1) || (theirs.status & ~(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE)))
        return err_set(e, -EPROTO, STAGE, "a multicast address, or unknown bits in status %#x",
                       theirs.status);
    memcpy(v->config, &theirs, len);
    return 0;
}

static void drop_watch(void *opaque)
{
    struct net *n = opaque;

    vdev_lock(&n->v);
    watch_tap(n);        /* not running: nothing */
    n->tap_gone = false; /* another may be attached before it starts again */
    vdev_unlock(&n->v);
}

/* At once, not by a doorbell: the tap may be detached next. */
static void stopped(struct virtio_device *v)
{
    loop_call(v->loop, drop_watch, v);
}

static void free_net(struct virtio_device *v)
{
    struct net *n = of(v);

    loop_timer_free(n->announce_timer);
    loop_fd_del(n->tap_watch);
    for (uint32_t i = 0; i < NET_QUEUES; i++)
        loop_fd_del(n->doorbells[i]);
    vdev_fini(v);
    free(n);
}

static const struct virtio_type net_type = {
    .name = "virtio-net",
    .id = VIRTIO_ID_NET,
    .pci_class = 0x020000,
    .nqueues = NET_QUEUES,
    .queue_size = {QUEUE_SIZE, QUEUE_SIZE, 64},
    .attached = attached,
    .negotiated = negotiated,
    .reset = reset,
    .load_config = load_config,
    .stopped = stopped,
    .free = free_net,
};

struct net *net_of(struct device *d)
{
    struct virtio_device *v = virtio_pci_vdev(d);

    if (!v)
        v = virtio_mmio_vdev(d);
    return v && v->type == &net_type ? of(v) : NULL;
}

/* Making */

static uint64_t features_of(const struct tap *tap)
{
    uint64_t f = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
                 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

    if (tap->vnet_hdr)
        f |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
             BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
             BIT(VIRTIO_NET_F_GUEST_TSO6);
    return f;
}

int virtio_net_new(const struct virtio_env *env, const char *id, struct tap *tap,
                   const uint8_t mac[6], struct virtio_device **out, struct err *e)
{
    struct net *n = calloc(1, sizeof(*n));
    int ret;

    if (!n)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", id);
    n->tap = tap;
    ret = vdev_init(&n->v, &net_type, env, id, features_of(tap), e);
    if (ret) {
        free(n);
        return ret;
    }
    memcpy(net_config(n)->mac, mac, 6);
    net_config(n)->status = VIRTIO_NET_S_LINK_UP;
    n->v.config_len = CONFIG_BYTES;
    *out = &n->v;
    return 0;
}
