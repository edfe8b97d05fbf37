/* Commands that only ask.  They answer in every state: of what is gone, from the configuration. */
#include <stdio.h>
#include <string.h>

#include "block/image.h"
#include "vmm/commands.h"
#include "vmm/monitor.h"

static void version_numbers(int v[3])
{
    v[0] = v[1] = v[2] = 0;
    sscanf(GODWIT_VERSION, "%d.%d.%d", &v[0], &v[1], &v[2]);
}

json_t *commands_version(void)
{
    int v[3];

    version_numbers(v);
    return json_pack("{s:{s:i,s:i,s:i},s:s}", "Godwit", "micro", v[2], "minor", v[1], "major",
                     v[0], "package", "");
}

int command_query_version(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    *ret = commands_version();
    return 0;
}

int command_query_status(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                         struct err *e)
{
    const struct monitor *m = opaque;

    *ret = json_pack("{s:b,s:b,s:s}", "running", m->state == RUNSTATE_RUNNING, "singlestep", 0,
                     "status", runstate_name(m->state));
    return 0;
}

int command_query_name(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                       struct err *e)
{
    const struct monitor *m = opaque;

    *ret = m->config.name[0] ? json_pack("{s:s}", "name", m->config.name) : json_object();
    return 0;
}

int command_query_uuid(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                       struct err *e)
{
    const struct monitor *m = opaque;

    *ret = json_pack("{s:s}", "UUID", m->config.uuid);
    return 0;
}

int command_query_kvm(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    *ret = json_pack("{s:b,s:b}", "enabled", 1, "present", 1);
    return 0;
}

int command_query_cpus_fast(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e)
{
    const struct monitor *m = opaque;

    *ret = json_array();
    for (uint32_t i = 0; m->vm && i < m->vm->nvcpus; i++) {
        char path[64];

        snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
        json_array_append_new(
            *ret, json_pack("{s:I,s:I,s:s,s:s,s:{s:I,s:I,s:I}}", "cpu-index", (json_int_t)i,
                            "thread-id", (json_int_t)vm_vcpu_tid(m->vm, i), "qom-path", path,
                            "target", "x86_64", "props", "core-id", (json_int_t)i, "thread-id",
                            (json_int_t)0, "socket-id", (json_int_t)0));
    }
    return 0;
}

static json_t *query_block_image(const struct image *i)
{
    return json_pack("{s:s,s:b,s:s,s:{s:s,s:s,s:I},s:{s:b,s:b}}", "file", i->path, "ro",
                     i->readonly, "drv", "raw", "image", "filename", i->path, "format", "raw",
                     "virtual-size", (json_int_t)i->size, "cache", "direct", i->direct,
                     "writeback", 1);
}

int command_query_block(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                        struct err *e)
{
    const struct monitor *m = opaque;

    *ret = json_array();
    for (uint32_t i = 0; m->state == RUNSTATE_POSTMIGRATE && i < m->config.ndrives; i++)
        json_array_append_new(*ret, json_pack("{s:s,s:b,s:b,s:s}", "device", m->config.drives[i].id,
                                              "removable", 0, "locked", 0, "type", "unknown"));
    for (uint32_t i = 0; i < m->backends.nimages; i++)
        json_array_append_new(
            *ret, json_pack("{s:s,s:b,s:b,s:s,s:o}", "device", m->backends.images[i].id,
                            "removable", 0, "locked", m->backends.images[i].image->owner_held,
                            "type", "unknown", "inserted",
                            query_block_image(m->backends.images[i].image)));
    return 0;
}

int command_query_events(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    static const char *const events[] = {
        "STOP",      "RESUME",         "SHUTDOWN",           "RESET",             "POWERDOWN",
        "MIGRATION", "MIGRATION_PASS", "MIGRATION_DECISION", "MIGRATION_VERIFIED"};

    *ret = json_array();
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        json_array_append_new(*ret, json_pack("{s:s}", "name", events[i]));
    return 0;
}
