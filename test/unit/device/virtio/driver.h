/*
 * The guest's side of virtio, as plain as a driver can be: finds the registers through the
 * transport, negotiates, makes rings in RAM, adds buffers, rings doorbells, takes what was used. It
 * allocates descriptors in order and never gives them back before the queue's end, so tests keep
 * count.
 */
#ifndef TEST_VIRTIO_DRIVER_H
#define TEST_VIRTIO_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "rig.h"

#define DRIVER_QUEUES 3
#define DRIVER_RINGS  0x100000U /* guest-physical: rings of queue i at + i * 64 KiB */
#define DRIVER_DATA   0x400000U /* tests' buffers from here on */
#define DRIVER_SEGS   16

struct driver_seg {
    uint64_t gpa;
    uint32_t len;
    bool in; /* the device writes it */
};

struct driver_queue {
    uint16_t size;
    uint64_t desc, avail, used, tables; /* guest-physical */
    uint16_t next_desc, avail_idx, last_used;
};

struct driver {
    struct rig *rig;
    struct device *dev;
    enum rig_transport transport;
    uint64_t regs, notify, config; /* where they are */
    uint64_t features;
    bool indirect, event_idx; /* use them; as negotiated */
    bool slow_doorbell;       /* by an access to the bus instead of an ioeventfd */
    struct driver_queue q[DRIVER_QUEUES];
};

/* Finds the device, leaves it reset. */
void driver_attach(struct driver *g, struct rig *r, struct device *d, enum rig_transport t);
uint64_t driver_offered(struct driver *g);
/* Up to FEATURES_OK; whether the device took them. */
bool driver_negotiate(struct driver *g, uint64_t features);
void driver_queue(struct driver *g, uint32_t index, uint16_t size);
void driver_ok(struct driver *g);
/* All of the above with what is offered and queues of `size`. */
void driver_probe(struct driver *g, struct rig *r, struct device *d, enum rig_transport t,
                  uint32_t nqueues, uint16_t size);

uint8_t driver_status(struct driver *g);
void driver_set_status(struct driver *g, uint8_t status);
uint64_t driver_config(struct driver *g, uint32_t offset, uint32_t len);

/* Makes a buffer available; its head. */
uint16_t driver_add(struct driver *g, uint32_t queue, const struct driver_seg *segs, uint32_t n);
void driver_kick(struct driver *g, uint32_t queue);
/* Takes the next used entry; false when there is none. */
bool driver_used(struct driver *g, uint32_t queue, struct vring_used_elem *out);
/* Waits for it. */
struct vring_used_elem driver_wait(struct driver *g, uint32_t queue);
/* MMIO: acknowledges what is pending, so that the line goes down; its status before. */
uint32_t driver_ack(struct driver *g);
/* Interrupts of the queue so far (MMIO: of any, where the last one was acknowledged). */
uint32_t driver_interrupts(struct driver *g, uint32_t queue);

/* Structures in RAM, for tests that break them. */
struct vring_desc *driver_desc(struct driver *g, uint32_t queue, uint16_t i);
struct vring_avail *driver_avail(struct driver *g, uint32_t queue);
struct vring_used *driver_used_ring(struct driver *g, uint32_t queue);
void *driver_ram(struct driver *g, uint64_t gpa);

#endif
