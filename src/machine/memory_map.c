#include "machine/memory_map.h"

#include <string.h>

static void add(struct memory_map *map, uint64_t base, uint64_t size, uint32_t type)
{
    uint32_t at = map->n;

    if (map->n == MEMORY_MAP_MAX || size == 0)
        return;
    while (at > 0 && map->entries[at - 1].base > base)
        at--;
    memmove(&map->entries[at + 1], &map->entries[at], (map->n - at) * sizeof(map->entries[0]));
    map->entries[at].base = base;
    map->entries[at].size = size;
    map->entries[at].type = type;
    map->n++;
}

void memory_map_reserve(struct memory_map *map, uint64_t base, uint64_t size)
{
    add(map, base, size, MEMORY_RESERVED);
}

void memory_map_init(struct memory_map *map, const struct guest_mem *mem)
{
    map->n = 0;
    add(map, 0, MEMORY_EBDA, MEMORY_RAM);
    add(map, MEMORY_EBDA, MEMORY_VGA - MEMORY_EBDA, MEMORY_RESERVED);
    add(map, MEMORY_TABLES, MEMORY_HIGH_START - MEMORY_TABLES, MEMORY_RESERVED);
    for (uint32_t i = 0; i < mem->nranges; i++) {
        const struct guest_range *r = &mem->ranges[i];

        if (r->gpa == 0)
            add(map, MEMORY_HIGH_START, r->size - MEMORY_HIGH_START, MEMORY_RAM);
        else
            add(map, r->gpa, r->size, MEMORY_RAM);
    }
}
