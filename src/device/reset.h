/*
 * The two ways a PC guest resets itself besides a triple fault: the reset control register at port
 * 0xcf9 (Intel ICH9 data sheet, sec. 13.7.5; also the ACPI reset register), and command 0xfe of a
 * keyboard controller at port 0x64, of which nothing else is there: its status reads "idle".
 *
 * Port 0xcf9 lies inside the PCI configuration address register, so a board with PCI gives its
 * handlers to the PCI host; they take no lock.
 */
#ifndef GODWIT_DEVICE_RESET_H
#define GODWIT_DEVICE_RESET_H

#include "device/bus.h"

#define RESET_PORT  0xcf9
#define RESET_VALUE 0x06 /* what a guest writes: hard reset, now */

struct reset;

struct reset_config {
    struct bus *pio;
    bool own_port; /* put port 0xcf9 on the bus, too */
    /* Any vCPU thread, a lock held: must not block or come back. */
    void *opaque;
    void (*reset)(void *opaque);
};

int reset_new(const struct reset_config *c, const char *id, struct reset **out, struct err *e);
struct device *reset_device(struct reset *r);
/* The handlers of port 0xcf9, for bus_range and pci_host_config. */
uint64_t reset_port_read(void *reset, uint64_t offset, uint32_t size);
void reset_port_write(void *reset, uint64_t offset, uint32_t size, uint64_t value);

#endif
