/* Where the devices that both boards have are: ports and interrupt lines (GSIs).  The ACPI PM ports
 * are where QEMU's q35 has them. */
#ifndef GODWIT_MACHINE_PC_H
#define GODWIT_MACHINE_PC_H

#include <stdbool.h>

#include "machine/board.h"

#define PC_SERIAL_PORT 0x3f8
#define PC_SERIAL_GSI  4
#define PC_RTC_PORT    0x70
#define PC_RTC_GSI     8
#define PC_PM_PORT     0x600
#define PC_SCI_GSI     9
#define PC_LAPIC       0xfee00000
#define PC_IOAPIC      0xfec00000

struct reset;

/* Serial, RTC, ACPI PM and reset ports on b->pio; own_port: port 0xcf9 too (no PCI host has it). */
int pc_build(struct board *b, bool own_port, struct reset **out, struct err *e);

#endif
