/* What the 64-bit entries of Linux share (Documentation/arch/x86/boot.rst, "64-bit boot protocol"):
 * boot_params with the memory map, identity-mapped page tables, and the registers. */
#ifndef GODWIT_MACHINE_BOOT_LINUX_H
#define GODWIT_MACHINE_BOOT_LINUX_H

#include <asm/bootparam.h>

#include "machine/boot.h"

/* bp->hdr is filled but for the command line and the initrd: completes it, writes it and the page
 * tables, and gives the registers to enter at `entry_addr`. */
int boot_linux_enter(const struct boot_request *r, struct boot_params *bp,
                     const struct boot_initrd *initrd, uint64_t entry_addr,
                     struct boot_entry *entry, struct err *e);

#endif
