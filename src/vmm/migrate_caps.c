#include "vmm/migrate_caps.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "qmp/command.h"

#define STAGE "migrate"

struct capability {
    const char *name;
    size_t offset; /* of a bool in struct migrate_settings */
};

static const struct capability offered[] = {
    {"xbzrle",                  offsetof(struct migrate_settings, engine.delta)                  },
    {"auto-converge",           offsetof(struct migrate_settings, engine.auto_converge)          },
    {"events",                  offsetof(struct migrate_settings, events)                        },
    {"pause-before-switchover", offsetof(struct migrate_settings, engine.pause_before_switchover)},
    {"multifd",                 offsetof(struct migrate_settings, multifd)                       },
    {"validate-uuid",           offsetof(struct migrate_settings, validate_uuid)                 },
    {"dirty-limit",             offsetof(struct migrate_settings, engine.dirty_limit)            },
};

#define NOFFERED (sizeof(offered) / sizeof(offered[0]))

#define RETURN_PATH "return-path" /* no switch: the handover needs it */

/* QEMU 10.2's others. */
static const char *const not_offered[] = {
    "rdma-pin-all",
    "postcopy-ram",
    "release-ram",
    "postcopy-blocktime",
    "late-block-activate",
    "x-ignore-shared",
    "dirty-bitmaps",
    "background-snapshot",
    "zero-copy-send",
    "postcopy-preempt",
    "switchover-ack",
    "mapped-ram",
    "x-colo",
    "zero-blocks",
    "block",
    "compress",
};

static bool is_on(const struct capability *c, const struct migrate_settings *s)
{
    return *(const bool *)((const char *)s + c->offset);
}

static const struct capability *find(const char *name)
{
    for (size_t i = 0; i < NOFFERED; i++)
        if (!strcmp(offered[i].name, name))
            return &offered[i];
    return NULL;
}

static bool is_not_offered(const char *name)
{
    for (size_t i = 0; i < sizeof(not_offered) / sizeof(not_offered[0]); i++)
        if (!strcmp(not_offered[i], name))
            return true;
    return false;
}

static int set_fixed(const char *name, bool on, struct err *e)
{
    if (!strcmp(name, RETURN_PATH))
        return on ? 0
                  : err_set(e, -EINVAL, STAGE,
                            "return-path cannot be switched off: the destination's answers decide "
                            "where the machine runs");
    if (!is_not_offered(name))
        return err_set(e, -EINVAL, STAGE, "there is no capability '%.100s'", name);
    return on ? err_set(e, -ENOTSUP, STAGE, "capability %s is QEMU's; this monitor has it not",
                        name)
              : 0; /* off it is */
}

static int set(struct migrate_settings *s, json_t *item, bool dirty_ring, struct err *e)
{
    static const struct qmp_arg members[] = {
        {"capability", QMP_TYPE_STRING, true},
        {"state",        QMP_TYPE_BOOL, true},
        {0     }
    };
    const struct capability *c;
    const char *name;
    bool on;
    int rc = json_is_object(item)
                 ? qmp_args_check(members, item, e)
                 : err_set(e, -EINVAL, STAGE, "each of capabilities must be an object");

    if (rc != 0)
        return rc;
    name = json_string_value(json_object_get(item, "capability"));
    on = json_is_true(json_object_get(item, "state"));
    c = find(name);
    if (!c)
        return set_fixed(name, on, e);
    *(bool *)((char *)s + c->offset) = on;
    if (s->engine.dirty_limit && !dirty_ring)
        return err_set(e, -ENOTSUP, STAGE,
                       "dirty-limit needs each vCPU's own dirty rate, which only the dirty ring "
                       "tells: start the monitor with -accel kvm,dirty-ring-size=4096");
    return 0;
}

int migrate_caps_set(struct migrate_settings *s, json_t *list, bool dirty_ring, struct err *e)
{
    struct migrate_settings changed = *s;
    json_t *item;
    size_t i;
    int rc;

    json_array_foreach(list, i, item)
    {
        rc = set(&changed, item, dirty_ring, e);
        if (rc != 0)
            return rc;
    }
    *s = changed;
    return 0;
}

static json_t *state(const char *name, bool on)
{
    return json_pack("{s:s,s:b}", "capability", name, "state", on);
}

json_t *migrate_caps_query(const struct migrate_settings *s)
{
    json_t *a = json_array();
    int rc = a ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < NOFFERED; i++)
        rc = json_array_append_new(a, state(offered[i].name, is_on(&offered[i], s)));
    if (rc == 0)
        rc = json_array_append_new(a, state(RETURN_PATH, true));
    if (rc == 0)
        return a;
    json_decref(a);
    return NULL;
}
