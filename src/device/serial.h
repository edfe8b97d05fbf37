/*
 * A 16550A UART (PC16550D data sheet) at a port range, line 4.  Bytes out go to the backend set by
 * the monitor; bytes in are given by serial_receive and flow-controlled by serial_can_receive.
 */
#ifndef GODWIT_DEVICE_SERIAL_H
#define GODWIT_DEVICE_SERIAL_H

#include <stddef.h>

#include "device/bus.h"
#include "hv/hv.h"

struct serial;

struct serial_backend {
    void *opaque;
    /* Any vCPU thread, serial lock held: must not block; what cannot be taken is the backend's
     * loss. */
    void (*write)(void *opaque, const uint8_t *data, size_t len);
    /* Room appeared after serial_can_receive gave 0.  Any thread, serial lock held: post it to
     * where the bytes come from. May be NULL. */
    void (*can_receive)(void *opaque);
};

int serial_new(struct bus *pio, uint16_t base, struct hv_vm *vm, uint32_t gsi, const char *id,
               struct serial **out, struct err *e);
struct device *serial_device(struct serial *s);
void serial_set_backend(struct serial *s, const struct serial_backend *b);
size_t serial_can_receive(struct serial *s);
size_t serial_receive(struct serial *s, const uint8_t *data, size_t len); /* bytes taken */

#endif
