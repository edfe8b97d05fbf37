/*
 * virtio-blk inside: the device and its requests (virtio 1.2, sec. 5.2).
 *
 * The thread "disk-ID" sleeps in io_uring on the doorbell and on what is in flight.  When it wakes
 * it takes the device lock, ends what completed, takes what is new, and prepares the next
 * operations; it submits them without the lock.  The ring belongs to the thread alone.
 *
 * A request is a sequence of steps, each at most one operation in the ring: what came short, what
 * goes through a bounce buffer, and lists of ranges take several.  Between its steps a request
 * looks at the device's epoch: after a reset it ends without touching the guest's memory again.
 *
 * A stopped disk is idle when nothing is in flight and everything written is stable: who starts the
 * machine elsewhere reads the storage, not this host's page cache.
 *
 * The image's descriptor is not registered with the ring: a registered file would outlive
 * image_close, and its locks with it.
 */
#ifndef GODWIT_DEVICE_VIRTIO_BLK_H
#define GODWIT_DEVICE_VIRTIO_BLK_H

#include <liburing.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <stdatomic.h>

#include "device/virtio/vdev.h"

#define BLK_QUEUE_SIZE  256
#define BLK_SECTOR      512U
#define BLK_RANGES_MAX  16
#define BLK_BOUNCES     16
#define BLK_BOUNCE_SIZE (256U << 10)

/* Ways to write zeros, in the order of preference; what the storage refuses falls to the next. */
enum blk_zero { BLK_ZERO_PUNCH, BLK_ZERO_RANGE, BLK_ZERO_WRITE };

struct blk_request {
    struct blk *blk;
    struct blk_request *next; /* on blk->free or blk->waiting */
    uint32_t epoch;
    struct chain chain;
    uint8_t *status_host;
    uint64_t status_gpa;

    uint32_t type;
    uint64_t offset;    /* in the image, of the next step */
    uint64_t left;      /* bytes of data or of the range still to do */
    uint32_t written;   /* bytes put into the guest's memory, but the status */
    struct cursor data; /* the guest's part of what is left */
    uint32_t retries;
    bool syncing; /* the last step of a write that must be stable */

    uint8_t *bounce; /* NULL: straight from or to the guest's memory */
    uint32_t bounce_pos, bounce_len;

    enum blk_zero zero;
    uint32_t nranges, range;
    struct virtio_blk_discard_write_zeroes ranges[BLK_RANGES_MAX];
};

struct blk {
    struct virtio_device v; /* first */
    struct image *image;
    char serial[VIRTIO_BLK_ID_BYTES];
    bool writethrough; /* the driver knows no flush: each write must be stable */

    /* The thread's own. */
    struct io_uring ring;
    bool ring_ready;
    enum blk_zero zero_best;                     /* what the storage has not refused so far */
    uint8_t *bounces;                            /* BLK_BOUNCES buffers, then one of zeros */
    uint32_t bounces_free;                       /* bit i: buffer i is free */
    struct blk_request *waiting, **waiting_tail; /* for a bounce buffer */

    pthread_t thread;
    bool thread_started;
    atomic_bool quit;

    /* Guarded by the device lock. */
    struct blk_request *requests, *free;
    uint32_t in_flight;        /* taken from the queue and not given back, of any epoch */
    bool completed;            /* something was published since the last interrupt */
    bool unflushed;            /* a write has completed since the last flush began */
    bool settling;             /* stopped, and not yet stable */
    struct blk_request settle; /* the flush of a disk that stops */
};

/* blk_io.c.  All on the disk's thread with the lock held. */

/* Takes a request that was just popped; a malformed one breaks the device. */
void blk_request_start(struct blk_request *r);
/* An operation of it has ended with res (bytes or -errno). */
void blk_request_step(struct blk_request *r, int res);

/* blk.c */
void blk_request_end(struct blk_request *r, uint8_t status);

#endif
