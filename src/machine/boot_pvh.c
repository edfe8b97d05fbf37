/* PVH (xen/include/public/arch-x86/hvm/start_info.h, version 1; docs/misc/pvh.pandoc): 32-bit
 * protected mode, ebx points to hvm_start_info. */
#include "machine/boot.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "machine/boot_regs.h"
#include "wire/writer.h"

#define START_MAGIC    0x336ec578
#define START_VERSION  1
#define START_SIZE     56 /* of hvm_start_info */
#define MODULE_SIZE    32 /* of hvm_modlist_entry */
#define MAP_ENTRY_SIZE 24 /* of hvm_memmap_table_entry */

#define MODULES_AT (BOOT_PARAMS + START_SIZE)
#define MAP_AT     (MODULES_AT + MODULE_SIZE)

_Static_assert(MAP_AT % 8 == 0, "aligned for the guest");
_Static_assert(MAP_AT + MEMORY_MAP_MAX * MAP_ENTRY_SIZE <= BOOT_PAGE_TABLES, "no overlap");

/* start_info, the one module there may be, and the memory map, one after the other. */
static void compose(struct writer *w, const struct boot_request *r,
                    const struct boot_initrd *initrd)
{
    writer_u32(w, START_MAGIC);
    writer_u32(w, START_VERSION);
    writer_u32(w, 0); /* flags */
    writer_u32(w, initrd->size ? 1 : 0);
    writer_u64(w, initrd->size ? MODULES_AT : 0);
    writer_u64(w, BOOT_CMDLINE);
    writer_u64(w, r->rsdp);
    writer_u64(w, MAP_AT);
    writer_u32(w, r->map->n);
    writer_u32(w, 0);

    writer_u64(w, initrd->gpa);
    writer_u64(w, initrd->size);
    writer_u64(w, 0); /* no command line of its own */
    writer_u64(w, 0);

    for (uint32_t i = 0; i < r->map->n; i++) {
        writer_u64(w, r->map->entries[i].base);
        writer_u64(w, r->map->entries[i].size);
        writer_u32(w, r->map->entries[i].type);
        writer_u32(w, 0);
    }
}

static int put_start_info(const struct boot_request *r, const struct boot_initrd *initrd,
                          struct err *e)
{
    struct buf info;
    struct writer w;
    int ret;

    buf_init(&info, 0);
    writer_init(&w, &info);
    compose(&w, r, initrd);
    if (w.failed)
        ret = err_set(e, -ENOMEM, BOOT_STAGE, "no memory for hvm_start_info");
    else
        ret = boot_write(r, BOOT_PARAMS, info.data, info.len, "hvm_start_info", e);
    buf_fini(&info);
    return ret;
}

int boot_pvh(const struct boot_request *r, uint32_t entry_addr, uint64_t kernel_end,
             struct boot_entry *entry, struct err *e)
{
    struct boot_initrd initrd;
    int ret = boot_put_cmdline(r, MACHINE_CMDLINE_MAX - 1, e);

    if (!ret)
        ret = boot_put_initrd(r, kernel_end, UINT32_MAX, &initrd, e);
    if (!ret)
        ret = put_start_info(r, &initrd, e);
    if (!ret)
        ret = boot_regs_protected_mode(r, entry, e);
    if (ret)
        return ret;
    entry->regs.rip = entry_addr;
    entry->regs.rbx = BOOT_PARAMS;
    return 0;
}
