/* The engine keeps to what is wanted: with a guest that really dirties and a throttle that really
 * slows it.  What is decided and why is test_intent's; here it is carried out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness.h"

static struct godwit_record *record_of(struct pair *p)
{
    static struct godwit_record r;

    godwit_source_record(p->source, &r);
    return &r;
}

static const char *why(struct pair *p, const char *what)
{
    struct godwit_record *r = record_of(p);

    for (uint32_t i = 0; i < r->ndecisions; i++)
        if (!strcmp(r->decisions[i].what, what))
            return r->decisions[i].why;
    return NULL;
}

/* A guest that the link of 100 MB/s is too slow for: `rate` MB/s through 16 MiB. */
static void begin(struct pair *p, uint64_t rate_mib)
{
    pair_init(p, 32 * MIB);
    fake_fill(&p->from, 0, 4096, 1);
    p->params.max_bandwidth = 100 * MIB;
    p->params.compression = GODWIT_COMPRESS_NONE;
    p->from.knows_rates = true;
    fake_source_dirty(&p->from, rate_mib * MIB, 4096);
    pair_listen(p, NULL);
}

static void expect_free(struct pair *p)
{
    assert_int_equal(atomic_load(&p->from.percent), 0);
    assert_false(atomic_load(&p->from.percent_late));
    assert_int_equal(pair_source_stats(p).throttle, 0);
}

static void test_rounds_are_kept(void **state)
{
    struct godwit_record *r;
    struct pair p;

    pair_init(&p, 64 * MIB);
    fake_fill(&p.from, 0, 8192, 1);
    fake_source_dirty(&p.from, 20 * MIB, 4096);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    r = record_of(&p);
    assert_true(r->nrounds >= 1);
    assert_int_equal(r->rounds[0].dirty, 64 * MIB);
    assert_true(r->rounds[0].sent >= 32 * MIB - MIB);
    for (uint32_t i = 0; i < r->nrounds; i++)
        assert_true(r->rounds[i].duration_ns > 0);
    assert_true(r->predicted_downtime_ns > 0);
    assert_true(r->predicted_total_ns > 0);
    assert_true(r->phase_ns[GODWIT_PHASE_LAST_PAGES] > 0);
    assert_true(r->phase_ns[GODWIT_PHASE_STATE] > 0);
    assert_non_null(why(&p, "switch"));
    assert_int_equal(atomic_load(&p.from.percent_worst), 0);
    pair_fini(&p);
}

/* It could never end without the throttle, and ends with 30 % at most. */
static void throttled(bool knows_rates)
{
    struct pair p;

    begin(&p, 130);
    p.params.downtime_limit_ms = 50;
    p.from.knows_rates = knows_rates;
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_non_null(why(&p, "not-converging"));
    assert_non_null(strstr(why(&p, "throttle"), knows_rates ? "vCPU 0 " : "all vCPUs"));
    assert_in_range(atomic_load(&p.from.percent_worst), 1, 30);
    expect_free(&p);
    pair_fini(&p);
}

static void test_throttle(void **state)
{
    throttled(true);
    throttled(false);
}

static void test_auto_converge(void **state)
{
    struct pair p;

    begin(&p, 600);
    p.params.auto_converge = true;
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_in_range(atomic_load(&p.from.percent_worst), 31, 99);
    expect_free(&p);
    pair_fini(&p);
}

static void test_dirty_limit(void **state)
{
    struct pair p;

    begin(&p, 600);
    p.params.dirty_limit = true;
    p.params.vcpu_dirty_limit = 20 * MIB;
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_non_null(why(&p, "dirty-limit"));
    assert_in_range(atomic_load(&p.from.percent_worst), 80, 99);
    expect_free(&p);
    pair_fini(&p);
}

static void wait_throttled(struct pair *p)
{
    wait_until(atomic_load(&p->from.percent) > 0);
}

static void test_cancel_frees(void **state)
{
    struct pair p;

    begin(&p, 600);
    p.params.auto_converge = true;
    p.params.max_bandwidth = 40 * MIB;
    p.params.downtime_limit_ms = 10;
    pair_migrate(&p);
    wait_throttled(&p);
    assert_int_equal(godwit_source_cancel(p.source), 0);
    pair_expect_source(&p, GODWIT_CANCELED);
    pair_expect_kept(&p);
    expect_free(&p);
    pair_fini(&p);
}

/* ---- the deadline --------------------------------------------------------------------------- */

static void test_suspend(void **state)
{
    struct pair p;

    begin(&p, 200);
    p.params.deadline_s = 1;
    p.params.on_timeout = GODWIT_TIMEOUT_SUSPEND;
    p.params.max_slowdown = 0;
    p.params.downtime_limit_ms = 10;
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_non_null(why(&p, "suspend"));
    assert_true(record_of(&p)->predicted_downtime_ns > 10 * NS_PER_MS);
    pair_fini(&p);
}

static void test_deadline_cancels(void **state)
{
    struct pair p;

    begin(&p, 200);
    p.params.deadline_s = 1;
    p.params.on_timeout = GODWIT_TIMEOUT_CANCEL;
    p.params.max_bandwidth = MIB; /* in the middle of round 1, which takes 16 s */
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_CANCELED);
    assert_non_null(strstr(pair_source_stats(&p).error.text, "deadline of 1 s"));
    assert_non_null(why(&p, "cancel"));
    assert_true(pair_source_stats(&p).total_ns < 3 * NS_PER_S);
    pair_expect_kept(&p);
    pair_fini(&p);
}

static void test_deadline_goes_on(void **state)
{
    struct pair p;

    begin(&p, 200);
    p.params.deadline_s = 1;
    p.params.max_slowdown = 0;
    pair_migrate(&p);
    wait_until(why(&p, "continue") != NULL);
    assert_int_equal(pair_source_stats(&p).status, GODWIT_ACTIVE);
    p.params.max_bandwidth = 0;
    p.params.downtime_limit_ms = 500;
    godwit_source_set_params(p.source, &p.params);
    pair_expect_moved(&p);
    pair_fini(&p);
}

static void test_postcopy_is_refused(void **state)
{
    struct godwit_source *source = NULL;
    struct godwit_source_config c;
    struct err e = ERR_INIT;
    struct pair p;

    pair_init(&p, MIB);
    p.params.on_timeout = GODWIT_TIMEOUT_POSTCOPY;
    c = (struct godwit_source_config){.ops = &fake_source_ops,
                                      .opaque = &p.from,
                                      .uri = "unix:/tmp/nobody",
                                      .regions = p.from.memory.regions,
                                      .nregions = p.from.memory.n,
                                      .params = p.params};
    assert_int_equal(godwit_source_start(&c, &source, &e), -EOPNOTSUPP);
    assert_null(source);
    assert_non_null(strstr(e.text, "postcopy"));
    pair_fini(&p);
}

/* ---- pause-before-switchover ---------------------------------------------------------------- */

static void hold(struct pair *p)
{
    pair_init(p, 16 * MIB);
    fake_fill(&p->from, 0, 1024, 1);
    fake_source_dirty(&p->from, 10 * MIB, 1024);
    p->params.pause_before_switchover = true;
    p->params.link_timeout_ms = 1000;
    p->params.ready_timeout_ms = 500;
    pair_listen(p, NULL);
    pair_migrate(p);
    pair_expect_source(p, GODWIT_PRE_SWITCHOVER);
    assert_false(atomic_load(&p->from.runs));
    assert_int_equal(atomic_load(&p->from.slots[FAKE_SAVE_STATE].calls), 0);
}

/* Longer than every timeout: nobody is silent meanwhile, and a person's time does not count. */
static void test_continue(void **state)
{
    struct pair p;

    hold(&p);
    clock_sleep_ns(2500 * NS_PER_MS);
    assert_int_equal(pair_source_stats(&p).status, GODWIT_PRE_SWITCHOVER);
    assert_int_equal(godwit_source_continue(p.source), 0);
    pair_expect_moved(&p);
    assert_int_equal(godwit_source_continue(p.source), -EINVAL);
    pair_fini(&p);
}

/* Nobody says `continue`, and the time for it all is over. */
static void test_deadline_while_held(void **state)
{
    struct godwit_params params;
    struct pair p;

    hold(&p);
    params = p.params;
    params.deadline_s = 1;
    params.on_timeout = GODWIT_TIMEOUT_CANCEL;
    godwit_source_set_params(p.source, &params);
    pair_expect_source(&p, GODWIT_CANCELED);
    pair_expect_kept(&p);
    pair_fini(&p);
}

static void test_continue_is_not_waited_for(void **state)
{
    struct pair p;

    begin(&p, 100);
    pair_migrate(&p);
    wait_until(pair_source_stats(&p).status == GODWIT_ACTIVE);
    assert_int_equal(godwit_source_continue(p.source), -EINVAL);
    godwit_source_cancel(p.source);
    pair_expect_source(&p, GODWIT_CANCELED);
    pair_expect_kept(&p);
    pair_fini(&p);
}

static void test_cancel_while_held(void **state)
{
    struct pair p;

    hold(&p);
    assert_int_equal(godwit_source_cancel(p.source), 0);
    pair_expect_source(&p, GODWIT_CANCELED);
    pair_expect_kept(&p);
    assert_int_equal(p.from.resumes, 1);
    pair_fini(&p);
}

static void test_destination_goes_while_held(void **state)
{
    struct pair p;

    hold(&p);
    pair_end_sink(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    pair_expect_kept(&p);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds_are_kept),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_auto_converge),
        cmocka_unit_test(test_dirty_limit),
        cmocka_unit_test(test_cancel_frees),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_deadline_cancels),
        cmocka_unit_test(test_deadline_goes_on),
        cmocka_unit_test(test_postcopy_is_refused),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_deadline_while_held),
        cmocka_unit_test(test_continue_is_not_waited_for),
        cmocka_unit_test(test_cancel_while_held),
        cmocka_unit_test(test_destination_goes_while_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
