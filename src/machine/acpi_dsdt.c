#include "machine/acpi.h"

#include <stdio.h>

#include "device/pci/pci.h"
#include "machine/pc.h"

#define PCI_PINS 4
#define PCI_GSI  16 /* the IOAPIC's pins above the ISA lines */

static void hid(struct aml *a, const char *id, uint64_t uid)
{
    aml_name(a, "_HID");
    aml_eisa_id(a, id);
    aml_name(a, "_UID");
    aml_int(a, uid);
}

static void isa_device(struct aml *a, const char *name, const char *id, uint16_t port, uint8_t len,
                       uint8_t irq)
{
    size_t dev = aml_device(a, name), crs;

    hid(a, id, 0);
    crs = aml_resources(a);
    aml_io(a, port, len);
    aml_irq(a, irq);
    aml_resources_end(a, crs);
    aml_end(a, dev);
}

void acpi_dsdt_pc(struct aml *a)
{
    size_t package, sb;

    aml_name(a, "\\_S5");
    package = aml_package(a, 4); /* SLP_TYP for PM1a and PM1b, two reserved */
    for (int i = 0; i < 4; i++)
        aml_int(a, 0);
    aml_end(a, package);

    sb = aml_scope(a, "\\_SB");
    isa_device(a, "COM1", "PNP0501", PC_SERIAL_PORT, 8, PC_SERIAL_GSI);
    isa_device(a, "RTC", "PNP0B00", PC_RTC_PORT, 2, PC_RTC_GSI);
    aml_end(a, sb);
}

/* Legacy interrupt pins, swizzled over four lines.  No device of ours has a pin; a guest that looks
 * for the table finds it whole. */
static void routing(struct aml *a)
{
    size_t table, entry;

    aml_name(a, "_PRT");
    table = aml_package(a, PCI_SLOTS * PCI_PINS);
    for (uint32_t slot = 0; slot < PCI_SLOTS; slot++)
        for (uint32_t pin = 0; pin < PCI_PINS; pin++) {
            entry = aml_package(a, 4);
            aml_int(a, (uint64_t)slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_int(a, 0); /* no link device: the GSI follows */
            aml_int(a, PCI_GSI + (slot + pin) % PCI_PINS);
            aml_end(a, entry);
        }
    aml_end(a, table);
}

/* A memory range that belongs to the board: Linux uses ECAM only when something has reserved it. */
static void reserve_ecam(struct aml *a, uint64_t base)
{
    size_t dev = aml_device(a, "ECAM"), crs;

    hid(a, "PNP0C02", 0);
    crs = aml_resources(a);
    aml_memory32(a, (uint32_t)base, 256U << 20);
    aml_resources_end(a, crs);
    aml_end(a, dev);
}

void acpi_dsdt_pci(struct aml *a, const struct acpi_pci *pci)
{
    size_t sb = aml_scope(a, "\\_SB"), dev, crs, osc;

    dev = aml_device(a, "PCI0");
    hid(a, "PNP0A08", 0);
    aml_name(a, "_CID");
    aml_eisa_id(a, "PNP0A03");
    aml_name(a, "_SEG");
    aml_int(a, 0);
    aml_name(a, "_BBN");
    aml_int(a, 0);
    crs = aml_resources(a);
    aml_window_bus(a, 0, ACPI_PCI_BUSES - 1);
    aml_io(a, 0xcf8, 8); /* consumed by the bridge itself */
    aml_window_io(a, 0, 0xcf7);
    aml_window_io(a, 0xd00, 0xffff);
    aml_window_memory32(a, (uint32_t)pci->window_base, (uint32_t)pci->window_size);
    aml_window_memory64(a, pci->window64_base, pci->window64_size);
    aml_resources_end(a, crs);
    routing(a);
    /* The guest may have every PCI Express feature it asks for: none has anything to do here. */
    osc = aml_method(a, "_OSC", 4);
    aml_return_arg(a, 3);
    aml_end(a, osc);
    aml_end(a, dev);
    reserve_ecam(a, pci->ecam_base);
    aml_end(a, sb);
}

void acpi_dsdt_virtio_mmio(struct aml *a, uint32_t slot, uint32_t base, uint32_t size, uint32_t gsi)
{
    size_t sb = aml_scope(a, "\\_SB"), dev, crs;
    char name[8];

    snprintf(name, sizeof(name), "VR%02u", slot % 100);
    dev = aml_device(a, name);
    aml_name(a, "_HID");
    aml_string(a, "LNRO0005");
    aml_name(a, "_UID");
    aml_int(a, slot);
    aml_name(a, "_CCA"); /* its memory accesses are coherent */
    aml_int(a, 1);
    crs = aml_resources(a);
    aml_memory32(a, base, size);
    aml_interrupt(a, gsi);
    aml_resources_end(a, crs);
    aml_end(a, dev);
    aml_end(a, sb);
}
