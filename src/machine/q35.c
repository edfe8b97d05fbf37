/*
 * q35: a PC with a PCI Express root.
 *
 *   RAM                  0          - 2 GiB, and from 4 GiB
 *   ECAM                 0xb0000000 - 0xbfffffff
 *   PCI window           0xc0000000 - 0xefffffff
 *   64-bit PCI window    16 GiB, at the next multiple of 16 GiB after the end of RAM
 */
#include <errno.h>
#include <stdlib.h>

#include "device/pci/pci.h"
#include "device/reset.h"
#include "device/virtio/virtio.h"
#include "machine/acpi.h"
#include "machine/boards.h"
#include "machine/memory_map.h"
#include "machine/pc.h"

#define ECAM_BASE   0xb0000000ULL
#define ECAM_SIZE   (256ULL << 20)
#define WINDOW_BASE 0xc0000000ULL
#define WINDOW_SIZE (768ULL << 20)
#define WINDOW64    (16ULL << 30) /* size and alignment */

struct q35 {
    struct pci_host *host;
    struct acpi_pci layout;
};

static uint64_t ram_end(const struct guest_mem *mem)
{
    const struct guest_range *last = &mem->ranges[mem->nranges - 1];

    return last->gpa + last->size;
}

static int q35_build(struct board *b, struct err *e)
{
    struct q35 *q = calloc(1, sizeof(*q));
    struct pci_host_config c = {.pio = b->pio,
                                .mmio = b->mmio,
                                .vm = b->vm,
                                .reset_read = reset_port_read,
                                .reset_write = reset_port_write};
    struct reset *reset = NULL;
    int ret;

    if (!q)
        return err_set(e, -ENOMEM, "machine", "no memory for the board");
    b->priv = q;
    ret = pc_build(b, false, &reset, e);
    if (ret)
        return ret;
    c.reset_opaque = reset;
    c.ecam_base = q->layout.ecam_base = ECAM_BASE;
    c.window_base = q->layout.window_base = WINDOW_BASE;
    c.window_size = q->layout.window_size = WINDOW_SIZE;
    c.window64_base = q->layout.window64_base = (ram_end(b->mem) + WINDOW64 - 1) & ~(WINDOW64 - 1);
    c.window64_size = q->layout.window64_size = WINDOW64;
    ret = pci_host_new(&c, &q->host, e);
    return ret ? ret : board_add_device(b, pci_host_device(q->host), e);
}

static void q35_reserve(const struct board *b, struct memory_map *map)
{
    (void)b;
    memory_map_reserve(map, ECAM_BASE, ECAM_SIZE);
}

static int q35_plug(struct board *b, const struct device_config *c, struct virtio_device *v,
                    struct err *e)
{
    struct q35 *q = b->priv;
    struct pci_dev *d;
    int ret = virtio_pci_new(v, &d, e);

    if (ret) {
        virtio_device_free(v);
        return ret;
    }
    ret = pci_dev_attach(d, q->host, c->slot, e);
    if (ret) {
        d->dev.ops->free(&d->dev);
        return ret;
    }
    return board_add_device(b, &d->dev, e);
}

static int q35_firmware(struct board *b, uint64_t *rsdp, struct err *e)
{
    struct q35 *q = b->priv;
    struct aml dsdt;
    struct acpi_config c = {
        .table_id = "GODWQ35 ", .vcpus = b->config->vcpus, .ecam_base = ECAM_BASE, .dsdt = &dsdt};
    int ret = pci_host_assign_bars(q->host, e);

    if (ret)
        return ret;
    aml_init(&dsdt);
    acpi_dsdt_pc(&dsdt);
    acpi_dsdt_pci(&dsdt, &q->layout);
    ret = acpi_write(b->mem, &c, rsdp, e);
    aml_fini(&dsdt);
    return ret;
}

static void q35_free(struct board *b)
{
    free(b->priv); /* the host bridge is one of the board's devices */
}

const struct board_ops q35_1_0 = {
    .name = "q35-1.0",
    .alias = "q35",
    .low_ram_max = 2ULL << 30,
    .transport = DEVICE_PCI,
    .slots = PCI_SLOTS - 1, /* one is the host bridge's */
    .build = q35_build,
    .reserve = q35_reserve,
    .plug = q35_plug,
    .firmware = q35_firmware,
    .free = q35_free,
};
