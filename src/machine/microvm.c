/*
 * microvm: no PCI; virtio-mmio devices in fixed slots, told to the guest by ACPI (LNRO0005).
 *
 *   RAM            0 - 3 GiB, and from 4 GiB
 *   slot n         0xfeb00000 + n * 512, with a GSI of its own: those lines of the IOAPIC that
 *                  nothing else on a PC uses, since devices drive the levels of theirs alone
 */
#include <errno.h>
#include <stdlib.h>

#include "device/reset.h"
#include "device/virtio/virtio.h"
#include "machine/acpi.h"
#include "machine/boards.h"
#include "machine/memory_map.h"
#include "machine/pc.h"

#define SLOTS     16
#define SLOT_BASE 0xfeb00000U
#define SLOT_SIZE 0x200U

static const uint8_t slot_gsi[SLOTS] = {5,  6,  7,  10, 11, 12, 14, 15,
                                        16, 17, 18, 19, 20, 21, 22, 23};

struct microvm {
    uint32_t plugged; /* bit per slot */
};

static uint32_t slot_base(uint32_t slot)
{
    return SLOT_BASE + slot * SLOT_SIZE;
}

static int microvm_build(struct board *b, struct err *e)
{
    struct reset *reset;

    b->priv = calloc(1, sizeof(struct microvm));
    if (!b->priv)
        return err_set(e, -ENOMEM, "machine", "no memory for the board");
    return pc_build(b, true, &reset, e);
}

static void microvm_reserve(const struct board *b, struct memory_map *map)
{
    (void)b;
    memory_map_reserve(map, SLOT_BASE, 4096 * ((SLOTS * SLOT_SIZE + 4095) / 4096));
}

static int microvm_plug(struct board *b, const struct device_config *c, struct virtio_device *v,
                        struct err *e)
{
    struct microvm *m = b->priv;
    uint32_t slot = (uint32_t)c->slot;
    struct device *d;
    int ret;

    if (slot >= SLOTS || m->plugged & 1U << slot) {
        virtio_device_free(v);
        return err_set(e, -EEXIST, "machine", "device '%s': virtio-mmio slot %d is %s", c->id,
                       c->slot, slot < SLOTS ? "taken" : "not there");
    }
    ret = virtio_mmio_new(v, b->mmio, slot_base(slot), slot_gsi[slot], &d, e);
    if (ret) {
        virtio_device_free(v);
        return ret;
    }
    m->plugged |= 1U << slot;
    return board_add_device(b, d, e);
}

static int microvm_firmware(struct board *b, uint64_t *rsdp, struct err *e)
{
    struct microvm *m = b->priv;
    struct aml dsdt;
    struct acpi_config c = {.table_id = "GODWMVM ", .vcpus = b->config->vcpus, .dsdt = &dsdt};
    int ret;

    aml_init(&dsdt);
    acpi_dsdt_pc(&dsdt);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (m->plugged & 1U << slot)
            acpi_dsdt_virtio_mmio(&dsdt, slot, slot_base(slot), SLOT_SIZE, slot_gsi[slot]);
    ret = acpi_write(b->mem, &c, rsdp, e);
    aml_fini(&dsdt);
    return ret;
}

static void microvm_free(struct board *b)
{
    free(b->priv);
}

const struct board_ops microvm_1_0 = {
    .name = "microvm-1.0",
    .alias = "microvm",
    .low_ram_max = 3ULL << 30,
    .transport = DEVICE_MMIO,
    .slots = SLOTS,
    .build = microvm_build,
    .reserve = microvm_reserve,
    .plug = microvm_plug,
    .firmware = microvm_firmware,
    .free = microvm_free,
};
