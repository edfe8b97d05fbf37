/*
 * virtio 1.x (OASIS virtio 1.2): one queue implementation, device types that know nothing of their
 * transport, and two transports (PCI: sec. 4.1, MMIO: sec. 4.2) that know nothing of device types.
 *
 * A virtio_device is a type (blk, net, rng) with its queues; virtio_pci_new or virtio_mmio_new makes
 * it a device on a bus and owns it from then on.  The device lock of that bus device guards all of
 * it; doorbells come by ioeventfd, to the device's own thread (blk: "disk-ID") or the main loop.
 */
#ifndef GODWIT_DEVICE_VIRTIO_VIRTIO_H
#define GODWIT_DEVICE_VIRTIO_VIRTIO_H

#include <stdint.h>

#include "base/loop.h"
#include "block/image.h"
#include "device/device.h"
#include "device/pci/pci.h"
#include "hv/hv.h"
#include "mem/guest_mem.h"

struct virtio_device;
struct tap;

struct virtio_env {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
};

/* serial: "" or up to 20 bytes. The image is lent, open; it is used only between start and stop. */
int virtio_blk_new(const struct virtio_env *env, const char *id, struct image *image,
                   const char *serial, struct virtio_device **out, struct err *e);
/* queue pairs: 1. */
int virtio_net_new(const struct virtio_env *env, const char *id, struct tap *tap,
                   const uint8_t mac[6], struct virtio_device **out, struct err *e);
int virtio_rng_new(const struct virtio_env *env, const char *id, struct virtio_device **out,
                   struct err *e);
void virtio_device_free(struct virtio_device *v); /* only when no transport owns it */

/* When a card announces itself: at once, then after initial_ms, and each time step_ms later than
 * that, at most max_ms; `rounds` times in all. */
struct virtio_announce {
    uint32_t initial_ms, max_ms, rounds, step_ms;
};

#define VIRTIO_ANNOUNCE_DEFAULT                                                                    \
    {                                                                                              \
        .initial_ms = 50, .max_ms = 550, .rounds = 5, .step_ms = 100                               \
    }

/* After a move: asks a guest with VIRTIO_NET_F_GUEST_ANNOUNCE to announce itself, and sends RARP
 * requests in its name through the tap (timer on the loop).  A device of another type is left alone.
 * A second call begins anew. */
void virtio_net_announce(struct device *d, const struct virtio_announce *when);

int virtio_pci_new(struct virtio_device *v, struct pci_dev **out, struct err *e);
int virtio_mmio_new(struct virtio_device *v, struct bus *mmio, uint64_t base, uint32_t gsi,
                    struct device **out, struct err *e);

#endif
