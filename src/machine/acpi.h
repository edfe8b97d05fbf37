/*
 * ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS, DSDT, MADT, and MCFG where there is PCI Express.
 * Not hardware-reduced: the fixed power button, PM1 and the PM timer are there.  All of them lie in
 * the region the memory map reserves from MEMORY_TABLES on, the RSDP first, so that a kernel also
 * finds it by looking.
 */
#ifndef GODWIT_MACHINE_ACPI_H
#define GODWIT_MACHINE_ACPI_H

#include "machine/acpi_aml.h"
#include "mem/guest_mem.h"

/* The root bus alone: there are no bridges.  A guest told of 256 would look for devices on each. */
#define ACPI_PCI_BUSES 1

struct acpi_config {
    char table_id[9];   /* of the board: "GODWQ35 " */
    uint32_t vcpus;     /* APIC ids 0 to vcpus - 1 */
    uint64_t ecam_base; /* 0: no MCFG */
    const struct aml *dsdt;
};

int acpi_write(struct guest_mem *mem, const struct acpi_config *c, uint64_t *rsdp, struct err *e);

/* Parts of a DSDT. */

struct acpi_pci {
    uint64_t ecam_base, window_base, window_size, window64_base, window64_size;
};

/* \_S5, and in \_SB the serial port and the RTC. */
void acpi_dsdt_pc(struct aml *a);
/* In \_SB: the PCI Express root with its windows and the ECAM range. */
void acpi_dsdt_pci(struct aml *a, const struct acpi_pci *pci);
/* In \_SB: a virtio-mmio device (LNRO0005). */
void acpi_dsdt_virtio_mmio(struct aml *a, uint32_t slot, uint32_t base, uint32_t size,
                           uint32_t gsi);

#endif
