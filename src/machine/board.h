/*
 * Boards: a memory map, the devices every machine of the kind has, the tables that describe them,
 * and a slot for each device its owner asked for.  Two boards: q35 (PCIe, MSI-X) and microvm
 * (virtio-mmio); both in-kernel irqchip and PIT, ACPI, serial at 0x3f8, RTC at 0x70, reset at 0xcf9
 * and by the ACPI reset register.
 *
 * Memory maps:  q35: RAM 0-2 GiB and from 4 GiB; ECAM 0xb0000000 (256 MiB), PCI window 0xc0000000
 * (768 MiB), 64-bit PCI window of 16 GiB above the end of RAM.  microvm: RAM 0-3 GiB and from 4
 * GiB; 16 virtio-mmio slots from 0xfeb00000, 512 bytes each, with a GSI of its own each (see
 * microvm.c). Ports of both: serial 0x3f8 (GSI 4), RTC 0x70 (GSI 8), ACPI PM 0x600 (SCI: GSI 9),
 * reset 0xcf9 and 0x64.  RAM from 0xe0000 to 1 MiB holds the ACPI tables.
 *
 * Threads: everything is called on the main thread, but board_power_button on any.
 */
#ifndef GODWIT_MACHINE_BOARD_H
#define GODWIT_MACHINE_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "device/bus.h"
#include "device/device.h"
#include "device/serial.h"
#include "hv/hv.h"
#include "machine/config.h"
#include "mem/guest_mem.h"

#define BOARD_DEVICES_MAX 96

/* Called by devices on any thread; the monitor posts them to its loop. */
struct board_host {
    void *opaque;
    void (*reset_request)(void *opaque);    /* guest wrote the reset register */
    void (*poweroff_request)(void *opaque); /* guest entered S5 */
};

struct board_config {
    const struct machine_config *machine;
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop; /* the main loop: serial, RTC timers, net */
    struct board_host host;
};

struct acpi_pm;
struct virtio_device;
struct memory_map; /* machine/memory_map.h */

struct board {
    const struct board_ops *ops;
    const struct machine_config *config;
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct board_host host;
    struct bus *pio, *mmio;
    struct serial *serial;
    struct acpi_pm *pm;
    const struct board_backends *back; /* lent; kernel and initrd are looked up at every boot */
    uint32_t ndevices;
    struct device *devices[BOARD_DEVICES_MAX]; /* in build order, owned */
    void *priv;
};

struct board_ops {
    const char *name;  /* "q35-1.0" */
    const char *alias; /* "q35": the newest; NULL */
    uint64_t low_ram_max;
    enum device_transport transport; /* which virtio forms it takes */
    /* Builds buses and fixed devices. */
    int (*build)(struct board *b, struct err *e);
    uint32_t slots; /* for virtio devices */
    /* Builds the board's own part of the memory map: what is neither RAM nor free. */
    void (*reserve)(const struct board *b, struct memory_map *map);
    /* Gives the virtio device v its transport and puts that into slot c->slot.  Takes v over, also
     * when it fails. */
    int (*plug)(struct board *b, const struct device_config *c, struct virtio_device *v,
                struct err *e);
    /* Does what firmware would do before a kernel starts: addresses of devices, ACPI tables in
     * guest memory for what is plugged; *rsdp is for the boot protocol. */
    int (*firmware)(struct board *b, uint64_t *rsdp, struct err *e);
    void (*free)(struct board *b); /* of priv, after the devices and before the buses */
};

/* The board of this name or alias; NULL. board_names: "q35-1.0 (q35), microvm-1.0 (microvm)". */
const struct board_ops *board_find(const char *name);
const char *board_names(void);

/* Makes the board, its fixed devices and every device of the config.  Back-ends (images, taps,
 * kernel, initrd) are lent by the monitor until board_free: see machine/backend.h. */
struct board_backends;
int board_new(const struct board_config *c, const struct board_backends *back, struct board **out,
              struct err *e);
void board_free(struct board *b); /* NULL is fine */
/* For the board's own code: the board owns d from now on; -ENOSPC frees it. */
int board_add_device(struct board *b, struct device *d, struct err *e);
/* The device whose state a section of this name and instance is; NULL. */
struct device *board_find_device(struct board *b, const char *state_name, uint32_t instance);

/* The ACPI power button (system_powerdown). */
void board_power_button(struct board *b);
/* All devices to power-on state (chips and vCPUs are the monitor's to reset). */
void board_reset(struct board *b);

/* Loads kernel, initrd, command line and tables into RAM and gives the BSP's first registers;
 * called at start and after each reset (the guest may have overwritten everything). */
struct boot_entry {
    struct x86_regs regs;
    struct x86_sregs sregs;
};
int board_boot(struct board *b, struct boot_entry *entry, struct err *e);

#endif
