/* vmlinux.bin: the memory image of vmlinux from its first byte (objcopy -O binary), whose first
 * instruction is the 64-bit entry; it is linked to run at 16 MiB. */
#include "machine/boot.h"

/* .bss is not in the file: Linux clears it, and needs the room. */
#define FLAT_BSS_ROOM (16ULL << 20)

int boot_flat(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    uint64_t size = r->kernel->size;
    int ret = boot_file_load(r->kernel, 0, size, r->mem, BOOT_FLAT_ADDR, size, "flat kernel", e);

    if (ret)
        return ret;
    return boot_linux_headerless(r, BOOT_FLAT_ADDR, BOOT_FLAT_ADDR + size + FLAT_BSS_ROOM, entry,
                                 e);
}
