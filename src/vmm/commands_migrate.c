/* The migration commands, in QEMU's words and units. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "vmm/commands.h"
#include "vmm/incoming.h"
#include "vmm/monitor.h"
#include "vmm/outgoing.h"

int command_migrate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return outgoing_start(m, json_string_value(json_object_get(args, "uri")), e);
}

int command_migrate_incoming(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                             struct err *e)
{
    return incoming_start(m, json_string_value(json_object_get(args, "uri")), e);
}

int command_migrate_cancel(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return outgoing_cancel(m, e);
}

int command_migrate_resolve(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e)
{
    struct monitor *m = opaque;
    bool run = json_is_true(json_object_get(args, "run"));

    return m->outgoing ? outgoing_resolve(m, run, e) : incoming_resolve(m, run, e);
}

static json_t *migrate_ram(const struct godwit_stats *s)
{
    uint64_t ns = s->total_ns ? s->total_ns : 1;
    double mbps = (double)s->transferred * 8000.0 / (double)ns;
    json_t *o = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "transferred", (json_int_t)s->transferred,
        "remaining", (json_int_t)s->remaining, "total", (json_int_t)s->total, "duplicate",
        (json_int_t)s->zero_pages, "skipped", (json_int_t)s->skipped_pages, "normal",
        (json_int_t)s->normal_pages, "normal-bytes",
        (json_int_t)(s->normal_pages * GODWIT_PAGE_SIZE), "page-size",
        (json_int_t)GODWIT_PAGE_SIZE, "mbps", mbps);

    json_object_set_new(o, "pages-per-second",
                        json_integer((json_int_t)((double)s->normal_pages * 1e9 / (double)ns)));
    json_object_set_new(o, "dirty-pages-rate", json_integer((json_int_t)s->dirty_pages_rate));
    json_object_set_new(o, "dirty-sync-count", json_integer((json_int_t)s->rounds));
    json_object_set_new(o, "precopy-bytes", json_integer((json_int_t)s->precopy_bytes));
    json_object_set_new(o, "downtime-bytes", json_integer((json_int_t)s->downtime_bytes));
    json_object_set_new(o, "multifd-bytes", json_integer((json_int_t)s->transferred));
    json_object_set_new(o, "postcopy-bytes", json_integer(0));
    json_object_set_new(o, "postcopy-requests", json_integer(0));
    return o;
}

/* Beyond QEMU: each stage with when it began and how long it took, in microseconds. */
static json_t *migrate_stages(const struct godwit_stats *s)
{
    json_t *a = json_array();

    for (int i = 0; i < GODWIT_STAGE_COUNT; i++)
        if (s->stages[i].start_ns || s->stages[i].duration_ns)
            json_array_append_new(
                a, json_pack("{s:s,s:I,s:I}", "stage", godwit_stage_name((enum godwit_stage)i),
                             "start-us", (json_int_t)(s->stages[i].start_ns / NS_PER_US),
                             "duration-us", (json_int_t)(s->stages[i].duration_ns / NS_PER_US)));
    return a;
}

static json_t *migrate_describe(const struct godwit_stats *s)
{
    json_t *o = json_pack("{s:s}", "status", godwit_status_name(s->status));

    if (s->status == GODWIT_NONE)
        return o;
    json_object_set_new(o, "total-time", json_integer((json_int_t)(s->total_ns / NS_PER_MS)));
    json_object_set_new(o, "setup-time", json_integer((json_int_t)(s->setup_ns / NS_PER_MS)));
    json_object_set_new(o, "stage", json_string(godwit_stage_name(s->stage)));
    if (s->status == GODWIT_COMPLETED) {
        json_object_set_new(o, "downtime",
                            json_integer((json_int_t)(s->downtime_ns / NS_PER_MS)));
        json_object_set_new(o, "downtime-us",
                            json_integer((json_int_t)(s->downtime_ns / NS_PER_US)));
    }
    json_object_set_new(o, "expected-downtime",
                        json_integer((json_int_t)(s->expected_downtime_ns / NS_PER_MS)));
    json_object_set_new(o, "bandwidth", json_integer((json_int_t)s->bandwidth));
    json_object_set_new(o, "channels", json_integer((json_int_t)s->lanes));
    json_object_set_new(o, "state-bytes", json_integer((json_int_t)s->state_bytes));
    json_object_set_new(o, "stages", migrate_stages(s));
    json_object_set_new(o, "ram", migrate_ram(s));
    if (s->error.code) {
        json_object_set_new(o, "error-desc", qmp_text(s->error.text));
        json_object_set_new(o, "error-stage", qmp_text(s->error.stage));
    }
    return o;
}

int command_query_migrate(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                          struct err *e)
{
    struct monitor *m = opaque;
    struct godwit_stats s = {.status = GODWIT_NONE};

    if (m->outgoing)
        outgoing_stats(m->outgoing, &s);
    else if (m->incoming)
        incoming_stats(m->incoming, &s);
    *ret = migrate_describe(&s);
    return *ret ? 0 : -ENOMEM;
}

/* ---- parameters ---- */

static int parameter_u32(json_t *args, const char *name, uint32_t min, uint32_t max,
                         uint32_t *out, struct err *e)
{
    json_t *v = json_object_get(args, name);

    if (!v)
        return 0;
    if (json_integer_value(v) < min || json_integer_value(v) > max)
        return err_set(e, -ERANGE, "migrate", "%s must be %u to %u, not %lld", name, min, max,
                       (long long)json_integer_value(v));
    *out = (uint32_t)json_integer_value(v);
    return 0;
}

int command_migrate_set_parameters(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                                   struct err *e)
{
    struct monitor *m = opaque;
    struct godwit_params p = m->params;
    json_t *bandwidth = json_object_get(args, "max-bandwidth");
    int rc = parameter_u32(args, "downtime-limit", 1, 2000000, &p.downtime_limit_ms, e);

    if (rc == 0)
        rc = parameter_u32(args, "multifd-channels", 1, GODWIT_LANES_MAX, &p.lanes, e);
    if (rc == 0)
        rc = parameter_u32(args, "link-timeout", 100, 3600000, &p.link_timeout_ms, e);
    if (rc == 0)
        rc = parameter_u32(args, "ready-timeout", 100, 3600000, &p.ready_timeout_ms, e);
    if (rc == 0)
        rc = parameter_u32(args, "handover-timeout", 100, 3600000, &p.handover_timeout_ms, e);
    if (rc != 0)
        return rc;
    if (bandwidth)
        p.max_bandwidth = (uint64_t)json_integer_value(bandwidth);
    m->params = p;
    outgoing_params_changed(m);
    incoming_params_changed(m);
    return 0;
}

int command_query_migrate_parameters(void *opaque, struct qmp_call *c, json_t *args,
                                     json_t **ret, struct err *e)
{
    const struct godwit_params *p = &((struct monitor *)opaque)->params;

    *ret = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "downtime-limit",
                     (json_int_t)p->downtime_limit_ms, "max-bandwidth",
                     (json_int_t)p->max_bandwidth, "multifd-channels", (json_int_t)p->lanes,
                     "link-timeout", (json_int_t)p->link_timeout_ms, "ready-timeout",
                     (json_int_t)p->ready_timeout_ms, "handover-timeout",
                     (json_int_t)p->handover_timeout_ms);
    return 0;
}
