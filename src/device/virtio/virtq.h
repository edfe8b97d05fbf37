/*
 * A split virtqueue as the device sees it (virtio 1.2, sec. 2.7), with indirect descriptors and
 * event idx.
 *
 * Everything in the rings and descriptors is the guest's and may change at any moment: each value
 * is read once, then checked, then used.  A chain is capped in descriptors, its addresses go
 * through guest_mem, and loops end at the cap.  A queue that breaks the rules gives -EPROTO with a
 * text, once, and is dead (-EPROTO again, nothing touched) until virtq_reset.
 *
 * Not thread-safe: the device's lock guards it.  Only virtq_enable and later touch guest memory,
 * and never before the device is started.
 */
#ifndef GODWIT_DEVICE_VIRTIO_VIRTQ_H
#define GODWIT_DEVICE_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "device/virtio/chain.h"
#include "mem/guest_mem.h"
#include "state/virtio_state.h"

#define VIRTQ_SIZE_MAX  256 /* entries */
#define VIRTQ_NO_VECTOR 0xffff

struct vring_desc;
struct vring_avail;
struct vring_used;

struct virtq {
    struct guest_mem *mem;
    uint16_t size_max; /* what the device offers */

    /* Set by the driver. */
    uint16_t size;
    uint16_t vector; /* MSI-X; VIRTQ_NO_VECTOR */
    bool enabled;
    uint64_t desc, avail, used; /* guest-physical */

    /* Set by negotiation. */
    bool event_idx, indirect;

    bool broken;
    uint16_t last_avail; /* next entry of the available ring to take */
    uint16_t seen_avail; /* the driver's index when virtq_pop last looked */
    uint16_t used_idx;   /* next entry of the used ring to write */
    uint16_t signalled;  /* used_idx at the last look at whether to interrupt */
    bool signalled_valid;

    struct vring_avail *avail_ring; /* NULL until enabled */
    struct vring_used *used_ring;
};

void virtq_init(struct virtq *q, struct guest_mem *mem, uint16_t size_max);
void virtq_reset(struct virtq *q);
/* True when the driver may set this size. */
bool virtq_size_ok(const struct virtq *q, uint32_t size);
/* Takes size and addresses as they stand; -EINVAL with a text when they are not rings in RAM. */
int virtq_enable(struct virtq *q, struct err *e);

/* 1 with *c filled, 0 when the ring is empty, -EPROTO. */
int virtq_pop(struct virtq *q, struct chain *c, struct err *e);
/* Gives the last `n` popped chains back, as if they had never been popped. */
void virtq_unpop(struct virtq *q, uint16_t n);
bool virtq_empty(const struct virtq *q);

/* Puts a chain of which `len` bytes were written n entries after the published ones. */
void virtq_put(struct virtq *q, uint16_t n, uint16_t head, uint32_t len);
/* Lets the driver see the next n entries. */
void virtq_publish(struct virtq *q, uint16_t n);
/* Put and publish one. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t len);
/* True when the driver wants an interrupt for what was published since the last call. */
bool virtq_should_interrupt(struct virtq *q);

/* Asks the driver not to ring the doorbell (a hint). */
void virtq_suppress_kicks(struct virtq *q);
/* Asks for a doorbell when there is more than virtq_pop last saw; true when there is already, for
 * which none will come. */
bool virtq_want_kicks(struct virtq *q);

void virtq_save(const struct virtq *q, struct virtio_queue_state *s);
/* Checks everything but the rings' addresses, which wait for RAM: virtq_enable does that. */
int virtq_load(struct virtq *q, const struct virtio_queue_state *s, struct err *e);

#endif
