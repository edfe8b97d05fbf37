/*
 * What a virtio device type and a transport see of one another.
 *
 * A type (struct virtio_type) embeds struct virtio_device first and knows features, configuration
 * space and queues.  A transport (struct virtio_transport) turns register accesses into the vdev_
 * calls below and gives interrupts.  Both run with the bus device's lock held, which the transport
 * makes known by vdev_attach; vdev_ functions say where they differ.
 *
 * Life: type_new -> vdev_init -> vdev_attach -> [vdev_load] -> vdev_start -> vdev_stop -> ... ->
 * vdev_free.  Between stop and start nothing here touches guest memory or raises an interrupt.
 *
 * A queue or request that breaks the rules puts the device into DEVICE_NEEDS_RESET (sec. 2.1.2)
 * with one line in the log; it then serves nothing until the driver resets it.
 */
#ifndef GODWIT_DEVICE_VIRTIO_VDEV_H
#define GODWIT_DEVICE_VIRTIO_VDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "device/virtio/virtio.h"
#include "device/virtio/virtq.h"
#include "state/virtio_state.h"

#define VDEV_CONFIG_CHANGE (-1) /* in the place of a queue's index */

struct virtio_type {
    const char *name;   /* "virtio-blk" */
    uint32_t id;        /* virtio 1.2, ch. 5 */
    uint32_t pci_class; /* 24 bits: base, sub, interface */
    uint32_t nqueues;
    uint16_t queue_size[VIRTIO_QUEUES_MAX];
    /* The transport is there, the lock is known: threads and watches may come. May be NULL. */
    int (*attached)(struct virtio_device *v, struct err *e);
    /* Features are negotiated, by the driver or by load. May be NULL. */
    void (*negotiated)(struct virtio_device *v);
    /* Forgets what was popped: completions still under way must not touch the queues. May be NULL.
     */
    void (*reset)(struct virtio_device *v);
    /* Looks at the configuration space that came, and takes from it what lives there. */
    int (*load_config)(struct virtio_device *v, const uint8_t *config, uint32_t len, struct err *e);
    /* Called without the lock, after v->running has changed. May be NULL. */
    void (*stopped)(struct virtio_device *v);
    bool (*idle)(struct virtio_device *v); /* NULL: always */
    /* Frees the type's struct, after vdev_fini. */
    void (*free)(struct virtio_device *v);
};

struct virtio_transport {
    /* queue, or VDEV_CONFIG_CHANGE; to be remembered while !v->running. */
    void (*interrupt)(struct virtio_device *v, int queue);
};

struct virtio_device {
    const struct virtio_type *type;
    char id[DEVICE_ID_MAX];
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;

    /* Set by vdev_attach. */
    const struct virtio_transport *transport;
    struct device *dev; /* whose lock guards all of this */

    bool running;
    uint64_t offered, accepted; /* feature bits */
    uint8_t status;
    uint8_t status_before_reset; /* shown while the type drains, see vdev_resetting */
    uint8_t generation;          /* of the configuration space */
    uint32_t epoch;              /* resets so far: tells old requests from new ones */
    struct virtq queues[VIRTIO_QUEUES_MAX];
    int doorbells[VIRTIO_QUEUES_MAX]; /* eventfds, non-blocking */
    uint8_t config[VIRTIO_CONFIG_MAX];
    uint32_t config_len;
    uint64_t last_log_ns, unlogged;
    pthread_cond_t drained; /* with the device lock: the type may have become idle */
};

/* For types. offered: VERSION_1, RING_EVENT_IDX and RING_INDIRECT_DESC are added. */
int vdev_init(struct virtio_device *v, const struct virtio_type *type, const struct virtio_env *env,
              const char *id, uint64_t offered, struct err *e);
void vdev_fini(struct virtio_device *v);
void vdev_lock(struct virtio_device *v);
void vdev_unlock(struct virtio_device *v);
bool vdev_accepted(const struct virtio_device *v, unsigned bit);
/* Running, DRIVER_OK, not failed, and the queue enabled and whole. */
bool vdev_queue_ready(const struct virtio_device *v, uint32_t queue);
/* True with *c filled; false when there is nothing to do (or the device just broke). */
bool vdev_pop(struct virtio_device *v, uint32_t queue, struct chain *c);
/* Interrupts the driver when it wants to know of what was published. */
void vdev_signal(struct virtio_device *v, uint32_t queue);
void vdev_config_changed(struct virtio_device *v);
void vdev_break(struct virtio_device *v, const struct err *why);
/* For what a guest can cause as often as it likes: a line a second at most. */
void vdev_warn(struct virtio_device *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Empties a doorbell (before its queue is looked at). */
void vdev_doorbell_clear(struct virtio_device *v, uint32_t queue);
/* Rings one: any thread, no lock needed. */
void vdev_kick(struct virtio_device *v, uint32_t queue);

/* For transports. */
int vdev_attach(struct virtio_device *v, const struct virtio_transport *t, struct device *dev,
                struct err *e);
void vdev_set_status(struct virtio_device *v, uint8_t status);
/* True while requests of before the last reset are under way. */
bool vdev_resetting(struct virtio_device *v);
void vdev_reset(struct virtio_device *v);
/* vdev_reset for the board, which writes RAM anew afterwards: first waits, within a bound, for what
 * still reaches into it.  Gives the lock up meanwhile. */
void vdev_power_on(struct virtio_device *v);
/* Half h (0, 1; others read zero) of the 64 feature bits. */
uint32_t vdev_offered(const struct virtio_device *v, uint32_t half);
uint32_t vdev_accepted_half(const struct virtio_device *v, uint32_t half);
void vdev_accept(struct virtio_device *v, uint32_t half, uint32_t bits);
/* NULL for a queue that does not exist. */
struct virtq *vdev_queue(struct virtio_device *v, uint32_t index);
void vdev_enable_queue(struct virtio_device *v, uint32_t index);
/* Sets the low or high 32 bits of a ring address, unless the queue is enabled. */
void vdev_set_address(struct virtio_device *v, uint32_t index, uint64_t *address, bool high,
                      uint32_t value);
uint64_t vdev_config_read(const struct virtio_device *v, uint64_t offset, uint32_t size);
void vdev_save(const struct virtio_device *v, struct virtio_state *s);
int vdev_load(struct virtio_device *v, const struct virtio_state *s, struct err *e);
/* Both without the lock. */
void vdev_start(struct virtio_device *v);
void vdev_stop(struct virtio_device *v);
bool vdev_idle(struct virtio_device *v);

/* The virtio device behind a bus device; NULL when it is none of this transport's. */
struct virtio_device *virtio_pci_vdev(struct device *d);
struct virtio_device *virtio_mmio_vdev(struct device *d);

#endif
