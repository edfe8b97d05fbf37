/*
 * A machine for one virtio device: RAM, a fake hypervisor, a main loop that a test runs by hand, a
 * PCIe root and an MMIO bus.  Nothing runs beside the test but a disk's own thread.  What fails
 * here fails the test.
 */
#ifndef TEST_VIRTIO_RIG_H
#define TEST_VIRTIO_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/pci/pci.h"
#include "device/virtio/virtio.h"
#include "hv/fake.h"

#define RIG_RAM        (32U << 20)
#define RIG_ECAM       0xb0000000ULL
#define RIG_MMIO       0xfeb00000ULL
#define RIG_GSI        5
#define RIG_TIMEOUT_MS 10000

enum rig_transport { RIG_PCI, RIG_MMIO_BUS };

struct rig {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct bus *pio, *mmio;
    struct pci_host *host;
    struct virtio_env env;
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);
/* Puts v on a bus; PCI: slot 1, BARs assigned, decoding off. */
struct device *rig_plug(struct rig *r, struct virtio_device *v, enum rig_transport t);
void rig_unplug(struct device *d);

/* Runs the loop until done(opaque), or RIG_TIMEOUT_MS have passed: false. */
bool rig_run_until(struct rig *r, bool (*done)(void *opaque), void *opaque);
/* Runs the loop for so long. */
void rig_run_ms(struct rig *r, uint32_t ms);

void rig_start(struct device *d);
/* Stops it and waits until it is idle. */
void rig_stop(struct rig *r, struct device *d);
/* The state of a stopped device as the bytes of a stream, and back. */
void rig_save(struct device *d, struct buf *out); /* initialises out */
int rig_load(struct device *d, const struct buf *in, struct err *e);

uint64_t rig_read(struct rig *r, uint64_t addr, uint32_t len);
void rig_write(struct rig *r, uint64_t addr, uint32_t len, uint64_t value);
/* Whether the monitor marked the page of gpa dirty since the last call. */
bool rig_dirty(struct rig *r, uint64_t gpa);
/* An unlinked file of `size` bytes filled with a pattern of its offsets; path is "/proc/self/fd/N".
 */
int rig_image_file(uint64_t size, char path[64]);

#endif
