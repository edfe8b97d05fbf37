#include "memory.h"

#include <stddef.h>

#include "x86.h"

#define RANGES  64
#define GIB     (1ull << 30)
#define LOW_END (4 * GIB)

/* struct hvm_start_info and hvm_memmap_table_entry: xen/include/public/arch-x86/hvm/start_info.h */
#define START_INFO_MAGIC 0x336ec578u
#define MEMMAP_RAM       1u

struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t modlist, cmdline, rsdp;
    uint64_t memmap; /* from version 1 on */
    uint32_t memmap_entries, reserved;
};

struct memmap_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};

_Static_assert(sizeof(struct start_info) == 56, "hvm_start_info, version 1");
_Static_assert(sizeof(struct memmap_entry) == 24, "hvm_memmap_table_entry");

extern uint32_t boot_info;
extern char image_start[], image_end[];
extern uint64_t pml4[512], low_pdpt[512];

/* Free RAM, sorted, split at 4 GiB, page-aligned. */
static struct range {
    uint64_t base, end;
} ranges[RANGES];
static unsigned range_count;

static void add_range(uint64_t base, uint64_t end)
{
    unsigned i = range_count;

    base = (base + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    end &= ~(uint64_t)(PAGE_SIZE - 1);
    if (base >= end || range_count == RANGES)
        return;
    for (; i > 0 && ranges[i - 1].base > base; i--)
        ranges[i] = ranges[i - 1];
    ranges[i] = (struct range){base, end};
    range_count++;
}

/* Adds what is left of [base, end) without [cut, cut_end). */
static void add_without(uint64_t base, uint64_t end, uint64_t cut, uint64_t cut_end)
{
    if (cut_end <= base || cut >= end) {
        add_range(base, end);
        return;
    }
    if (base < cut)
        add_range(base, cut);
    if (cut_end < end)
        add_range(cut_end, end);
}

static void add_ram(struct boot *b, uint64_t base, uint64_t end)
{
    uint64_t low_end = end < LOW_END ? end : LOW_END;
    uint64_t high = base > LOW_END ? base : LOW_END;

    b->ram_bytes += end - base;
    if (end > high) {
        b->high_bytes += end - high;
        add_range(high, end);
    }
    if (base < (uintptr_t)image_start) /* the first MiB belongs to firmware and the trampoline */
        base = (uintptr_t)image_start;
    if (base < low_end)
        add_without(base, low_end, (uintptr_t)image_start, (uintptr_t)image_end);
}

static void copy_cmdline(struct boot *b, const char *from)
{
    size_t n = 0;

    for (; from && n < sizeof(b->cmdline) - 1 && from[n]; n++)
        b->cmdline[n] = from[n];
    b->cmdline[n] = 0;
}

void *memory_pages(unsigned count)
{
    uint64_t bytes = (uint64_t)count * PAGE_SIZE;

    for (unsigned i = 0; i < range_count && ranges[i].base < LOW_END; i++) {
        uint64_t *p = (uint64_t *)(uintptr_t)ranges[i].base;

        if (ranges[i].end - ranges[i].base < bytes)
            continue;
        ranges[i].base += bytes;
        for (uint64_t w = 0; w < bytes / 8; w++)
            p[w] = 0;
        return p;
    }
    return NULL;
}

static uint64_t *table_below(uint64_t *entry)
{
    uint64_t *table;

    if (*entry & 1)
        return (uint64_t *)(uintptr_t)(*entry & 0x000ffffffffff000);
    table = memory_pages(1);
    if (table)
        *entry = (uintptr_t)table | 0x7; /* present, writable, user */
    return table;
}

/* Identity-maps the GiB at gpa; entries only ever become present, so no TLB flush is needed. */
static bool map_gib(uint64_t gpa, bool large)
{
    uint64_t *pdpt = table_below(&pml4[gpa >> 39 & 511]);
    uint64_t *entry = pdpt ? &pdpt[gpa >> 30 & 511] : NULL;
    uint64_t *pd;

    if (!entry)
        return false;
    if (*entry & 1)
        return true;
    if (large) {
        *entry = gpa | 0x87;
        return true;
    }
    pd = table_below(entry);
    for (unsigned i = 0; pd && i < 512; i++)
        pd[i] = (gpa + ((uint64_t)i << 21)) | 0x87;
    return pd;
}

static bool map_high(void)
{
    bool large = gate_cpuid(0x80000000, 0).eax >= 0x80000001 &&
                 gate_cpuid(0x80000001, 0).edx & 1u << 26; /* 1 GiB pages */

    for (unsigned i = 0; i < range_count; i++) {
        struct range r = ranges[i];

        if (r.base < LOW_END)
            continue;
        for (uint64_t gpa = r.base & ~(GIB - 1); gpa < r.end; gpa += GIB)
            if (!map_gib(gpa, large))
                return false;
    }
    return true;
}

const char *memory_init(struct boot *b)
{
    const struct start_info *info = (const struct start_info *)(uintptr_t)boot_info;
    const struct memmap_entry *map;

    if (!info || info->magic != START_INFO_MAGIC)
        return "no-hvm-start-info";
    copy_cmdline(b, (const char *)(uintptr_t)info->cmdline);
    if (info->version < 1 || !info->memmap)
        return "no-memory-map";
    map = (const struct memmap_entry *)(uintptr_t)info->memmap;
    for (uint32_t i = 0; i < info->memmap_entries; i++)
        if (map[i].type == MEMMAP_RAM && map[i].size && map[i].addr + map[i].size > map[i].addr)
            add_ram(b, map[i].addr, map[i].addr + map[i].size);
    return map_high() ? NULL : "no-memory-for-page-tables";
}

uint64_t memory_free_pages(void)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < range_count; i++)
        pages += (ranges[i].end - ranges[i].base) / PAGE_SIZE;
    return pages;
}

/* Takes up to `pages` pages of one side of 4 GiB; returns how many it got. */
static uint64_t take(struct area *a, uint64_t pages, bool high)
{
    uint64_t got = 0;

    for (unsigned k = 0; k < range_count && got < pages && a->spans < AREA_SPANS; k++) {
        struct range *r = &ranges[high ? range_count - 1 - k : k];
        uint64_t n = (r->end - r->base) / PAGE_SIZE;

        if ((r->base >= LOW_END) != high || !n)
            continue;
        n = n < pages - got ? n : pages - got;
        if (high)
            r->end -= n * PAGE_SIZE;
        a->span[a->spans].gpa = high ? r->end : r->base;
        a->span[a->spans++].pages = n;
        if (!high)
            r->base += n * PAGE_SIZE;
        got += n;
    }
    return got;
}

bool memory_area(struct area *a, uint64_t pages, uint64_t high)
{
    uint64_t got = take(a, high < pages ? high : pages, true);

    got += take(a, pages - got, false);
    got += take(a, pages - got, true);
    a->pages = got;
    return got == pages;
}
