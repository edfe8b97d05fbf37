/*
 * A guest that does anything: a program of {u8 operation, operands} on three virtio devices.
 *   0 dev reg value32   writes a register, 32 bits, at reg * 4
 *   1 dev reg           reads one
 *   2 at16 len8 bytes   puts bytes into RAM at at16 * 16
 *   3 dev queue         rings a doorbell
 *   4                   lets the devices serve
 *   5 len8              a frame comes for the network card
 *   6 dev               a whole probe: features as offered, queues of 8 in a place of their own
 * Others are nothing.  Operands past the end are zero.
 */
#include "fuzz.h"

#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/socket.h>

#include "device/bus.h"
#include "machine.h"
#include "wire/reader.h"

#define OPERATIONS_MAX 400

static void set(struct machine *m, uint32_t dev, uint32_t reg, uint32_t value)
{
    bus_write(m->mmio, MACHINE_REGS + 512 * (uint64_t)(dev % MACHINE_DEVICES) + reg, &value, 4);
}

static uint32_t get(struct machine *m, uint32_t dev, uint32_t reg)
{
    uint32_t value;

    bus_read(m->mmio, MACHINE_REGS + 512 * (uint64_t)(dev % MACHINE_DEVICES) + reg, &value, 4);
    return value;
}

/* Rings of queue q of device d: 16 KiB from (d * 3 + q + 1) * 16 KiB on. */
static void probe(struct machine *m, uint32_t dev)
{
    set(m, dev, VIRTIO_MMIO_STATUS, 0);
    set(m, dev, VIRTIO_MMIO_STATUS, 3);
    for (uint32_t half = 0; half < 2; half++) {
        set(m, dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        set(m, dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        set(m, dev, VIRTIO_MMIO_DRIVER_FEATURES, get(m, dev, VIRTIO_MMIO_DEVICE_FEATURES));
    }
    set(m, dev, VIRTIO_MMIO_STATUS, 11);
    for (uint32_t q = 0; q < 3; q++) {
        uint32_t at = (dev % MACHINE_DEVICES * 3 + q + 1) * 0x4000;

        set(m, dev, VIRTIO_MMIO_QUEUE_SEL, q);
        set(m, dev, VIRTIO_MMIO_QUEUE_NUM, 8);
        set(m, dev, VIRTIO_MMIO_QUEUE_DESC_LOW, at);
        set(m, dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + 0x1000);
        set(m, dev, VIRTIO_MMIO_QUEUE_USED_LOW, at + 0x2000);
        set(m, dev, VIRTIO_MMIO_QUEUE_READY, 1);
    }
    set(m, dev, VIRTIO_MMIO_STATUS, 15);
}

static void put_ram(struct machine *m, struct reader *r)
{
    uint64_t at = 16ULL * reader_u16(r);
    uint32_t len = reader_u8(r);
    uint8_t bytes[256];

    reader_bytes(r, bytes, len);
    guest_mem_write(m->mem, at, bytes, len);
}

static void frame_comes(struct machine *m, uint32_t len)
{
    uint8_t frame[12 + 255] = {0};

    (void)!send(m->world, frame, 12 + len, 0);
}

static void operate(struct machine *m, struct reader *r)
{
    uint8_t op = reader_u8(r), dev;

    switch (op) {
    case 0:
        dev = reader_u8(r);
        set(m, dev, 4U * (reader_u8(r) % 128), reader_u32(r));
        break;
    case 1:
        dev = reader_u8(r);
        get(m, dev, 4U * (reader_u8(r) % 128));
        break;
    case 2:
        put_ram(m, r);
        break;
    case 3:
        dev = reader_u8(r);
        set(m, dev, VIRTIO_MMIO_QUEUE_NOTIFY, reader_u8(r));
        break;
    case 4:
        machine_turn(m);
        break;
    case 5:
        frame_comes(m, reader_u8(r));
        break;
    case 6:
        probe(m, reader_u8(r));
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine *m = machine_get();
    struct reader r;

    machine_start(m);
    reader_init(&r, data, size);
    for (int i = 0; i < OPERATIONS_MAX && reader_left(&r); i++)
        operate(m, &r);
    machine_turn(m);
    machine_reset(m);
    return 0;
}
