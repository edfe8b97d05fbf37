/*
 * virtio-rng (virtio 1.2, sec. 5.4): random bytes from the host's kernel, on the main loop.  A
 * guest gets RATE_BYTES a second at most, so that it cannot keep the loop busy by asking.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "base/clock.h"
#include "device/virtio/vdev.h"

#define STAGE "virtio-rng"

#define QUEUE_SIZE  64
#define RATE_BYTES  (1U << 20)
#define SLICE_NS    (100 * NS_PER_MS)
#define SLICE_BYTES (RATE_BYTES / 10)
#define ANSWER_MAX  4096 /* bytes for one buffer; the driver asks again */

struct rng {
    struct virtio_device v; /* first */
    struct loop_fd *doorbell;
    struct loop_timer *timer;
    /* Guarded by the device lock. */
    uint64_t slice_start_ns;
    uint32_t given; /* in this slice */
    struct chain chain;
};

static struct rng *of(struct virtio_device *v)
{
    return (struct rng *)v;
}

/* Bytes put into the chain; 0 when the host's pool is not ready yet, which passes. */
static size_t fill(struct rng *r)
{
    struct cursor in = chain_in(&r->chain);
    uint8_t bytes[ANSWER_MAX];
    size_t want = r->chain.in_len < sizeof(bytes) ? (size_t)r->chain.in_len : sizeof(bytes);
    ssize_t got = getrandom(bytes, want, GRND_NONBLOCK);

    return got > 0 ? cursor_write(&in, r->v.mem, bytes, (size_t)got) : 0;
}

/* One buffer; false when there is none or it has to wait. */
static bool answer_next(struct rng *r)
{
    size_t n;

    if (!vdev_pop(&r->v, 0, &r->chain))
        return false;
    n = fill(r);
    if (n == 0 && r->chain.in_len) {
        virtq_unpop(&r->v.queues[0], 1);
        return false;
    }
    virtq_push(&r->v.queues[0], r->chain.head, (uint32_t)n);
    r->given += n ? (uint32_t)n : 1;
    return true;
}

static void begin_slice(struct rng *r)
{
    uint64_t now = clock_now_ns();

    if (now - r->slice_start_ns >= SLICE_NS) {
        r->slice_start_ns = now;
        r->given = 0;
    }
}

static void serve(struct rng *r)
{
    struct virtq *q = &r->v.queues[0];
    bool any = false;

    if (!vdev_queue_ready(&r->v, 0))
        return;
    begin_slice(r);
    do {
        virtq_suppress_kicks(q);
        while (r->given < SLICE_BYTES && answer_next(r))
            any = true;
        if (r->given >= SLICE_BYTES || !virtq_empty(q)) {
            loop_timer_set(r->timer, r->slice_start_ns + SLICE_NS);
            break;
        }
    } while (virtq_want_kicks(q));
    if (any)
        vdev_signal(&r->v, 0);
}

static void rung(void *opaque, uint32_t events)
{
    struct rng *r = opaque;

    (void)events;
    vdev_lock(&r->v);
    vdev_doorbell_clear(&r->v, 0);
    serve(r);
    vdev_unlock(&r->v);
}

static void slice_over(void *opaque)
{
    rung(opaque, 0);
}

static int attached(struct virtio_device *v, struct err *e)
{
    struct rng *r = of(v);

    r->timer = loop_timer_new(v->loop, slice_over, r);
    r->doorbell = loop_fd_add(v->loop, v->doorbells[0], EPOLLIN, rung, r);
    if (!r->timer || !r->doorbell)
        return err_set_errno(e, -errno, STAGE, "cannot watch the doorbell of '%s'", v->id);
    return 0;
}

static int load_config(struct virtio_device *v, const uint8_t *config, uint32_t len, struct err *e)
{
    (void)v;
    (void)config;
    return len ? err_set(e, -EPROTO, STAGE, "%u bytes of configuration", len) : 0;
}

static void free_rng(struct virtio_device *v)
{
    struct rng *r = of(v);

    loop_timer_free(r->timer);
    loop_fd_del(r->doorbell);
    vdev_fini(v);
    free(r);
}

static const struct virtio_type rng_type = {
    .name = "virtio-rng",
    .id = VIRTIO_ID_RNG,
    .pci_class = 0x00ff00,
    .nqueues = 1,
    .queue_size = {QUEUE_SIZE},
    .attached = attached,
    .load_config = load_config,
    .free = free_rng,
};

int virtio_rng_new(const struct virtio_env *env, const char *id, struct virtio_device **out,
                   struct err *e)
{
    struct rng *r = calloc(1, sizeof(*r));
    int ret;

    if (!r)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", id);
    ret = vdev_init(&r->v, &rng_type, env, id, 0, e);
    if (ret) {
        free(r);
        return ret;
    }
    *out = &r->v;
    return 0;
}
