/*
 * Three virtio devices on one MMIO bus for fuzzers: a disk on a memory file, a network card whose
 * tap is a socket, an rng; RAM, a loop that is turned by hand, no KVM.  Built once a process, put
 * back to power-on state by machine_reset.
 */
#ifndef FUZZ_DEVICE_MACHINE_H
#define FUZZ_DEVICE_MACHINE_H

#include "device/virtio/virtio.h"

#define MACHINE_RAM     (2U << 20)
#define MACHINE_DEVICES 3
#define MACHINE_REGS    0xfeb00000ULL /* 512 bytes a device */

struct machine {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct bus *mmio;
    struct device *devices[MACHINE_DEVICES]; /* blk, net, rng */
    int world;                               /* the other end of the card's tap */
};

/* Aborts where it cannot be made. */
struct machine *machine_get(void);
/* Stops, drains and resets everything; RAM is zero. */
void machine_reset(struct machine *m);
void machine_start(struct machine *m);
/* Lets handlers run that are ready now, and the disk's thread a moment. */
void machine_turn(struct machine *m);

#endif
