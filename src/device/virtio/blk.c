#include "device/virtio/blk.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define STAGE "virtio-blk"

#define RING_ENTRIES (2 * BLK_QUEUE_SIZE) /* a request has one operation at most; one doorbell */
#define BOUNCE_BYTES ((size_t)(BLK_BOUNCES + 1) * BLK_BOUNCE_SIZE)
#define DRAIN_NS     (5 * NS_PER_S)

#define MAX_DISCARD_SECTORS (1U << 22) /* 2 GiB a range */
#define MAX_ZEROES_SECTORS  (1U << 18) /* 128 MiB a range: it may have to be written */

#define BIT(n) (1ULL << (n))

/* What comes behind belongs to secure erase, which is not offered. */
#define CONFIG_BYTES offsetof(struct virtio_blk_config, max_secure_erase_sectors)
_Static_assert(CONFIG_BYTES == 60 && CONFIG_BYTES <= VIRTIO_CONFIG_MAX, "virtio 1.2, 5.2.4");

static struct blk *of(struct virtio_device *v)
{
    return (struct blk *)v;
}

/* Requests */

void blk_request_end(struct blk_request *r, uint8_t status)
{
    struct blk *b = r->blk;

    if (r->epoch == b->v.epoch) {
        __atomic_store_n(r->status_host, status, __ATOMIC_RELAXED);
        guest_mem_mark(b->v.mem, r->status_gpa, 1);
        virtq_push(&b->v.queues[0], r->chain.head, r->written + 1);
        b->completed = true;
    }
    r->next = b->free;
    b->free = r;
    if (--b->in_flight == 0)
        pthread_cond_broadcast(&b->v.drained);
}

static bool take_next(struct blk *b)
{
    struct blk_request *r = b->free;

    if (!r || !vdev_pop(&b->v, 0, &r->chain))
        return false;
    b->free = r->next;
    b->in_flight++;
    r->epoch = b->v.epoch;
    blk_request_start(r);
    return true;
}

/* Without a free request doorbells stay off: the next completion looks again. */
static void take_new(struct blk *b)
{
    struct virtq *q = &b->v.queues[0];

    if (!vdev_queue_ready(&b->v, 0))
        return;
    do {
        virtq_suppress_kicks(q);
        while (take_next(b))
            ;
    } while (b->free && vdev_queue_ready(&b->v, 0) && virtq_want_kicks(q));
}

/* The thread */

static void arm_doorbell(struct blk *b)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);

    io_uring_prep_poll_add(sqe, b->v.doorbells[0], POLLIN);
    io_uring_sqe_set_data(sqe, NULL);
}

/* The last thing a stopped disk does.  A guest that wanted to be sure has flushed before, and was
 * told of errors; what is not stable now could be lost by a crash as well. */
static void settle(struct blk *b)
{
    struct io_uring_sqe *sqe;

    if (!b->settling || (!b->v.running && b->in_flight))
        return;
    if (b->v.running || !b->unflushed) {
        b->settling = false;
        pthread_cond_broadcast(&b->v.drained);
        return;
    }
    sqe = io_uring_get_sqe(&b->ring);
    io_uring_prep_fsync(sqe, b->image->fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data(sqe, &b->settle);
    b->unflushed = false;
    b->in_flight++;
}

static void settled(struct blk *b, int res)
{
    b->in_flight--;
    if (res < 0)
        vdev_warn(&b->v, "'%s' cannot be flushed: %s", b->image->path, strerror(-res));
}

static void serve(struct blk *b)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;

    vdev_lock(&b->v);
    io_uring_for_each_cqe(&b->ring, head, cqe)
    {
        struct blk_request *r = io_uring_cqe_get_data(cqe);

        n++;
        if (r == &b->settle) {
            settled(b, cqe->res);
        } else if (r) {
            blk_request_step(r, cqe->res);
        } else {
            vdev_doorbell_clear(&b->v, 0);
            arm_doorbell(b);
        }
    }
    io_uring_cq_advance(&b->ring, n);
    take_new(b);
    settle(b);
    if (b->completed)
        vdev_signal(&b->v, 0);
    b->completed = false;
    vdev_unlock(&b->v);
}

/* After quit: what is in flight ends first, for it reaches into the guest's memory. */
static void drain(struct blk *b)
{
    uint64_t deadline = clock_now_ns() + DRAIN_NS;
    struct __kernel_timespec tick = {.tv_nsec = 100 * NS_PER_MS};
    struct io_uring_cqe *cqe;

    while (b->in_flight && clock_now_ns() < deadline) {
        io_uring_submit(&b->ring);
        io_uring_wait_cqe_timeout(&b->ring, &cqe, &tick);
        serve(b);
    }
}

static void *run(void *opaque)
{
    struct blk *b = opaque;
    int ret;

    arm_doorbell(b);
    while (!atomic_load(&b->quit)) {
        ret = io_uring_submit_and_wait(&b->ring, 1);
        if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY) {
            log_error(STAGE, "'%s': io_uring: %s; the disk stands still", b->v.id, strerror(-ret));
            return NULL;
        }
        serve(b);
    }
    drain(b);
    return NULL;
}

static int attached(struct virtio_device *v, struct err *e)
{
    struct blk *b = of(v);
    sigset_t all, old;
    char name[16];
    int ret;

    /* Signals belong to other threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&b->thread, NULL, run, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret)
        return err_set_errno(e, -ret, STAGE, "cannot start the thread of disk '%s'", v->id);
    b->thread_started = true;
    snprintf(name, sizeof(name), "disk-%.10s", v->id);
    pthread_setname_np(b->thread, name);
    return 0;
}

static void stop_thread(struct blk *b)
{
    if (!b->thread_started)
        return;
    atomic_store(&b->quit, true);
    vdev_kick(&b->v, 0);
    pthread_join(b->thread, NULL);
    b->thread_started = false;
}

/* The type */

static void negotiated(struct virtio_device *v)
{
    of(v)->writethrough = !vdev_accepted(v, VIRTIO_BLK_F_FLUSH);
}

static bool idle(struct virtio_device *v)
{
    return of(v)->in_flight == 0 && !of(v)->settling;
}

static void stopped(struct virtio_device *v)
{
    struct blk *b = of(v);

    vdev_lock(v);
    b->settling = b->unflushed && b->thread_started;
    vdev_unlock(v);
    vdev_kick(v, 0);
}

static int load_config(struct virtio_device *v, const uint8_t *config, uint32_t len, struct err *e)
{
    const struct virtio_blk_config *mine = (const void *)v->config;
    struct virtio_blk_config theirs = {.capacity = 0};

    if (len != CONFIG_BYTES)
        return err_set(e, -EPROTO, STAGE, "%u bytes of configuration", len);
    memcpy(&theirs, config, CONFIG_BYTES);
    if (theirs.capacity != mine->capacity || theirs.blk_size != mine->blk_size)
        return err_set(e, -EPROTO, STAGE,
                       "the source's disk has %llu sectors and blocks of %u bytes, '%s' here has "
                       "%llu and %u: give the same image, with the same direct=",
                       (unsigned long long)theirs.capacity, theirs.blk_size, of(v)->image->path,
                       (unsigned long long)mine->capacity, mine->blk_size);
    return 0;
}

static void free_blk(struct virtio_device *v)
{
    struct blk *b = of(v);

    stop_thread(b);
    if (b->in_flight) {
        log_error(STAGE, "'%s': %u requests hang in '%s'; what they use is left to them", v->id,
                  b->in_flight, b->image->path);
        return;
    }
    if (b->ring_ready)
        io_uring_queue_exit(&b->ring);
    if (b->bounces)
        munmap(b->bounces, BOUNCE_BYTES);
    vdev_fini(v);
    free(b->requests);
    free(b);
}

static const struct virtio_type blk_type = {
    .name = "virtio-blk",
    .id = VIRTIO_ID_BLOCK,
    .pci_class = 0x010000,
    .nqueues = 1,
    .queue_size = {BLK_QUEUE_SIZE},
    .attached = attached,
    .negotiated = negotiated,
    .stopped = stopped,
    .idle = idle,
    .load_config = load_config,
    .free = free_blk,
};

/* Making */

static void fill_config(struct blk *b)
{
    uint32_t align = b->image->block_size / BLK_SECTOR;
    struct virtio_blk_config c = {.capacity = b->image->size / BLK_SECTOR,
                                  .seg_max = BLK_QUEUE_SIZE - 2,
                                  .blk_size = b->image->block_size,
                                  .num_queues = 1};

    if (b->image->can_discard) {
        c.max_discard_sectors = MAX_DISCARD_SECTORS;
        c.max_discard_seg = BLK_RANGES_MAX;
        c.discard_sector_alignment = align;
    }
    if (b->image->can_write_zeroes) {
        c.max_write_zeroes_sectors = MAX_ZEROES_SECTORS;
        c.max_write_zeroes_seg = BLK_RANGES_MAX;
        c.write_zeroes_may_unmap = b->image->can_discard;
    }
    memcpy(b->v.config, &c, CONFIG_BYTES);
    b->v.config_len = CONFIG_BYTES;
}

static uint64_t features_of(const struct image *i)
{
    return BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
           (i->readonly ? BIT(VIRTIO_BLK_F_RO) : 0) |
           (i->can_discard ? BIT(VIRTIO_BLK_F_DISCARD) : 0) |
           (i->can_write_zeroes ? BIT(VIRTIO_BLK_F_WRITE_ZEROES) : 0);
}

static int make_ring(struct blk *b, struct err *e)
{
    int ret = io_uring_queue_init(RING_ENTRIES, &b->ring, 0);

    if (ret == -EPERM || ret == -ENOSYS)
        return err_set(e, ret, STAGE,
                       "disk '%s' needs io_uring, which this system does not permit (see sysctl "
                       "kernel.io_uring_disabled, and the seccomp profile of a container)",
                       b->v.id);
    if (ret)
        return err_set_errno(e, ret, STAGE, "cannot make the io_uring of disk '%s'", b->v.id);
    b->ring_ready = true;
    return 0;
}

/* Pages come when they are first used, which with well-behaved guests is never. */
static int make_buffers(struct blk *b, struct err *e)
{
    b->requests = calloc(BLK_QUEUE_SIZE, sizeof(*b->requests));
    b->bounces = mmap(NULL, BOUNCE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->bounces == MAP_FAILED)
        b->bounces = NULL;
    if (!b->requests || !b->bounces)
        return err_set(e, -ENOMEM, STAGE, "no memory for disk '%s'", b->v.id);
    for (uint32_t i = 0; i < BLK_QUEUE_SIZE; i++) {
        b->requests[i].blk = b;
        b->requests[i].next = b->free;
        b->free = &b->requests[i];
    }
    b->bounces_free = (1U << BLK_BOUNCES) - 1;
    b->waiting_tail = &b->waiting;
    return 0;
}

int virtio_blk_new(const struct virtio_env *env, const char *id, struct image *image,
                   const char *serial, struct virtio_device **out, struct err *e)
{
    struct blk *b = calloc(1, sizeof(*b));
    int ret;

    if (!b)
        return err_set(e, -ENOMEM, STAGE, "no memory for disk '%s'", id);
    b->image = image;
    memcpy(b->serial, serial, strnlen(serial, sizeof(b->serial)));
    ret = vdev_init(&b->v, &blk_type, env, id, features_of(image), e);
    if (ret) {
        free(b);
        return ret;
    }
    fill_config(b);
    ret = make_ring(b, e);
    if (!ret)
        ret = make_buffers(b, e);
    if (ret) {
        free_blk(&b->v);
        return ret;
    }
    *out = &b->v;
    return 0;
}
