/* Which run state may follow which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "vmm/runstate.h"

static void test_names_are_distinct(void **state)
{
    for (int a = 0; a < RUNSTATE_COUNT; a++) {
        assert_true(strlen(runstate_name(a)) > 3);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(runstate_name(a), runstate_name(b));
    }
    assert_string_equal(runstate_name(RUNSTATE_COUNT), "?");
}

static void test_postmigrate_is_the_end(void **state)
{
    for (int to = 0; to < RUNSTATE_COUNT; to++)
        if (to != RUNSTATE_POSTMIGRATE)
            assert_false(runstate_may_follow(RUNSTATE_POSTMIGRATE, to));
}

static void test_only_a_handover_gives_a_machine_away(void **state)
{
    for (int from = 0; from < RUNSTATE_COUNT; from++) {
        bool may = from == RUNSTATE_POSTMIGRATE || from == RUNSTATE_FINISH_MIGRATE ||
                   from == RUNSTATE_UNRESOLVED;

        assert_int_equal(runstate_may_follow(from, RUNSTATE_POSTMIGRATE), may);
    }
}

static void test_what_arrives_runs_pauses_or_is_unresolved(void **state)
{
    assert_true(runstate_may_follow(RUNSTATE_INMIGRATE, RUNSTATE_RUNNING));
    assert_true(runstate_may_follow(RUNSTATE_INMIGRATE, RUNSTATE_PAUSED));
    assert_true(runstate_may_follow(RUNSTATE_INMIGRATE, RUNSTATE_UNRESOLVED));
    assert_false(runstate_may_follow(RUNSTATE_INMIGRATE, RUNSTATE_FINISH_MIGRATE));
    assert_false(runstate_may_follow(RUNSTATE_INMIGRATE, RUNSTATE_PRELAUNCH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_distinct),
        cmocka_unit_test(test_postmigrate_is_the_end),
        cmocka_unit_test(test_only_a_handover_gives_a_machine_away),
        cmocka_unit_test(test_what_arrives_runs_pauses_or_is_unresolved),
    };

    return cmocka_run_group_tests_name("vmm/runstate", tests, NULL, NULL);
}
