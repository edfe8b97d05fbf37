#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cpu/feature.h"

static void every_row_is_sound(void **state)
{
    for (size_t i = 0; i < cpu_nfeatures; i++) {
        const struct cpu_feature *f = &cpu_features[i];

        assert_true(f->reg >= 'a' && f->reg <= 'd');
        assert_true(f->bit < 32);
        assert_ptr_equal(cpu_feature_find(f->name), f); /* so the name is there once */
        assert_ptr_equal(cpu_feature_at(f->function, f->index, f->reg, f->bit), f);
        if (f->needs)
            assert_non_null(cpu_feature_find(f->needs));
    }
}

/* cpu_compat looks at each register once, by its first row. */
static void rows_of_a_register_stand_together(void **state)
{
    for (size_t i = 1; i < cpu_nfeatures; i++) {
        const struct cpu_feature *a = &cpu_features[i], *last = a - 1;

        if (a->function == last->function && a->index == last->index && a->reg == last->reg)
            continue;
        for (size_t j = 0; j < i; j++)
            assert_false(cpu_features[j].function == a->function &&
                         cpu_features[j].index == a->index && cpu_features[j].reg == a->reg);
    }
}

/* A few places from the manuals, so that a slip in the table shows. */
static void places_are_the_manuals(void **state)
{
    static const struct {
        const char *name;
        uint32_t function, index;
        char reg;
        uint8_t bit;
    } known[] = {
        {"vmx",               1,          0, 'c', 5 },
        {"pcid",              1,          0, 'c', 17},
        {"x2apic",            1,          0, 'c', 21},
        {"tsc-deadline",      1,          0, 'c', 24},
        {"avx",               1,          0, 'c', 28},
        {"ht",                1,          0, 'd', 28},
        {"avx2",              7,          0, 'b', 5 },
        {"bmi2",              7,          0, 'b', 8 },
        {"avx512f",           7,          0, 'b', 16},
        {"pku",               7,          0, 'c', 3 },
        {"la57",              7,          0, 'c', 16},
        {"amx-tile",          7,          0, 'd', 24},
        {"svm",               0x80000001, 0, 'c', 2 },
        {"lm",                0x80000001, 0, 'd', 29},
        {"invtsc",            0x80000007, 0, 'd', 8 },
        {"kvm-asyncpf",       0x40000001, 0, 'a', 4 },
        {"arch-capabilities", 7,          0, 'd', 29},
        {"xsaves",            0xd,        1, 'a', 3 },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct cpu_feature *f = cpu_feature_find(known[i].name);

        if (!f || f->function != known[i].function || f->index != known[i].index ||
            f->reg != known[i].reg || f->bit != known[i].bit)
            fail_msg("%s is elsewhere", known[i].name);
    }
}

static void names_are_found_as_people_write_them(void **state)
{
    assert_string_equal(cpu_feature_find("sse4_1")->name, "sse4.1");
    assert_string_equal(cpu_feature_find("sse4-2")->name, "sse4.2");
    assert_string_equal(cpu_feature_find("TSC_Deadline")->name, "tsc-deadline");
    assert_string_equal(cpu_feature_find("lzcnt")->name, "abm");
    assert_string_equal(cpu_feature_find("pni")->name, "sse3");
    assert_null(cpu_feature_find("avx3"));
    assert_null(cpu_feature_find(""));
    assert_null(cpu_feature_find("avx22"));
}

static void the_nearest_name_is_named(void **state)
{
    char longest[512];

    assert_string_equal(cpu_feature_nearest("avxx2"), "avx2");
    assert_string_equal(cpu_feature_nearest("tsc-deadlin"), "tsc-deadline");
    assert_string_equal(cpu_feature_nearest("kvmclok"), "kvmclock");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_non_null(cpu_feature_nearest(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_sound),
        cmocka_unit_test(rows_of_a_register_stand_together),
        cmocka_unit_test(places_are_the_manuals),
        cmocka_unit_test(names_are_found_as_people_write_them),
        cmocka_unit_test(the_nearest_name_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
