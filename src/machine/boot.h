/*
 * Boot protocols.  What a kernel file is, its content says: a bzImage (Linux x86 boot protocol,
 * 64-bit entry), an ELF with a PVH note (entered as PVH), an ELF without (vmlinux: 64-bit entry),
 * or else a flat vmlinux.bin (at 16 MiB, 64-bit entry).  One file a protocol; boot_linux.c has what
 * the 64-bit ones share.
 *
 * Everything below 1 MiB that a protocol needs has its place here; kernels are loaded at 1 MiB or
 * above, the initrd as high below 4 GiB as it may be.
 */
#ifndef GODWIT_MACHINE_BOOT_H
#define GODWIT_MACHINE_BOOT_H

#include "machine/board.h"
#include "machine/boot_file.h"
#include "machine/memory_map.h"

#define BOOT_GDT         0x1000
#define BOOT_PARAMS      0x2000 /* Linux: struct boot_params; PVH: hvm_start_info and its lists */
#define BOOT_PAGE_TABLES 0x9000 /* six pages */
#define BOOT_STACK       0x1f000
#define BOOT_CMDLINE     0x20000
#define BOOT_FLAT_ADDR   0x1000000

struct boot_request {
    struct guest_mem *mem;
    const struct boot_file *kernel, *initrd; /* initrd NULL: none */
    const char *cmdline;
    const struct memory_map *map;
    uint64_t rsdp;
};

/* Where an initrd was put; size 0: there is none. */
struct boot_initrd {
    uint64_t gpa, size;
};

/* Loads everything and gives the registers to start with; -EINVAL and others say what is wrong with
 * which file. */
int boot_load(const struct boot_request *r, struct boot_entry *entry, struct err *e);

/* ---- for the protocols ---- */

#define BOOT_HEAD_SIZE 4096 /* of the file's beginning, zero-padded: enough to see what it is */

bool boot_is_bzimage(const uint8_t head[BOOT_HEAD_SIZE]);
int boot_bzimage(const struct boot_request *r, struct boot_entry *entry, struct err *e);
bool boot_is_elf(const uint8_t head[BOOT_HEAD_SIZE]);
int boot_elf(const struct boot_request *r, struct boot_entry *entry, struct err *e);
int boot_flat(const struct boot_request *r, struct boot_entry *entry, struct err *e);
/* The kernel is loaded, up to kernel_end; enter it as PVH at the 32-bit address. */
int boot_pvh(const struct boot_request *r, uint32_t entry_addr, uint64_t kernel_end,
             struct boot_entry *entry, struct err *e);
/* Likewise by Linux's 64-bit protocol, with a setup header made up here. */
int boot_linux_headerless(const struct boot_request *r, uint64_t entry_addr, uint64_t kernel_end,
                          struct boot_entry *entry, struct err *e);

/* Copies the command line to BOOT_CMDLINE; -E2BIG when it is longer than max. */
int boot_put_cmdline(const struct boot_request *r, uint64_t max, struct err *e);
/* Puts the initrd as high as it may be: above kernel_end, up to last (inclusive), in low RAM. */
int boot_put_initrd(const struct boot_request *r, uint64_t kernel_end, uint64_t last,
                    struct boot_initrd *out, struct err *e);
int boot_write(const struct boot_request *r, uint64_t gpa, const void *data, size_t len,
               const char *what, struct err *e);

#endif
