#include "machine/boot_linux.h"

#include <stddef.h>
#include <string.h>

#include "machine/boot_regs.h"

#define HDRS_MAGIC       0x53726448 /* "HdrS" */
#define BOOT_FLAG        0xaa55
#define LOADER_UNKNOWN   0xff /* no number assigned */
#define HEADERLESS_ALIGN 0x1000000

#define PTE_PRESENT_RW 0x03
#define PTE_LARGE      0x80
#define LARGE_PAGE     (2ULL << 20)
#define ENTRIES        512
#define MAPPED_GIB     4

_Static_assert(sizeof(struct boot_params) == 4096, "the zero page");
_Static_assert(offsetof(struct boot_params, hdr) == 0x1f1, "boot.rst");
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "zero-page.rst");
_Static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x070, "zero-page.rst");
_Static_assert(MEMORY_MAP_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the map fits");
_Static_assert(BOOT_PARAMS + sizeof(struct boot_params) <= BOOT_PAGE_TABLES, "no overlap");
_Static_assert(BOOT_PAGE_TABLES + (2 + MAPPED_GIB) * 4096 <= BOOT_STACK, "no overlap");

/* The first 4 GiB, one to one, in 2 MiB pages: one PML4, one PDPT, a directory a GiB. */
static int put_page_tables(const struct boot_request *r, struct err *e)
{
    uint64_t tables[2 + MAPPED_GIB][ENTRIES] = {0};

    tables[0][0] = (BOOT_PAGE_TABLES + 4096) | PTE_PRESENT_RW;
    for (uint64_t g = 0; g < MAPPED_GIB; g++) {
        tables[1][g] = (BOOT_PAGE_TABLES + (2 + g) * 4096) | PTE_PRESENT_RW;
        for (uint64_t i = 0; i < ENTRIES; i++)
            tables[2 + g][i] = (g * ENTRIES + i) * LARGE_PAGE | PTE_PRESENT_RW | PTE_LARGE;
    }
    return boot_write(r, BOOT_PAGE_TABLES, tables, sizeof(tables), "page tables", e);
}

static void put_map(struct boot_params *bp, const struct memory_map *map)
{
    bp->e820_entries = (uint8_t)map->n;
    for (uint32_t i = 0; i < map->n; i++) {
        bp->e820_table[i].addr = map->entries[i].base;
        bp->e820_table[i].size = map->entries[i].size;
        bp->e820_table[i].type = map->entries[i].type;
    }
}

int boot_linux_enter(const struct boot_request *r, struct boot_params *bp,
                     const struct boot_initrd *initrd, uint64_t entry_addr,
                     struct boot_entry *entry, struct err *e)
{
    int ret;

    bp->hdr.type_of_loader = LOADER_UNKNOWN;
    bp->hdr.cmd_line_ptr = BOOT_CMDLINE;
    bp->hdr.ramdisk_image = (uint32_t)initrd->gpa; /* below 4 GiB: boot_put_initrd */
    bp->hdr.ramdisk_size = (uint32_t)initrd->size;
    bp->acpi_rsdp_addr = r->rsdp;
    put_map(bp, r->map);
    ret = boot_write(r, BOOT_PARAMS, bp, sizeof(*bp), "boot parameters", e);
    if (!ret)
        ret = put_page_tables(r, e);
    if (!ret)
        ret = boot_regs_long_mode(r, entry, e);
    if (ret)
        return ret;
    entry->regs.rip = entry_addr;
    entry->regs.rsi = BOOT_PARAMS;
    entry->regs.rsp = BOOT_STACK;
    return 0;
}

int boot_linux_headerless(const struct boot_request *r, uint64_t entry_addr, uint64_t kernel_end,
                          struct boot_entry *entry, struct err *e)
{
    struct boot_params bp = {0};
    struct boot_initrd initrd;
    int ret;

    bp.hdr.boot_flag = BOOT_FLAG;
    bp.hdr.header = HDRS_MAGIC;
    bp.hdr.version = 0x020c;
    bp.hdr.loadflags = LOADED_HIGH;
    bp.hdr.kernel_alignment = HEADERLESS_ALIGN;
    ret = boot_put_cmdline(r, MACHINE_CMDLINE_MAX - 1, e);
    if (!ret)
        ret = boot_put_initrd(r, kernel_end, UINT32_MAX, &initrd, e);
    return ret ? ret : boot_linux_enter(r, &bp, &initrd, entry_addr, entry, e);
}
