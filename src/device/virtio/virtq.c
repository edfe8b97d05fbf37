#include "device/virtio/virtq.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define STAGE "virtqueue"

_Static_assert(sizeof(struct vring_desc) == 16, "virtio 1.2, 2.7.5");
_Static_assert(sizeof(struct vring_used_elem) == 8, "virtio 1.2, 2.7.8");
_Static_assert(offsetof(struct vring_avail, ring) == 4, "virtio 1.2, 2.7.6");
_Static_assert(offsetof(struct vring_used, ring) == 4, "virtio 1.2, 2.7.8");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

/* Both rings end in a 16-bit event field. */
#define AVAIL_BYTES(size) (4 + 2 * (uint64_t)(size) + 2)
#define USED_BYTES(size)  (4 + 8 * (uint64_t)(size) + 2)

void virtq_init(struct virtq *q, struct guest_mem *mem, uint16_t size_max)
{
    *q = (struct virtq){.mem = mem, .size_max = size_max};
    virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
    *q = (struct virtq){
        .mem = q->mem, .size_max = q->size_max, .size = q->size_max, .vector = VIRTQ_NO_VECTOR};
}

bool virtq_size_ok(const struct virtq *q, uint32_t size)
{
    return size && size <= q->size_max && !(size & (size - 1));
}

int virtq_enable(struct virtq *q, struct err *e)
{
    if (!virtq_size_ok(q, q->size))
        return err_set(e, -EINVAL, STAGE, "queue size %u is not a power of two up to %u", q->size,
                       q->size_max);
    if (q->desc % 16 || q->avail % 2 || q->used % 4)
        return err_set(e, -EINVAL, STAGE, "rings at %#llx, %#llx, %#llx are not aligned",
                       (unsigned long long)q->desc, (unsigned long long)q->avail,
                       (unsigned long long)q->used);
    q->avail_ring = guest_mem_ptr(q->mem, q->avail, AVAIL_BYTES(q->size));
    q->used_ring = guest_mem_ptr(q->mem, q->used, USED_BYTES(q->size));
    if (!q->avail_ring || !q->used_ring ||
        !guest_mem_ptr(q->mem, q->desc, sizeof(struct vring_desc) * q->size)) {
        q->avail_ring = NULL;
        q->used_ring = NULL;
        return err_set(e, -EINVAL, STAGE, "rings at %#llx, %#llx, %#llx are not in RAM",
                       (unsigned long long)q->desc, (unsigned long long)q->avail,
                       (unsigned long long)q->used);
    }
    q->enabled = true;
    return 0;
}

static bool usable(const struct virtq *q)
{
    return q->enabled && !q->broken;
}

static int broke(struct virtq *q, int ret)
{
    q->broken = true;
    return ret;
}

/* Taking chains */

static int add_segment(struct virtq *q, struct chain *c, const struct vring_desc *d, struct err *e)
{
    bool in = d->flags & VRING_DESC_F_WRITE;
    uint32_t n = c->nout + c->nin;
    void *p;

    if (!in && c->nin)
        return err_set(e, -EPROTO, STAGE, "chain %u: a readable buffer after a writable one",
                       c->head);
    if (d->len == 0)
        return 0;
    p = guest_mem_ptr(q->mem, d->addr, d->len);
    if (!p)
        return err_set(e, -EPROTO, STAGE, "chain %u: buffer at %#llx, %u bytes, is not in RAM",
                       c->head, (unsigned long long)d->addr, d->len);
    c->iov[n] = (struct iovec){.iov_base = p, .iov_len = d->len};
    c->gpa[n] = d->addr;
    *(in ? &c->nin : &c->nout) += 1;
    *(in ? &c->in_len : &c->out_len) += d->len;
    return 0;
}

/* Walks a table of n descriptors from entry i.  *indirect is filled and the walk ends when one
 * points to an indirect table; indirect NULL: there may be none. */
static int walk(struct virtq *q, uint64_t table, uint32_t n, uint16_t i, struct chain *c,
                struct vring_desc *indirect, struct err *e)
{
    struct vring_desc d;

    for (uint32_t seen = 0; seen < CHAIN_MAX && seen < n; seen++) {
        int ret;

        if (i >= n || guest_mem_read(q->mem, table + 16ULL * i, &d, sizeof(d)))
            return err_set(e, -EPROTO, STAGE, "chain %u: descriptor %u is outside its table of %u",
                           c->head, i, n);
        if (d.flags & VRING_DESC_F_INDIRECT) {
            if (!indirect || !q->indirect || (d.flags & VRING_DESC_F_NEXT))
                return err_set(e, -EPROTO, STAGE, "chain %u: misplaced indirect descriptor",
                               c->head);
            *indirect = d;
            return 0;
        }
        /* A chain before an indirect table uses up part of the cap. */
        if (c->nout + c->nin >= CHAIN_MAX)
            break;
        ret = add_segment(q, c, &d, e);
        if (ret || !(d.flags & VRING_DESC_F_NEXT))
            return ret;
        i = d.next;
    }
    return err_set(e, -EPROTO, STAGE, "chain %u: too long, or a loop", c->head);
}

static int take_chain(struct virtq *q, struct chain *c, struct err *e)
{
    struct vring_desc indirect = {.len = 0, .flags = 0};
    int ret = walk(q, q->desc, q->size, c->head, c, &indirect, e);

    if (ret || !(indirect.flags & VRING_DESC_F_INDIRECT))
        return ret;
    if (indirect.len == 0 || indirect.len % sizeof(struct vring_desc) ||
        !guest_mem_ptr(q->mem, indirect.addr, indirect.len))
        return err_set(e, -EPROTO, STAGE,
                       "chain %u: indirect table at %#llx, %u bytes, is no table", c->head,
                       (unsigned long long)indirect.addr, indirect.len);
    return walk(q, indirect.addr, indirect.len / sizeof(struct vring_desc), 0, c, NULL, e);
}

static uint16_t available(const struct virtq *q)
{
    uint16_t idx = __atomic_load_n(&q->avail_ring->idx, __ATOMIC_ACQUIRE);

    return (uint16_t)(idx - q->last_avail);
}

bool virtq_empty(const struct virtq *q)
{
    return !usable(q) || available(q) == 0;
}

int virtq_pop(struct virtq *q, struct chain *c, struct err *e)
{
    uint16_t n;
    int ret;

    if (q->broken)
        return err_set(e, -EPROTO, STAGE, "the queue is broken");
    if (!q->enabled)
        return 0;
    n = available(q);
    q->seen_avail = (uint16_t)(q->last_avail + n);
    if (n == 0)
        return 0;
    if (n > q->size)
        return broke(
            q, err_set(e, -EPROTO, STAGE, "%u buffers available in a queue of %u", n, q->size));
    c->head = __atomic_load_n(&q->avail_ring->ring[q->last_avail % q->size], __ATOMIC_RELAXED);
    c->nout = c->nin = 0;
    c->out_len = c->in_len = 0;
    ret = take_chain(q, c, e);
    if (ret)
        return broke(q, ret);
    q->last_avail++;
    return 1;
}

void virtq_unpop(struct virtq *q, uint16_t n)
{
    q->last_avail = (uint16_t)(q->last_avail - n);
}

/* Giving them back */

void virtq_put(struct virtq *q, uint16_t n, uint16_t head, uint32_t len)
{
    uint16_t slot = (uint16_t)(q->used_idx + n) % q->size;
    struct vring_used_elem *elem;

    if (!usable(q))
        return;
    elem = &q->used_ring->ring[slot];
    __atomic_store_n(&elem->id, head, __ATOMIC_RELAXED);
    __atomic_store_n(&elem->len, len, __ATOMIC_RELAXED);
    guest_mem_mark(q->mem, q->used + 4 + 8ULL * slot, sizeof(*elem));
}

void virtq_publish(struct virtq *q, uint16_t n)
{
    if (!usable(q))
        return;
    q->used_idx = (uint16_t)(q->used_idx + n);
    __atomic_store_n(&q->used_ring->idx, q->used_idx, __ATOMIC_RELEASE);
    guest_mem_mark(q->mem, q->used + 2, 2);
    /* The driver's mark may lie anywhere once the index has gone round past the last look. */
    if ((uint16_t)(q->used_idx - q->signalled) < n)
        q->signalled_valid = false;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
    virtq_put(q, 0, head, len);
    virtq_publish(q, 1);
}

bool virtq_should_interrupt(struct virtq *q)
{
    uint16_t old = q->signalled, now = q->used_idx, event;
    bool valid = q->signalled_valid;

    if (!usable(q))
        return false;
    /* The used index must be out before the driver's wish is read (virtio 1.2, 2.7.7.2). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!q->event_idx)
        return !(__atomic_load_n(&q->avail_ring->flags, __ATOMIC_RELAXED) &
                 VRING_AVAIL_F_NO_INTERRUPT);
    q->signalled = now;
    q->signalled_valid = true;
    event = __atomic_load_n(&q->avail_ring->ring[q->size], __ATOMIC_RELAXED);
    return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* Doorbells */

static void set_used_flags(struct virtq *q, uint16_t flags)
{
    __atomic_store_n(&q->used_ring->flags, flags, __ATOMIC_RELAXED);
    guest_mem_mark(q->mem, q->used, 2);
}

void virtq_suppress_kicks(struct virtq *q)
{
    /* With event idx the mark left behind does it: the driver passed it. */
    if (usable(q) && !q->event_idx)
        set_used_flags(q, VRING_USED_F_NO_NOTIFY);
}

bool virtq_want_kicks(struct virtq *q)
{
    if (!usable(q))
        return false;
    if (q->event_idx) {
        uint16_t *event = (uint16_t *)&q->used_ring->ring[q->size];

        __atomic_store_n(event, q->seen_avail, __ATOMIC_RELAXED);
        guest_mem_mark(q->mem, q->used + 4 + 8ULL * q->size, 2);
    } else {
        set_used_flags(q, 0);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uint16_t)(q->last_avail + available(q)) != q->seen_avail;
}

/* State */

void virtq_save(const struct virtq *q, struct virtio_queue_state *s)
{
    *s = (struct virtio_queue_state){.desc = q->desc,
                                     .avail = q->avail,
                                     .used = q->used,
                                     .size = q->size,
                                     .last_avail = q->last_avail,
                                     .used_idx = q->used_idx,
                                     .signalled = q->signalled,
                                     .vector = q->vector,
                                     .enabled = q->enabled,
                                     .signalled_valid = q->signalled_valid,
                                     .broken = q->broken};
}

int virtq_load(struct virtq *q, const struct virtio_queue_state *s, struct err *e)
{
    if (!virtq_size_ok(q, s->size))
        return err_set(e, -EPROTO, STAGE, "queue size %u is not a power of two up to %u", s->size,
                       q->size_max);
    if (s->enabled > 1 || s->signalled_valid > 1 || s->broken > 1)
        return err_set(e, -EPROTO, STAGE, "a flag of the queue is neither 0 nor 1");
    if ((uint16_t)(s->last_avail - s->used_idx) > s->size)
        return err_set(e, -EPROTO, STAGE,
                       "available index %u and used index %u differ by more "
                       "than the queue's size %u",
                       s->last_avail, s->used_idx, s->size);
    virtq_reset(q);
    q->desc = s->desc;
    q->avail = s->avail;
    q->used = s->used;
    q->size = s->size;
    q->last_avail = q->seen_avail = s->last_avail;
    q->used_idx = s->used_idx;
    q->signalled = s->signalled;
    q->signalled_valid = s->signalled_valid;
    q->vector = s->vector;
    q->broken = s->broken;
    return s->enabled ? virtq_enable(q, e) : 0;
}
