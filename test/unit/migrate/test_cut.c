/*
 * The one-winner rule, by trying: the link is cut before, in the middle of and just before the end
 * of every record of every channel in both directions, and it heals, stays dead or goes silent.
 * Whatever happens: never two machines run; when none does, both sides say that they are
 * unresolved, and a person's word leaves exactly one; the winner's memory is the source's.
 */
#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "proxy.h"
#include "stream/native/native.h"

static unsigned cuts, moved, kept, undecided;

static void judge_end(struct pair *p, bool here)
{
    const struct judge_look look = {.here = here};

    switch (judge(p, &look)) {
    case JUDGE_MOVED:
        moved++;
        break;
    case JUDGE_KEPT:
        kept++;
        break;
    default:
        undecided++;
        break;
    }
}

/* What was cut after the manifest and before the stop cost nothing but time. */
static void check_mended(struct pair *p, const struct proxy_rule *rule, uint32_t type)
{
    struct godwit_stats st = pair_source_stats(p);

    if (rule->connection == 0 && type <= NATIVE_MANIFEST && type != NATIVE_ERROR)
        assert_int_equal(st.status, GODWIT_FAILED);
    else if (!p->from.slots[FAKE_STOP].calls)
        fail_msg("the link healed, and the migration failed: %s", st.error.text);
}

/* false: the migration has no such record. */
static bool one_cut(const struct proxy_rule *rule)
{
    struct proxy *proxy;
    struct pair p;
    bool was_cut;

    pair_init(&p, 1 * MIB);
    fake_fill(&p.from, 0, 256, 2);
    p.params.lanes = 2;
    p.params.link_timeout_ms = rule->after == PROXY_SILENT ? 600 : 3000;
    p.params.ready_timeout_ms = p.params.link_timeout_ms;
    p.params.handover_timeout_ms = rule->after == PROXY_HEALS ? 3000 : 300;
    p.params.network_timeout_ms = p.params.handover_timeout_ms;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    judge_end(&p, cuts % 2);
    was_cut = proxy_has_cut(proxy);
    if (was_cut) {
        cuts++;
        if (rule->after == PROXY_HEALS) { /* then nobody stays in doubt */
            check_mended(&p, rule, proxy_cut_type(proxy));
            assert_int_not_equal(pair_source_stats(&p).status, GODWIT_UNRESOLVED);
            assert_int_not_equal(pair_sink_stats(&p).status, GODWIT_UNRESOLVED);
        }
    } else {
        pair_expect_source(&p, GODWIT_COMPLETED);
    }
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
    return was_cut;
}

static void cut_everywhere(enum proxy_after after, enum proxy_place places)
{
    cuts = moved = kept = undecided = 0;
    for (unsigned connection = 0; connection < 3; connection++)
        for (int back = 0; back < 2; back++)
            for (unsigned record = 0;; record++) {
                bool there = false;

                for (unsigned place = 0; place < places; place++) {
                    struct proxy_rule rule = {.connection = connection,
                                              .back = back,
                                              .record = record,
                                              .place = (enum proxy_place)place,
                                              .after = after};

                    there |= one_cut(&rule);
                }
                if (!there)
                    break;
            }
    print_message("%u cuts: %u moved, %u kept, %u decided by a person\n", cuts, moved, kept,
                  undecided);
    assert_true(cuts > 15 * (unsigned)places);
    assert_true(moved > 0 && kept > 0);
}

static void test_link_heals(void **state)
{
    cut_everywhere(PROXY_HEALS, PROXY_PLACE_COUNT);
    assert_int_equal(undecided, 0);
}

static void test_link_stays_dead(void **state)
{
    cut_everywhere(PROXY_DEAD, PROXY_PLACE_COUNT);
    assert_true(undecided > 0);
}

static void test_link_goes_silent(void **state)
{
    cut_everywhere(PROXY_SILENT, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_heals),
        cmocka_unit_test(test_link_stays_dead),
        cmocka_unit_test(test_link_goes_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
