/*
 * A device: its operations, its state, and its place on the buses.
 *
 * Locking: each device has one lock, taken by the bus around read and write, by the device's own
 * callbacks (loop handlers, I/O threads) around its state, and by the board around reset, save and
 * load.  A device never calls out to another device with its lock held, interrupts excepted
 * (hv_irq_set_level and hv_msi_raise take no device lock).
 *
 * Life: x_new (or x_init) -> device_init -> attached to buses by the board -> [load] -> start ->
 * (stop -> save -> start)* -> free.  A machine that arrives is built, loaded, and only then
 * started; between stop and start a device raises no interrupt, touches no guest memory, and
 * accepts no work: doorbells rung meanwhile are looked at by start.
 */
#ifndef GODWIT_DEVICE_DEVICE_H
#define GODWIT_DEVICE_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "state/field.h"

struct device;

struct device_ops {
    const char *type;                /* "serial", "virtio-blk-pci", ... */
    const struct state_desc *state;  /* NULL: nothing to move */
    void (*reset)(struct device *d); /* to power-on state */
    /* Fills *state (a zeroed struct of state->size). Device is stopped. */
    void (*save)(struct device *d, void *state);
    /* Takes *state, hostile: checks every index and length before it is used. */
    int (*load)(struct device *d, const void *state, struct err *e);
    /* Begins (again) to serve: looks at every queue once and raises every interrupt once. NULL: ok
     */
    int (*start)(struct device *d, struct err *e);
    /* Stops taking new work. Called first on all devices; must not block. NULL: nothing */
    void (*stop)(struct device *d);
    /* True when nothing is in flight any more; polled after stop (every ms, within a bound). NULL:
     * yes */
    bool (*idle)(struct device *d);
    void (*free)(struct device *d);
};

#define DEVICE_ID_MAX 64

struct device {
    const struct device_ops *ops;
    char id[DEVICE_ID_MAX]; /* unique in the machine: "serial0", "rootfs", "pci.0:00.0" */
    uint32_t instance;      /* stable number among devices of the same state name */
    pthread_mutex_t lock;
};

void device_init(struct device *d, const struct device_ops *ops, const char *id);
void device_fini(struct device *d);

/* One state section per device, named "<state name>", with the device's instance in its head and
 * its id in the first field: every device's state struct begins with `uint8_t id[DEVICE_ID_MAX]`,
 * its table with FIELD_BLOB(struct x_state, id).  device_save fills the id in; device_load refuses
 * a section of another name or id (-EPROTO) before ops->load sees it.  Both take the lock. */
int device_save(struct device *d, struct buf *out, struct err *e);
int device_load(struct device *d, const struct state_section *s, struct reader *r, struct err *e);

#endif
