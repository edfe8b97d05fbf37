/* The table of migration parameters, and the capabilities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "vmm/migrate_caps.h"
#include "vmm/migrate_params.h"

static int set(struct migrate_settings *s, const char *json, struct err *e)
{
    json_t *args = json_loads(json, 0, NULL);
    int rc;

    assert_non_null(args);
    rc = migrate_params_set(s, args, e);
    json_decref(args);
    return rc;
}

/* Refused with these words, and nothing changed. */
static void assert_refused(const char *json, const char *text, const char *more)
{
    struct migrate_settings s, before;
    struct err e = ERR_INIT;

    migrate_settings_init(&s);
    before = s;
    assert_true(set(&s, json, &e) < 0);
    if (!strstr(e.text, text) || !strstr(e.text, more))
        fail_msg("%s: '%s' says neither '%s' nor '%s'", json, e.text, text, more);
    assert_memory_equal(&s, &before, sizeof(s));
}

static void what_is_queried_can_be_set(void **state)
{
    struct migrate_settings s, before;
    struct err e = ERR_INIT;
    json_t *o;

    migrate_settings_init(&s);
    before = s;
    o = migrate_params_query(&s);
    assert_non_null(o);
    assert_int_equal(migrate_params_set(&s, o, &e), 0);
    assert_memory_equal(&s, &before, sizeof(s));
    json_decref(o);
}

static void each_goes_where_it_belongs(void **state)
{
    struct migrate_settings s;
    struct err e = ERR_INIT;

    migrate_settings_init(&s);
    assert_int_equal(set(&s,
                         "{\"max-bandwidth\": 9223372036854775807, \"multifd-channels\": 7,"
                         "\"vcpu-dirty-limit\": 3, \"verify-ram\": false, \"deadline\": 60,"
                         "\"multifd-compression\": \"zstd\", \"on-timeout\": \"suspend\","
                         "\"announce-rounds\": 2, \"tls-hostname\": \"host-b\"}",
                         &e),
                     0);
    assert_int_equal(s.engine.max_bandwidth, INT64_MAX);
    assert_int_equal(s.engine.lanes, 7);
    assert_int_equal(s.engine.vcpu_dirty_limit, 3 << 20);
    assert_false(s.engine.verify);
    assert_int_equal(s.engine.deadline_s, 60);
    assert_int_equal(s.engine.compression, GODWIT_COMPRESS_ZSTD);
    assert_int_equal(s.engine.on_timeout, GODWIT_TIMEOUT_SUSPEND);
    assert_int_equal(s.announce.rounds, 2);
    assert_string_equal(s.tls_hostname, "host-b");
    assert_int_equal(s.engine.downtime_limit_ms, 100); /* the rest stays */
}

static void refused_with_range(void **state)
{
    char json[600] = "{\"tls-creds\": \"";

    assert_refused("{\"downtime-limit\": 0}", "downtime-limit must be 1 to 2000000 ms", "not 0");
    assert_refused("{\"downtime-limit\": 2000001}", "1 to 2000000 ms", "not 2000001");
    assert_refused("{\"max-bandwidth\": -1}", "max-bandwidth must be 0 to", "not -1");
    assert_refused("{\"multifd-channels\": 65}", "0 to 64", "not 65");
    assert_refused("{\"multifd-compression\": \"zlib\"}", "none, lz4, zstd, auto", "'zlib'");
    assert_refused("{\"on-timeout\": \"postcopy\"}", "no post-copy", "suspend");
    assert_refused("{\"cpu-throttle-initial\": 50, \"max-cpu-throttle\": 40}", "50 %", "40 %");
    assert_refused("{\"announce-initial\": 600}", "550 ms", "600 ms");
    memset(json + strlen(json), 'x', MIGRATE_TEXT_MAX);
    strcat(json, "\"}");
    assert_refused(json, "tls-creds may have 255 bytes", "not 256");
}

static void refused_by_name(void **state)
{
    assert_refused("{\"x-checkpoint-delay\": 1}", "'x-checkpoint-delay'", "unexpected");
    assert_refused("{\"downtime-limit\": \"100\"}", "'downtime-limit'", "integer");
    assert_refused("{\"downtime-limit\": 1.5}", "'downtime-limit'", "integer");
    assert_refused("{\"downtime-limit\": null}", "'downtime-limit'", "integer");
    assert_refused("{\"verify-ram\": 1}", "'verify-ram'", "boolean");
    assert_refused("{\"multifd-compression\": 1}", "'multifd-compression'", "string");
    assert_refused("{\"tls-creds\": false}", "'tls-creds'", "string");
}

static void nothing_changes_when_one_is_bad(void **state)
{
    assert_refused("{\"deadline\": 10, \"max-slowdown\": 100, \"link-timeout\": 500}",
                   "max-slowdown must be 0 to 99 %", "not 100");
}

/* ---- capabilities ---- */

static int set_caps(struct migrate_settings *s, const char *json, bool ring, struct err *e)
{
    json_t *list = json_loads(json, 0, NULL);
    int rc;

    assert_non_null(list);
    rc = migrate_caps_set(s, list, ring, e);
    json_decref(list);
    return rc;
}

static void assert_cap_refused(const char *json, const char *text)
{
    struct migrate_settings s, before;
    struct err e = ERR_INIT;

    migrate_settings_init(&s);
    before = s;
    assert_true(set_caps(&s, json, false, &e) < 0);
    if (!strstr(e.text, text))
        fail_msg("%s: '%s' does not say '%s'", json, e.text, text);
    assert_memory_equal(&s, &before, sizeof(s));
}

static void capabilities_switch(void **state)
{
    struct migrate_settings s;
    struct godwit_params p;
    struct err e = ERR_INIT;

    migrate_settings_init(&s);
    s.engine.lanes = 5;
    migrate_settings_engine(&s, &p);
    assert_int_equal(p.lanes, 5);
    assert_int_equal(set_caps(&s,
                              "[{\"capability\": \"xbzrle\", \"state\": true},"
                              "{\"capability\": \"auto-converge\", \"state\": true},"
                              "{\"capability\": \"dirty-limit\", \"state\": true},"
                              "{\"capability\": \"multifd\", \"state\": false},"
                              "{\"capability\": \"return-path\", \"state\": true},"
                              "{\"capability\": \"postcopy-ram\", \"state\": false}]",
                              true, &e),
                     0);
    migrate_settings_engine(&s, &p);
    assert_true(p.delta && p.auto_converge && p.dirty_limit);
    assert_false(p.pause_before_switchover);
    assert_int_equal(p.lanes, 1);
    assert_int_equal(s.engine.lanes, 5); /* remembered for when it is switched on again */
}

static void capabilities_refused(void **state)
{
    assert_cap_refused("[{\"capability\": \"postcopy-ram\", \"state\": true}]", "postcopy-ram");
    assert_cap_refused("[{\"capability\": \"return-path\", \"state\": false}]", "return-path");
    assert_cap_refused("[{\"capability\": \"dirty-limit\", \"state\": true}]", "dirty-ring-size=");
    assert_cap_refused("[{\"capability\": \"warp\", \"state\": false}]", "no capability 'warp'");
    assert_cap_refused("[{\"capability\": \"events\"}]", "'state'");
    assert_cap_refused("[{\"capability\": \"events\", \"state\": 1}]", "'state'");
    assert_cap_refused("[\"events\"]", "object");
    assert_cap_refused("[{\"capability\": \"xbzrle\", \"state\": true},"
                       "{\"capability\": \"x-colo\", \"state\": true}]",
                       "x-colo");
}

static void capabilities_queried_can_be_set(void **state)
{
    struct migrate_settings s, before;
    struct err e = ERR_INIT;
    json_t *list;

    migrate_settings_init(&s);
    before = s;
    list = migrate_caps_query(&s);
    assert_non_null(list);
    assert_int_equal(json_array_size(list), 8);
    assert_int_equal(migrate_caps_set(&s, list, false, &e), 0);
    assert_memory_equal(&s, &before, sizeof(s));
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_queried_can_be_set),
        cmocka_unit_test(each_goes_where_it_belongs),
        cmocka_unit_test(refused_with_range),
        cmocka_unit_test(refused_by_name),
        cmocka_unit_test(nothing_changes_when_one_is_bad),
        cmocka_unit_test(capabilities_switch),
        cmocka_unit_test(capabilities_refused),
        cmocka_unit_test(capabilities_queried_can_be_set),
    };

    return cmocka_run_group_tests_name("vmm/migrate_params", tests, NULL, NULL);
}
