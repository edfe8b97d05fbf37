#include "vmm/migrate_params.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define STAGE "migrate"

/* ---- the table ---- */

enum param_kind { PARAM_NUMBER, PARAM_BOOL, PARAM_CHOICE, PARAM_TEXT };

struct param {
    const char *name;
    enum param_kind kind;
    const char *unit;  /* for the error; "": a mere number */
    uint64_t min, max; /* NUMBER: in `unit`; CHOICE: max is how many there are */
    uint64_t scale;    /* NUMBER: what is kept is so many times what clients say */
    const char *(*choice)(unsigned i);
    size_t offset, size; /* in struct migrate_settings */
};

static const char *compression_choice(unsigned i)
{
    return godwit_compression_name((enum godwit_compression)i);
}

static const char *on_timeout_choice(unsigned i)
{
    return godwit_on_timeout_name((enum godwit_on_timeout)i);
}

#define PLACE(member)                                                                              \
    .offset = offsetof(struct migrate_settings, member),                                           \
    .size = sizeof(((struct migrate_settings *)0)->member)
#define SCALED(name_, unit_, min_, max_, scale_, member)                                           \
    {                                                                                              \
        .name = (name_), .kind = PARAM_NUMBER, .unit = (unit_), .min = (min_), .max = (max_),      \
        .scale = (scale_), PLACE(member)                                                           \
    }
#define NUMBER(name, unit, min, max, member) SCALED(name, unit, min, max, 1, member)
#define BOOL(name_, member)                                                                        \
    {                                                                                              \
        .name = (name_), .kind = PARAM_BOOL, PLACE(member)                                         \
    }
#define CHOICE(name_, choice_, count, member)                                                      \
    {                                                                                              \
        .name = (name_), .kind = PARAM_CHOICE, .choice = (choice_), .max = (count), PLACE(member)  \
    }

#define TEXT(name_, member)                                                                        \
    {                                                                                              \
        .name = (name_), .kind = PARAM_TEXT, PLACE(member)                                         \
    }

#define TIMEOUT_MIN 100     /* ms: below it a busy host is taken for a dead one */
#define TIMEOUT_MAX 3600000 /* ms */

static const struct param params[] = {
    /* the link */
    NUMBER("max-bandwidth", "bytes/s", 0, INT64_MAX, engine.max_bandwidth),
    NUMBER("avail-switchover-bandwidth", "bytes/s", 0, INT64_MAX, engine.switchover_bandwidth),
    NUMBER("multifd-channels", "", 0, GODWIT_LANES_MAX, engine.lanes),
    NUMBER("link-timeout", "ms", TIMEOUT_MIN, TIMEOUT_MAX, engine.link_timeout_ms),
    NUMBER("network-timeout", "ms", TIMEOUT_MIN, TIMEOUT_MAX, engine.network_timeout_ms),
    NUMBER("ready-timeout", "ms", TIMEOUT_MIN, TIMEOUT_MAX, engine.ready_timeout_ms),
    NUMBER("handover-timeout", "ms", TIMEOUT_MIN, TIMEOUT_MAX, engine.handover_timeout_ms),
    TEXT("tls-creds", tls_creds),
    TEXT("tls-hostname", tls_hostname),
    TEXT("tls-authz", tls_authz),
    /* the data path */
    CHOICE("multifd-compression", compression_choice, GODWIT_COMPRESS_COUNT, engine.compression),
    NUMBER("multifd-zstd-level", "", 1, 20, engine.zstd_level),
    NUMBER("xbzrle-cache-size", "bytes", 1U << 16, 1ULL << 40, engine.delta_cache),
    BOOL("verify-ram", engine.verify),
    /* intent */
    NUMBER("downtime-limit", "ms", 1, 2000000, engine.downtime_limit_ms),
    NUMBER("deadline", "s", 0, 31536000, engine.deadline_s),
    CHOICE("on-timeout", on_timeout_choice, GODWIT_TIMEOUT_COUNT, engine.on_timeout),
    NUMBER("max-slowdown", "%", 0, 99, engine.max_slowdown),
    NUMBER("cpu-throttle-initial", "%", 1, 99, engine.throttle_initial),
    NUMBER("cpu-throttle-increment", "%", 1, 99, engine.throttle_increment),
    NUMBER("max-cpu-throttle", "%", 1, 99, engine.throttle_max),
    SCALED("vcpu-dirty-limit", "MB/s", 1, 1U << 20, 1U << 20, engine.vcpu_dirty_limit),
    /* after it */
    NUMBER("announce-initial", "ms", 1, 100000, announce.initial_ms),
    NUMBER("announce-max", "ms", 1, 100000, announce.max_ms),
    NUMBER("announce-rounds", "", 0, 1000, announce.rounds),
    NUMBER("announce-step", "ms", 0, 10000, announce.step_ms),
};

#define NPARAMS (sizeof(params) / sizeof(params[0]))

/* ---- one parameter ---- */

static const struct param *find(const char *name)
{
    for (size_t i = 0; i < NPARAMS; i++)
        if (!strcmp(params[i].name, name))
            return &params[i];
    return NULL;
}

/* Numbers, choices and switches: the sizes in the table are those of the members, 1, 4 or 8. */
static uint64_t load(const struct param *p, const struct migrate_settings *s)
{
    const void *at = (const char *)s + p->offset;
    uint64_t large;
    uint32_t small;

    if (p->size == sizeof(bool))
        return *(const bool *)at;
    if (p->size == sizeof(small)) {
        memcpy(&small, at, sizeof(small));
        return small;
    }
    memcpy(&large, at, sizeof(large));
    return large;
}

static void store(const struct param *p, struct migrate_settings *s, uint64_t v)
{
    void *at = (char *)s + p->offset;
    uint32_t small = (uint32_t)v;

    if (p->size == sizeof(bool))
        *(bool *)at = v != 0;
    else if (p->size == sizeof(small))
        memcpy(at, &small, sizeof(small));
    else
        memcpy(at, &v, sizeof(v));
}

static int wrong_type(const struct param *p, const char *expected, struct err *e)
{
    return err_set(e, -EINVAL, STAGE, "Invalid parameter type for '%s', expected: %s", p->name,
                   expected);
}

static int set_number(const struct param *p, struct migrate_settings *s, json_t *v, struct err *e)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v))
        return wrong_type(p, "integer", e);
    if (n < 0 || (uint64_t)n < p->min || (uint64_t)n > p->max)
        return err_set(e, -ERANGE, STAGE, "%s must be %" PRIu64 " to %" PRIu64 "%s%s, not %lld",
                       p->name, p->min, p->max, p->unit[0] ? " " : "", p->unit, (long long)n);
    store(p, s, (uint64_t)n * p->scale);
    return 0;
}

static int set_choice(const struct param *p, struct migrate_settings *s, json_t *v, struct err *e)
{
    const char *word = json_string_value(v);
    char all[128] = "";

    if (!word)
        return wrong_type(p, "string", e);
    for (unsigned i = 0; i < p->max; i++) {
        if (!strcmp(p->choice(i), word)) {
            store(p, s, i);
            return 0;
        }
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", p->choice(i));
    }
    return err_set(e, -EINVAL, STAGE, "%s must be one of %s, not '%.40s'", p->name, all, word);
}

static int set_bool(const struct param *p, struct migrate_settings *s, json_t *v, struct err *e)
{
    if (!json_is_boolean(v))
        return wrong_type(p, "boolean", e);
    store(p, s, json_is_true(v));
    return 0;
}

/* null unsets, as in QEMU.  jansson admits no NUL inside a string. */
static int set_text(const struct param *p, struct migrate_settings *s, json_t *v, struct err *e)
{
    const char *text = json_is_null(v) ? "" : json_string_value(v);

    if (!text)
        return wrong_type(p, "string", e);
    if (strlen(text) >= p->size)
        return err_set(e, -ERANGE, STAGE, "%s may have %zu bytes, not %zu", p->name, p->size - 1,
                       strlen(text));
    memcpy((char *)s + p->offset, text, strlen(text) + 1);
    return 0;
}

static int set(const struct param *p, struct migrate_settings *s, json_t *v, struct err *e)
{
    switch (p->kind) {
    case PARAM_NUMBER:
        return set_number(p, s, v, e);
    case PARAM_CHOICE:
        return set_choice(p, s, v, e);
    case PARAM_TEXT:
        return set_text(p, s, v, e);
    case PARAM_BOOL:
        break;
    }
    return set_bool(p, s, v, e);
}

static json_t *get(const struct param *p, const struct migrate_settings *s)
{
    switch (p->kind) {
    case PARAM_NUMBER:
        return json_integer((json_int_t)(load(p, s) / p->scale));
    case PARAM_CHOICE:
        return json_string(p->choice((unsigned)load(p, s)));
    case PARAM_TEXT:
        return json_string((const char *)s + p->offset);
    case PARAM_BOOL:
        break;
    }
    return json_boolean(load(p, s) != 0);
}

/* ---- all of them ---- */

/* What each alone may be and together may not. */
static int check(const struct migrate_settings *s, struct err *e)
{
    const struct godwit_params *p = &s->engine;

    if (p->on_timeout == GODWIT_TIMEOUT_POSTCOPY)
        return err_set(e, -ENOTSUP, STAGE,
                       "on-timeout: there is no post-copy yet; continue, suspend or cancel");
    if (p->throttle_initial > p->throttle_max)
        return err_set(e, -ERANGE, STAGE,
                       "max-cpu-throttle (%u %%) must not be below cpu-throttle-initial (%u %%)",
                       p->throttle_max, p->throttle_initial);
    if (s->tls_authz[0])
        return err_set(e, -ENOTSUP, STAGE, "tls-authz: there are no authz objects here");
    if (s->announce.initial_ms > s->announce.max_ms)
        return err_set(e, -ERANGE, STAGE,
                       "announce-max (%u ms) must not be below announce-initial (%u ms)",
                       s->announce.max_ms, s->announce.initial_ms);
    return 0;
}

void migrate_settings_init(struct migrate_settings *s)
{
    *s = (struct migrate_settings){
        .engine = GODWIT_PARAMS_DEFAULT,
        .announce = VIRTIO_ANNOUNCE_DEFAULT,
        .multifd = true,
        .events = true,
    };
}

void migrate_settings_engine(const struct migrate_settings *s, struct godwit_params *out)
{
    *out = s->engine;
    if (!s->multifd)
        out->lanes = 1;
}

int migrate_params_set(struct migrate_settings *s, json_t *args, struct err *e)
{
    struct migrate_settings changed = *s;
    const char *name;
    json_t *v;
    int rc = 0;

    json_object_foreach(args, name, v)
    {
        const struct param *p = find(name);

        rc = p ? set(p, &changed, v, e)
               : err_set(e, -EINVAL, STAGE, "Parameter '%.100s' is unexpected", name);
        if (rc != 0)
            return rc;
    }
    rc = check(&changed, e);
    if (rc == 0)
        *s = changed;
    return rc;
}

json_t *migrate_params_query(const struct migrate_settings *s)
{
    json_t *o = json_object();

    for (size_t i = 0; o && i < NPARAMS; i++) {
        if (json_object_set_new(o, params[i].name, get(&params[i], s)) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}
