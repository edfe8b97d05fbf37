/* The memory map that kernels are told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/memory_map.h"

static uint64_t ram_of(const struct memory_map *m)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < m->n; i++)
        if (m->entries[i].type == MEMORY_RAM)
            sum += m->entries[i].size;
    return sum;
}

static void check_sorted(const struct memory_map *m)
{
    for (uint32_t i = 1; i < m->n; i++)
        assert_true(m->entries[i].base >= m->entries[i - 1].base + m->entries[i - 1].size);
}

static void low_ram_only(void **state)
{
    struct guest_mem mem = {.nranges = 1, .ranges = {{0, 256 << 20, 0}}};
    struct memory_map m;

    (void)state;
    memory_map_init(&m, &mem);
    check_sorted(&m);
    assert_int_equal(ram_of(&m), (256 << 20) - (1 << 20) + MEMORY_EBDA);
    assert_int_equal(m.entries[m.n - 1].base, 1 << 20);
}

static void high_ram_and_holes(void **state)
{
    struct guest_mem mem = {
        .nranges = 2, .ranges = {{0, 2ULL << 30, 0}, {4ULL << 30, 6ULL << 30, 2ULL << 30}}
    };
    struct memory_map m;

    (void)state;
    memory_map_init(&m, &mem);
    memory_map_reserve(&m, 0xfec00000, 0x1400000);
    memory_map_reserve(&m, 0xb0000000, 256 << 20);
    check_sorted(&m);
    assert_int_equal(ram_of(&m), (8ULL << 30) - (1 << 20) + MEMORY_EBDA);
    assert_int_equal(m.entries[m.n - 1].base, 4ULL << 30);
    assert_int_equal(m.entries[m.n - 1].size, 6ULL << 30);
}

static void never_more_than_fits(void **state)
{
    struct guest_mem mem = {.nranges = 1, .ranges = {{0, 256 << 20, 0}}};
    struct memory_map m;

    (void)state;
    memory_map_init(&m, &mem);
    for (uint64_t i = 0; i < 2 * MEMORY_MAP_MAX; i++)
        memory_map_reserve(&m, 0xc0000000 + i * 4096, 4096);
    assert_int_equal(m.n, MEMORY_MAP_MAX);
    check_sorted(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(low_ram_only),
        cmocka_unit_test(high_ram_and_holes),
        cmocka_unit_test(never_more_than_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
