/* The migration commands, in QEMU's words and units. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/announce.h"
#include "vmm/commands.h"
#include "vmm/incoming.h"
#include "vmm/migrate_caps.h"
#include "vmm/migrate_describe.h"
#include "vmm/monitor.h"
#include "vmm/outgoing.h"

#define STAGE "migrate"

static const char *text_of(json_t *args, const char *name)
{
    return json_string_value(json_object_get(args, name));
}

/* ---- the course of it ---- */

int command_migrate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return outgoing_start(m, text_of(args, "uri"), e);
}

int command_migrate_incoming(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return incoming_start(m, text_of(args, "uri"), e);
}

int command_migrate_cancel(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return outgoing_cancel(m, e);
}

/* QEMU has the status that is left said once more, so that a late command does no harm. */
int command_migrate_continue(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    if (strcmp(text_of(args, "state"), godwit_status_name(GODWIT_PRE_SWITCHOVER)) != 0)
        return err_set(e, -EINVAL, STAGE, "state must be pre-switchover, not '%.40s'",
                       text_of(args, "state"));
    return outgoing_continue(m, e);
}

/* The person says where the machine shall run; this monitor is one of the two. */
int command_migrate_resolve(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e)
{
    struct monitor *m = opaque;
    const char *winner = text_of(args, "winner");
    bool source = !strcmp(winner, "source");

    if (!source && strcmp(winner, "destination") != 0)
        return err_set(e, -EINVAL, STAGE, "winner must be source or destination, not '%.40s'",
                       winner);
    return m->outgoing ? outgoing_resolve(m, source, e) : incoming_resolve(m, !source, e);
}

/* ---- what is known of it ---- */

/* What would refuse a migrate command now, unless that is a migration under way. */
static void put_blocked(struct monitor *m, json_t *o)
{
    struct err e = ERR_INIT;

    if (!outgoing_is_active(m->outgoing) && outgoing_check_start(m, &e) != 0)
        json_object_set_new(o, "blocked-reasons", json_pack("[o]", qmp_text(e.text)));
}

/* A client never sees it go back, whatever the guest does. */
static void put_progress(struct monitor *m, const struct godwit_record *r, json_t *o)
{
    uint32_t now = migrate_describe_progress(r);

    if (strcmp(m->progress_id, r->stats.id) != 0 || now > m->progress)
        m->progress = now;
    memcpy(m->progress_id, r->stats.id, sizeof(m->progress_id));
    json_object_set_new(o, "progress", json_integer(m->progress));
}

int command_query_migrate(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                          struct err *e)
{
    struct monitor *m = opaque;
    struct godwit_record *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    if (m->outgoing)
        outgoing_record(m->outgoing, r);
    else if (m->incoming)
        incoming_record(m->incoming, r);
    *ret = migrate_describe_record(r);
    if (*ret && r->stats.status != GODWIT_NONE) {
        put_progress(m, r, *ret);
        json_object_set_new(json_object_get(*ret, "xbzrle-cache"), "cache-size",
                            json_integer((json_int_t)m->params.delta_cache));
    }
    if (*ret)
        put_blocked(m, *ret);
    free(r);
    return *ret ? 0 : -ENOMEM;
}

/* ---- parameters and capabilities ---- */

int command_migrate_set_parameters(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                                   struct err *e)
{
    struct monitor *m = opaque;
    struct migrate_settings s = m->settings;
    int rc = migrate_params_set(&s, args, e);

    if (rc == 0)
        monitor_set_settings(m, &s);
    return rc;
}

int command_query_migrate_parameters(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                                     struct err *e)
{
    const struct monitor *m = opaque;

    *ret = migrate_params_query(&m->settings);
    return *ret ? 0 : -ENOMEM;
}

int command_migrate_set_capabilities(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                                     struct err *e)
{
    struct monitor *m = opaque;
    struct migrate_settings s = m->settings;
    int rc =
        migrate_caps_set(&s, json_object_get(args, "capabilities"), m->options->dirty_ring != 0, e);

    if (rc == 0)
        monitor_set_settings(m, &s);
    return rc;
}

int command_query_migrate_capabilities(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                                       struct err *e)
{
    const struct monitor *m = opaque;

    *ret = migrate_caps_query(&m->settings);
    return *ret ? 0 : -ENOMEM;
}

/* ---- where the machine's cards are ---- */

/* The parameters' schedule, but for what this command says. */
static int announce_schedule(const struct migrate_settings *usual, json_t *args,
                             struct virtio_announce *out, struct err *e)
{
    static const char *const names[][2] = {
        {"initial", "announce-initial"},
        {"max",     "announce-max"    },
        {"rounds",  "announce-rounds" },
        {"step",    "announce-step"   }
    };
    struct migrate_settings s = *usual;
    json_t *given = json_object();
    int rc = given ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *v = json_object_get(args, names[i][0]);

        if (v && json_object_set(given, names[i][1], v) != 0)
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = migrate_params_set(&s, given, e);
    json_decref(given);
    *out = s.announce;
    return rc;
}

static int announce_check_cards(const struct vm *vm, json_t *names, struct err *e)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        if (!json_is_string(name))
            return err_set(e, -EINVAL, STAGE, "interfaces must be a list of strings");
        if (!announce_knows(vm, json_string_value(name)))
            return err_set(e, -ENODEV, STAGE,
                           "interfaces: no network card of this machine has id or netdev '%.60s'",
                           json_string_value(name));
    }
    return 0;
}

int command_announce_self(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                          struct err *e)
{
    struct monitor *m = opaque;
    json_t *names = json_object_get(args, "interfaces"), *name;
    struct virtio_announce when;
    size_t i;
    int rc = monitor_check_mine(m, "announce", e);

    if (rc == 0)
        rc = announce_schedule(&m->settings, args, &when, e);
    if (rc == 0)
        rc = announce_check_cards(m->vm, names, e);
    if (rc != 0)
        return rc;
    if (!names)
        announce_self(m->vm, &when);
    json_array_foreach(names, i, name) announce_card(m->vm, json_string_value(name), &when);
    return 0;
}
