/*
 * A bus: address ranges and who answers there; one for port I/O, one for MMIO.  Ranges do not
 * overlap; an access must lie inside one range, else reads give all ones and writes vanish, as on
 * hardware.  Lookups run concurrently on all vCPUs (rwlock); ranges come and go when the guest
 * moves a BAR.  The handler runs with its device's lock held.
 */
#ifndef GODWIT_DEVICE_BUS_H
#define GODWIT_DEVICE_BUS_H

#include <stdint.h>

#include "device/device.h"

struct bus;

struct bus_range {
    uint64_t base, size;
    struct device *dev; /* its lock is held around the handlers */
    void *opaque;
    /* offset is from base; size 1, 2, 4 or 8; values little-endian, zero-extended. */
    uint64_t (*read)(void *opaque, uint64_t offset, uint32_t size);
    void (*write)(void *opaque, uint64_t offset, uint32_t size, uint64_t value);
};

struct bus *bus_new(const char *name);
void bus_free(struct bus *b);
/* -EEXIST when it overlaps, naming both. The struct is copied. */
int bus_add(struct bus *b, const struct bus_range *r, struct err *e);
/* Removes the range that begins at base; returns after no handler of it runs any more. */
void bus_remove(struct bus *b, uint64_t base);
/* len 1..8; data is the access's bytes as the vCPU moved them. */
void bus_read(struct bus *b, uint64_t addr, void *data, uint32_t len);
void bus_write(struct bus *b, uint64_t addr, const void *data, uint32_t len);

#endif
