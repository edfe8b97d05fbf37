/* The processor as the boot protocols hand it over: descriptor table in guest memory at BOOT_GDT
 * and registers that agree with it.  rip and the general registers are the caller's to fill. */
#ifndef GODWIT_MACHINE_BOOT_REGS_H
#define GODWIT_MACHINE_BOOT_REGS_H

#include "machine/boot.h"

/* 64-bit mode, paging with the tables at BOOT_PAGE_TABLES. */
int boot_regs_long_mode(const struct boot_request *r, struct boot_entry *entry, struct err *e);
/* 32-bit protected mode, flat segments, paging off. */
int boot_regs_protected_mode(const struct boot_request *r, struct boot_entry *entry, struct err *e);

#endif
