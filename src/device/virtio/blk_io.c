/* The requests of virtio-blk, step by step: see blk.h. */
#include "device/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#define RETRIES_MAX 16

static void next_step(struct blk_request *r);

/* Bounce buffers: for direct I/O from or to memory that the storage's alignment does not fit */

static uint8_t *zeros(const struct blk *b)
{
    return b->bounces + (size_t)BLK_BOUNCES * BLK_BOUNCE_SIZE;
}

static bool take_bounce(struct blk_request *r)
{
    struct blk *b = r->blk;
    int i = __builtin_ffs((int)b->bounces_free) - 1;

    if (i < 0) {
        r->next = NULL;
        *b->waiting_tail = r;
        b->waiting_tail = &r->next;
        return false;
    }
    b->bounces_free &= ~(1U << i);
    r->bounce = b->bounces + (size_t)i * BLK_BOUNCE_SIZE;
    r->bounce_pos = r->bounce_len = 0;
    return true;
}

static bool stale(const struct blk_request *r)
{
    return r->epoch != r->blk->v.epoch;
}

/* Whoever waited for a buffer goes on; what a reset has overtaken must not move data any more. */
static void serve_waiting(struct blk *b)
{
    while (b->waiting && b->bounces_free) {
        struct blk_request *w = b->waiting;

        b->waiting = w->next;
        if (!b->waiting)
            b->waiting_tail = &b->waiting;
        if (stale(w)) {
            blk_request_end(w, VIRTIO_BLK_S_IOERR);
        } else {
            take_bounce(w);
            next_step(w);
        }
    }
}

static void finish(struct blk_request *r, uint8_t status)
{
    struct blk *b = r->blk;

    if (r->bounce)
        b->bounces_free |= 1U << ((size_t)(r->bounce - b->bounces) / BLK_BOUNCE_SIZE);
    r->bounce = NULL;
    blk_request_end(r, status);
    serve_waiting(b);
}

static void fail(struct blk_request *r, int error)
{
    vdev_warn(&r->blk->v, "request type %u at byte %llu of '%s' failed: %s", r->type,
              (unsigned long long)r->offset, r->blk->image->path, strerror(error));
    finish(r, VIRTIO_BLK_S_IOERR);
}

/* Operations */

static struct io_uring_sqe *new_sqe(struct blk_request *r)
{
    /* Never NULL: the ring has room for an operation of every request. */
    return io_uring_get_sqe(&r->blk->ring);
}

static void queue_sync(struct blk_request *r)
{
    struct io_uring_sqe *sqe = new_sqe(r);

    r->blk->unflushed = false;
    io_uring_prep_fsync(sqe, r->blk->image->fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data(sqe, r);
}

static void queue_vector(struct blk_request *r)
{
    struct io_uring_sqe *sqe = new_sqe(r);

    if (r->type == VIRTIO_BLK_T_IN)
        io_uring_prep_readv(sqe, r->blk->image->fd, r->data.iov, r->data.n, r->offset);
    else
        io_uring_prep_writev(sqe, r->blk->image->fd, r->data.iov, r->data.n, r->offset);
    io_uring_sqe_set_data(sqe, r);
}

static void queue_bounce(struct blk_request *r)
{
    struct io_uring_sqe *sqe = new_sqe(r);
    int fd = r->blk->image->fd;

    if (r->bounce_pos == r->bounce_len) {
        r->bounce_pos = 0;
        r->bounce_len = r->left < BLK_BOUNCE_SIZE ? (uint32_t)r->left : BLK_BOUNCE_SIZE;
        if (r->type == VIRTIO_BLK_T_OUT)
            cursor_read(&r->data, r->bounce, r->bounce_len);
    }
    if (r->type == VIRTIO_BLK_T_IN)
        io_uring_prep_read(sqe, fd, r->bounce + r->bounce_pos, r->bounce_len - r->bounce_pos,
                           r->offset);
    else
        io_uring_prep_write(sqe, fd, r->bounce + r->bounce_pos, r->bounce_len - r->bounce_pos,
                            r->offset);
    io_uring_sqe_set_data(sqe, r);
}

static void queue_range(struct blk_request *r)
{
    struct io_uring_sqe *sqe = new_sqe(r);
    int fd = r->blk->image->fd;

    switch (r->zero) {
    case BLK_ZERO_PUNCH:
        io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)r->offset, (off_t)r->left);
        break;
    case BLK_ZERO_RANGE:
        io_uring_prep_fallocate(sqe, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                (off_t)r->offset, (off_t)r->left);
        break;
    case BLK_ZERO_WRITE:
        io_uring_prep_write(sqe, fd, zeros(r->blk),
                            r->left < BLK_BOUNCE_SIZE ? (unsigned)r->left : BLK_BOUNCE_SIZE,
                            r->offset);
        break;
    }
    io_uring_sqe_set_data(sqe, r);
}

static bool by_ranges(const struct blk_request *r)
{
    return r->type == VIRTIO_BLK_T_DISCARD || r->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* The way to make range r->range what was asked for: zeros that need not keep their space may be
 * a hole. */
static void begin_range(struct blk_request *r)
{
    const struct virtio_blk_discard_write_zeroes *range = &r->ranges[r->range];
    bool hole =
        r->type == VIRTIO_BLK_T_DISCARD || (range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);

    r->offset = range->sector * BLK_SECTOR;
    r->left = (uint64_t)range->num_sectors * BLK_SECTOR;
    r->zero = hole && r->blk->image->can_discard   ? BLK_ZERO_PUNCH
              : r->blk->zero_best > BLK_ZERO_RANGE ? r->blk->zero_best
                                                   : BLK_ZERO_RANGE;
}

static void next_step(struct blk_request *r)
{
    if (by_ranges(r))
        while (r->left == 0 && ++r->range < r->nranges)
            begin_range(r);
    if (r->type == VIRTIO_BLK_T_FLUSH || r->syncing) {
        queue_sync(r);
    } else if (r->left == 0) {
        if (r->blk->writethrough && r->type != VIRTIO_BLK_T_IN) {
            r->syncing = true;
            queue_sync(r);
        } else {
            finish(r, VIRTIO_BLK_S_OK);
        }
    } else if (by_ranges(r)) {
        queue_range(r);
    } else if (r->bounce) {
        queue_bounce(r);
    } else {
        queue_vector(r);
    }
}

/* Ends of operations */

/* Moves on by n bytes that were read or written. */
static void moved(struct blk_request *r, uint32_t n)
{
    struct guest_mem *mem = r->blk->v.mem;

    if (r->bounce) {
        if (r->type == VIRTIO_BLK_T_IN)
            cursor_write(&r->data, mem, r->bounce + r->bounce_pos, n);
        r->bounce_pos += n;
    } else {
        if (r->type == VIRTIO_BLK_T_IN)
            cursor_mark(&r->data, mem, n);
        cursor_skip(&r->data, n);
    }
    if (r->type == VIRTIO_BLK_T_IN)
        r->written += n;
    else
        r->blk->unflushed = true;
    r->offset += n;
    r->left -= n;
}

static void transfer_ended(struct blk_request *r, int res)
{
    const struct image *i = r->blk->image;

    /* Nothing: the image was cut shorter than it was.  Odd: direct I/O cannot go on from there. */
    if (res == 0 || (uint64_t)res > r->left || (i->direct && (uint32_t)res % i->block_size)) {
        fail(r, EIO);
        return;
    }
    moved(r, (uint32_t)res);
    next_step(r);
}

static void range_ended(struct blk_request *r, int res)
{
    uint64_t n = r->zero == BLK_ZERO_WRITE ? (uint64_t)res : r->left;

    if (res == -EOPNOTSUPP && r->type == VIRTIO_BLK_T_DISCARD) {
        r->left = 0; /* a discard is advice (virtio 1.2, 5.2.6.2) */
    } else if (res == -EOPNOTSUPP && r->zero < BLK_ZERO_WRITE) {
        r->zero++;
        if (r->zero > r->blk->zero_best && r->zero > BLK_ZERO_RANGE)
            r->blk->zero_best = r->zero;
    } else if (res < 0 || n > r->left || (n == 0 && r->left)) {
        fail(r, res < 0 ? -res : EIO);
        return;
    } else {
        r->blk->unflushed = true;
        r->offset += n;
        r->left -= n;
    }
    next_step(r);
}

void blk_request_step(struct blk_request *r, int res)
{
    if (stale(r)) {
        finish(r, VIRTIO_BLK_S_IOERR); /* says nothing to anybody */
        return;
    }
    if ((res == -EINTR || res == -EAGAIN) && r->retries++ < RETRIES_MAX) {
        next_step(r);
        return;
    }
    if (r->type == VIRTIO_BLK_T_FLUSH || r->syncing) {
        if (res < 0) {
            r->blk->unflushed = true;
            fail(r, -res);
        } else {
            finish(r, VIRTIO_BLK_S_OK);
        }
    } else if (by_ranges(r)) {
        range_ended(r, res);
    } else if (res < 0) {
        fail(r, -res);
    } else {
        transfer_ended(r, res);
    }
}

/* Beginnings */

static bool in_image(const struct blk_request *r, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = r->blk->image->size / BLK_SECTOR;

    return sector <= sectors && bytes / BLK_SECTOR <= sectors - sector;
}

static void start_transfer(struct blk_request *r, uint64_t sector, struct cursor data)
{
    const struct image *i = r->blk->image;

    r->data = data;
    r->left = cursor_left(&data);
    if (r->left % BLK_SECTOR || r->left > UINT32_MAX - 1 || !in_image(r, sector, r->left)) {
        fail(r, EINVAL);
        return;
    }
    r->offset = sector * BLK_SECTOR;
    if (i->direct && (r->offset % i->block_size || r->left % i->block_size)) {
        fail(r, EINVAL); /* smaller than the block size the driver was told */
        return;
    }
    if (i->direct && !cursor_aligned(&data, i->block_size) && !take_bounce(r))
        return;
    next_step(r);
}

/* 0, or the status that refuses them. */
static uint8_t check_ranges(const struct blk_request *r)
{
    const uint32_t known =
        r->type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    uint32_t align = r->blk->image->direct ? r->blk->image->block_size : BLK_SECTOR;

    for (uint32_t i = 0; i < r->nranges; i++) {
        const struct virtio_blk_discard_write_zeroes *range = &r->ranges[i];
        uint64_t bytes = (uint64_t)range->num_sectors * BLK_SECTOR;

        if (range->flags & ~known)
            return VIRTIO_BLK_S_UNSUPP;
        if (!in_image(r, range->sector, bytes) || bytes % align ||
            range->sector % (align / BLK_SECTOR))
            return VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
}

static void start_ranges(struct blk_request *r, struct cursor out)
{
    uint64_t len = cursor_left(&out);
    uint8_t status;

    if (!vdev_accepted(&r->blk->v, r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
                                                                   : VIRTIO_BLK_F_WRITE_ZEROES)) {
        finish(r, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    if (len == 0 || len % sizeof(r->ranges[0]) || len > sizeof(r->ranges)) {
        fail(r, EINVAL);
        return;
    }
    cursor_read(&out, r->ranges, len);
    r->nranges = (uint32_t)(len / sizeof(r->ranges[0]));
    r->range = 0;
    status = check_ranges(r);
    if (status != VIRTIO_BLK_S_OK) {
        finish(r, status);
        return;
    }
    begin_range(r);
    next_step(r);
}

static void tell_serial(struct blk_request *r)
{
    struct cursor in = chain_in(&r->chain);

    r->written = (uint32_t)cursor_write(&in, r->blk->v.mem, r->blk->serial, sizeof(r->blk->serial));
    finish(r, VIRTIO_BLK_S_OK);
}

static void dispatch(struct blk_request *r, uint64_t sector, struct cursor out)
{
    bool changes = r->type == VIRTIO_BLK_T_OUT || by_ranges(r);

    if (changes && r->blk->image->readonly) {
        fail(r, EROFS);
        return;
    }
    switch (r->type) {
    case VIRTIO_BLK_T_IN:
        start_transfer(r, sector, chain_in(&r->chain));
        break;
    case VIRTIO_BLK_T_OUT:
        start_transfer(r, sector, out);
        break;
    case VIRTIO_BLK_T_FLUSH:
        if (r->blk->image->readonly)
            finish(r, VIRTIO_BLK_S_OK);
        else
            next_step(r);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        start_ranges(r, out);
        break;
    case VIRTIO_BLK_T_GET_ID:
        tell_serial(r);
        break;
    default:
        finish(r, VIRTIO_BLK_S_UNSUPP);
        break;
    }
}

static void forget_last_use(struct blk_request *r)
{
    r->offset = r->left = 0;
    r->written = r->retries = 0;
    r->syncing = false;
    r->bounce = NULL;
    r->nranges = r->range = 0;
}

void blk_request_start(struct blk_request *r)
{
    struct cursor out = chain_out(&r->chain);
    struct virtio_blk_outhdr head;
    struct err why;

    forget_last_use(r);
    if (cursor_read(&out, &head, sizeof(head)) != sizeof(head) ||
        !chain_cut_last(&r->chain, &r->status_host, &r->status_gpa)) {
        err_set(&why, -EPROTO, "virtio-blk", "a request without header or without status");
        vdev_break(&r->blk->v, &why);
        r->epoch--; /* has nowhere to put a status */
        finish(r, VIRTIO_BLK_S_IOERR);
        return;
    }
    r->type = head.type;
    dispatch(r, head.sector, out);
}
