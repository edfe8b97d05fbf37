/* The commands that measure how fast a guest writes memory, and that hold it back, in QEMU's units.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/commands.h"
#include "vmm/dirtylimit.h"
#include "vmm/dirtyrate.h"
#include "vmm/monitor.h"

#define STAGE "dirty"
#define MIB   (1U << 20) /* QEMU's "MB" of rates */

/* ---- calc-dirty-rate ---- */

/* *per_unit: how many of the unit are a second. */
static int time_unit(json_t *args, uint32_t *per_unit, struct err *e)
{
    const char *unit = json_string_value(json_object_get(args, "calc-time-unit"));

    *per_unit = 1;
    if (!unit || !strcmp(unit, "second"))
        return 0;
    *per_unit = 1000;
    if (!strcmp(unit, "millisecond"))
        return 0;
    return err_set(e, -EINVAL, STAGE, "calc-time-unit must be second or millisecond, not '%.40s'",
                   unit);
}

static int rate_mode(json_t *args, enum dirtyrate_mode *mode, struct err *e)
{
    const char *name = json_string_value(json_object_get(args, "mode"));

    *mode = DIRTYRATE_PAGE_SAMPLING;
    if (!name)
        return 0;
    for (int i = 0; i < DIRTYRATE_MODE_COUNT; i++) {
        *mode = (enum dirtyrate_mode)i;
        if (!strcmp(name, dirtyrate_mode_name(*mode)))
            return 0;
    }
    return err_set(e, -EINVAL, STAGE,
                   "mode must be page-sampling, dirty-bitmap or dirty-ring, not '%.40s'", name);
}

static uint32_t bounded(json_t *v)
{
    json_int_t n = json_integer_value(v);

    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

int command_calc_dirty_rate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    uint32_t time = bounded(json_object_get(args, "calc-time")), per_unit;
    json_t *samples = json_object_get(args, "sample-pages");
    enum dirtyrate_mode mode;
    int rc = time_unit(args, &per_unit, e);

    if (rc == 0)
        rc = rate_mode(args, &mode, e);
    if (rc == 0 && time % per_unit)
        rc = err_set(e, -EINVAL, STAGE, "calc-time must be full seconds, not %u ms", time);
    if (rc == 0 && samples &&
        (bounded(samples) < DIRTYRATE_SAMPLES_MIN || bounded(samples) > DIRTYRATE_SAMPLES_MAX))
        rc = err_set(e, -ERANGE, STAGE, "sample-pages must be %u to %u, not %lld",
                     DIRTYRATE_SAMPLES_MIN, DIRTYRATE_SAMPLES_MAX,
                     (long long)json_integer_value(samples));
    return rc == 0 ? dirtyrate_start(m, mode, time / per_unit, bounded(samples), e) : rc;
}

static json_t *vcpu_rates(const struct dirtyrate_result *r)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < r->nvcpus; i++)
        json_array_append_new(a, json_pack("{s:I,s:I}", "id", (json_int_t)i, "dirty-rate",
                                           (json_int_t)(r->vcpu_bytes_per_s[i] / MIB)));
    return a;
}

int command_query_dirty_rate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    struct dirtyrate_result r;
    uint32_t per_unit;
    int rc = time_unit(args, &per_unit, e);

    if (rc != 0)
        return rc;
    dirtyrate_query(m, &r);
    *ret =
        json_pack("{s:s,s:s,s:I,s:I,s:s,s:I}", "status", dirtyrate_status_name(r.status), "mode",
                  dirtyrate_mode_name(r.mode), "start-time", (json_int_t)r.start_s, "calc-time",
                  (json_int_t)r.seconds * per_unit, "calc-time-unit",
                  per_unit == 1 ? "second" : "millisecond", "sample-pages", (json_int_t)r.samples);
    if (*ret && r.valid) {
        json_object_set_new(*ret, "dirty-rate", json_integer((json_int_t)(r.bytes_per_s / MIB)));
        if (r.nvcpus)
            json_object_set_new(*ret, "vcpu-dirty-rate", vcpu_rates(&r));
    }
    return *ret ? 0 : -ENOMEM;
}

/* ---- limits ---- */

/* An index that no machine has stays one. */
static uint32_t vcpu_of(json_t *args)
{
    json_t *index = json_object_get(args, "cpu-index");

    if (!index)
        return VM_ALL_VCPUS;
    return bounded(index) < VM_ALL_VCPUS ? bounded(index) : VM_ALL_VCPUS - 1;
}

int command_set_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                 struct err *e)
{
    json_int_t rate = json_integer_value(json_object_get(args, "dirty-rate"));

    if (rate < 1 || rate > MIB)
        return err_set(e, -ERANGE, STAGE, "dirty-rate must be 1 to %u MB/s, not %lld", MIB,
                       (long long)rate);
    return dirtylimit_set(m, vcpu_of(args), (uint64_t)rate * MIB, e);
}

int command_cancel_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                    struct err *e)
{
    return dirtylimit_cancel(m, vcpu_of(args), e);
}

int command_query_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                   struct err *e)
{
    static const uint32_t cap = X86_VCPUS_MAX;
    struct dirtylimit_vcpu *limits = calloc(cap, sizeof(*limits));
    uint32_t n;

    if (!limits)
        return -ENOMEM;
    n = dirtylimit_query(m, limits, cap);
    *ret = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(*ret,
                              json_pack("{s:I,s:I,s:I}", "cpu-index", (json_int_t)limits[i].vcpu,
                                        "limit-rate", (json_int_t)(limits[i].limit / MIB),
                                        "current-rate", (json_int_t)(limits[i].rate / MIB)));
    free(limits);
    return 0;
}
