/* The guest-physical memory map as boot protocols tell it: ranges with the types of ACPI 6.4,
 * sec. 15 (table 15-2), which Linux's boot_params and PVH's memmap share. */
#ifndef GODWIT_MACHINE_MEMORY_MAP_H
#define GODWIT_MACHINE_MEMORY_MAP_H

#include <stdint.h>

#include "mem/guest_mem.h"

#define MEMORY_MAP_MAX 16

#define MEMORY_RAM      1
#define MEMORY_RESERVED 2

/* Fixed places below 1 MiB. */
#define MEMORY_EBDA       0x9fc00
#define MEMORY_VGA        0xa0000
#define MEMORY_TABLES     0xe0000 /* ACPI, up to 1 MiB */
#define MEMORY_HIGH_START 0x100000
#define MEMORY_4G         0x100000000ULL

struct memory_map {
    uint32_t n;
    struct {
        uint64_t base, size;
        uint32_t type;
    } entries[MEMORY_MAP_MAX]; /* sorted once memory_map_init and every memory_map_reserve is done
                                */
};

/* What every PC has: RAM with its holes below 1 MiB and below 4 GiB. */
void memory_map_init(struct memory_map *map, const struct guest_mem *mem);
/* A range that is not RAM; kept sorted.  A full map (a board with too many) leaves it out. */
void memory_map_reserve(struct memory_map *map, uint64_t base, uint64_t size);

#endif
