/* A migration's record as JSON: units, what is left out, and how far it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vmm/migrate_describe.h"

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct godwit_record));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static json_int_t number(json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);

    if (!json_is_integer(v))
        fail_msg("%s is no integer", name);
    return json_integer_value(v);
}

static double ratio(json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);

    if (!json_is_real(v))
        fail_msg("%s is no real number", name);
    return json_real_value(v);
}

static const char *text(json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "absent";
}

static void none_says_only_that(void **state)
{
    struct godwit_record *r = *state;
    json_t *o = migrate_describe_record(r);

    assert_int_equal(json_object_size(o), 1);
    assert_string_equal(text(o, "status"), "none");
    json_decref(o);
}

static void times_in_their_units(void **state)
{
    struct godwit_record *r = *state;
    json_t *o, *phases, *stage;

    r->stats = (struct godwit_stats){
        .status = GODWIT_COMPLETED,
        .stage = GODWIT_STAGE_DONE,
        .total_ns = 2500 * NS_PER_MS,
        .setup_ns = 3 * NS_PER_MS,
        .downtime_ns = 1700 * NS_PER_US,
        .blackout_ns = 1234 * NS_PER_US,
        .expected_downtime_ns = 2100 * NS_PER_US,
        .stages = {[GODWIT_STAGE_HELLO] = {.duration_ns = 5000},
                   [GODWIT_STAGE_DONE] = {.start_ns = 7000, .duration_ns = 9000}},
        .id = "01020304-0506-0708-090a-0b0c0d0e0f10",
        .verified = GODWIT_VERIFIED_IDENTICAL,
    };
    r->phase_ns[GODWIT_PHASE_LAST_PAGES] = 400 * NS_PER_US;
    r->predicted_downtime_ns = 1500 * NS_PER_US;
    r->predicted_total_ns = 2600 * NS_PER_MS;
    o = migrate_describe_record(r);
    assert_int_equal(number(o, "total-time"), 2500);
    assert_int_equal(number(o, "setup-time"), 3);
    assert_int_equal(number(o, "downtime"), 1);
    assert_int_equal(number(o, "downtime-us"), 1700);
    assert_int_equal(number(o, "blackout-us"), 1234);
    assert_int_equal(number(o, "expected-downtime"), 2);
    phases = json_object_get(o, "phases");
    assert_int_equal(json_object_size(phases), GODWIT_PHASE_COUNT);
    assert_int_equal(number(phases, "last-pages-us"), 400);
    assert_int_equal(number(json_object_get(o, "prediction"), "downtime-us"), 1500);
    assert_int_equal(number(json_object_get(o, "prediction"), "total-ms"), 2600);
    assert_int_equal(json_array_size(json_object_get(o, "stages")), 2);
    stage = json_array_get(json_object_get(o, "stages"), 1);
    assert_string_equal(text(stage, "stage"), "done");
    assert_int_equal(number(stage, "start-us"), 7);
    assert_int_equal(number(stage, "duration-us"), 9);
    assert_string_equal(text(o, "id"), r->stats.id);
    assert_string_equal(text(o, "verified"), "identical");
    assert_null(json_object_get(o, "error-desc"));
    assert_null(json_object_get(o, "differs"));
    assert_null(json_object_get(o, "cpu-throttle-percentage"));
    json_decref(o);
}

static void memory_by_each_way(void **state)
{
    struct godwit_record *r = *state;
    json_t *o, *ram, *delta, *packed;

    r->stats = (struct godwit_stats){
        .status = GODWIT_ACTIVE,
        .stage = GODWIT_STAGE_PRECOPY,
        .total_ns = 2 * NS_PER_S,
        .transferred = 50000000,
        .normal_pages = 1000,
        .zero_pages = 500,
        .packed_pages = 100,
        .packed_bytes = 102400,
        .delta_pages = 10,
        .delta_bytes = 4096,
        .delta_hits = 15,
        .delta_misses = 4,
        .delta_overflows = 1,
        .throttle = 30,
        .error = {.code = -EIO, .stage = "link", .text = "caf\xe9"},
    };
    r->nlanes = 2;
    r->lanes[0] = (struct godwit_lane){.bytes = 7, .compression = GODWIT_COMPRESS_LZ4};
    r->lanes[1] = (struct godwit_lane){.bytes = 5, .blocked_ns = 3 * NS_PER_US};
    o = migrate_describe_record(r);
    ram = json_object_get(o, "ram");
    assert_true(ratio(ram, "mbps") > 199.9 && ratio(ram, "mbps") < 200.1);
    assert_int_equal(number(ram, "pages-per-second"), 750);
    assert_int_equal(number(ram, "normal-bytes"), 4096000);
    assert_int_equal(number(ram, "multifd-bytes"), 12);
    delta = json_object_get(o, "xbzrle-cache");
    assert_true(ratio(delta, "cache-miss-rate") == 0.2);
    assert_true(ratio(delta, "encoding-rate") == 10.0);
    packed = json_object_get(o, "compression");
    assert_true(ratio(packed, "compression-rate") == 4.0);
    assert_int_equal(number(o, "cpu-throttle-percentage"), 30);
    assert_string_equal(text(json_array_get(json_object_get(o, "lanes"), 0), "compression"), "lz4");
    assert_int_equal(number(json_array_get(json_object_get(o, "lanes"), 1), "blocked-us"), 3);
    assert_string_equal(text(o, "error-desc"),
                        "caf?"); /* a peer's bytes are no reason to be mute */
    assert_null(json_object_get(o, "downtime"));
    json_decref(o);
}

static void full_to_the_brim(void **state)
{
    struct godwit_record *r = *state;
    json_t *o;

    r->stats.status = GODWIT_FAILED;
    r->nrounds = GODWIT_ROUNDS_KEPT;
    r->nlanes = GODWIT_LANES_MAX;
    r->ndecisions = GODWIT_DECISIONS_KEPT;
    r->rounds[GODWIT_ROUNDS_KEPT - 1].dirty = 11;
    strcpy(r->decisions[GODWIT_DECISIONS_KEPT - 1].what, "switch");
    r->decisions[GODWIT_DECISIONS_KEPT - 1].at_ns = 12 * NS_PER_MS;
    o = migrate_describe_record(r);
    assert_int_equal(number(json_array_get(json_object_get(o, "rounds"), 255), "dirty-bytes"), 11);
    assert_string_equal(text(json_array_get(json_object_get(o, "decisions"), 63), "what"),
                        "switch");
    assert_int_equal(number(json_array_get(json_object_get(o, "decisions"), 63), "at-ms"), 12);
    assert_int_equal(json_array_size(json_object_get(o, "lanes")), 64);
    json_decref(o);
}

static void progress(void **state)
{
    struct godwit_record *r = *state;
    struct godwit_stats *s = &r->stats;

    assert_int_equal(migrate_describe_progress(r), 0);
    s->status = GODWIT_ACTIVE;
    assert_int_equal(migrate_describe_progress(r), 0); /* 0 of 0 */
    s->normal_pages = 1;
    s->remaining = 3 * (uint64_t)GODWIT_PAGE_SIZE;
    assert_int_equal(migrate_describe_progress(r), 25);
    s->dirty_pages_rate = 1000; /* half as fast as the link: what is left counts twice */
    s->bandwidth = 2000 * (uint64_t)GODWIT_PAGE_SIZE;
    assert_int_equal(migrate_describe_progress(r), 14);
    s->dirty_pages_rate = 100000; /* for ever */
    assert_int_equal(migrate_describe_progress(r), 3);
    s->remaining = 0;
    assert_int_equal(migrate_describe_progress(r), 99); /* there is still the handover */
    s->total_ns = 3 * NS_PER_S;
    r->predicted_total_ns = 4 * NS_PER_S;
    assert_int_equal(migrate_describe_progress(r), 75);
    s->total_ns = 9 * NS_PER_S;
    assert_int_equal(migrate_describe_progress(r), 99);
    s->status = GODWIT_COMPLETED;
    assert_int_equal(migrate_describe_progress(r), 100);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(none_says_only_that),
        TEST(times_in_their_units),
        TEST(memory_by_each_way),
        TEST(full_to_the_brim),
        TEST(progress),
    };

    return cmocka_run_group_tests_name("vmm/migrate_describe", tests, NULL, NULL);
}
