#include "vmm/commands.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/fdset.h"
#include "vmm/monitor.h"
#include "vmm/tls_creds.h"

static int command_nothing(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return 0;
}

static int command_stop(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return monitor_stop(m, e);
}

static int command_cont(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    return monitor_cont(m, e);
}

static int command_system_reset(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                struct err *e)
{
    return monitor_reset(m, e);
}

static int command_system_powerdown(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                    struct err *e)
{
    return monitor_powerdown(m, e);
}

static int command_quit(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    monitor_quit(m, "host-qmp-quit", false);
    return 0;
}

static int command_getfd(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                         struct err *e)
{
    struct monitor *m = opaque;
    const char *name = json_string_value(json_object_get(args, "fdname"));
    int fd = qmp_call_take_fd(c), rc;

    if (fd < 0)
        return err_set(e, -EINVAL, "qmp",
                       "getfd %s: no file descriptor came with the command (SCM_RIGHTS)", name);
    rc = fdset_put(m->fds, name, fd);
    if (rc == 0)
        return 0;
    close(fd);
    return err_set_errno(e, rc, "qmp", "getfd %s: cannot keep the descriptor", name);
}

static int command_object_add(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                              struct err *e)
{
    return tls_creds_add(((struct monitor *)opaque)->tls_creds, args, e);
}

static int command_object_del(void *opaque, struct qmp_call *c, json_t *args, json_t **ret,
                              struct err *e)
{
    return tls_creds_del(((struct monitor *)opaque)->tls_creds, args, e);
}

static const struct qmp_arg args_object_del[] = {{"id", QMP_TYPE_STRING, true}, {0}};
static const struct qmp_arg args_getfd[] = {{"fdname", QMP_TYPE_STRING, true}, {0}};
/* QEMU's optional arguments that only its human monitor or old tools send are taken and ignored. */
static const struct qmp_arg args_capabilities[] = {{"enable", QMP_TYPE_ARRAY, false}, {0}};
static const struct qmp_arg args_migrate[] = {{"uri", QMP_TYPE_STRING, true},
                                              {"detach", QMP_TYPE_BOOL, false},
                                              {0}};
static const struct qmp_arg args_migrate_incoming[] = {{"uri", QMP_TYPE_STRING, true}, {0}};
static const struct qmp_arg args_migrate_continue[] = {{"state", QMP_TYPE_STRING, true}, {0}};
static const struct qmp_arg args_migrate_resolve[] = {{"winner", QMP_TYPE_STRING, true}, {0}};
static const struct qmp_arg args_migrate_capabilities[] = {{"capabilities", QMP_TYPE_ARRAY, true},
                                                           {0}};
/* id tells QEMU's concurrent announcements apart; here each card has one, which a new one ends. */
static const struct qmp_arg args_announce_self[] = {
    {"initial", QMP_TYPE_UINT, false},     {"max", QMP_TYPE_UINT, false},
    {"rounds", QMP_TYPE_UINT, false},      {"step", QMP_TYPE_UINT, false},
    {"interfaces", QMP_TYPE_ARRAY, false}, {"id", QMP_TYPE_STRING, false},
    {0}};

static const struct qmp_arg args_calc_dirty_rate[] = {{"calc-time", QMP_TYPE_UINT, true},
                                                      {"calc-time-unit", QMP_TYPE_STRING, false},
                                                      {"sample-pages", QMP_TYPE_UINT, false},
                                                      {"mode", QMP_TYPE_STRING, false},
                                                      {0}};
static const struct qmp_arg args_query_dirty_rate[] = {{"calc-time-unit", QMP_TYPE_STRING, false},
                                                       {0}};
static const struct qmp_arg args_set_dirty_limit[] = {{"cpu-index", QMP_TYPE_UINT, false},
                                                      {"dirty-rate", QMP_TYPE_UINT, true},
                                                      {0}};
static const struct qmp_arg args_cancel_dirty_limit[] = {{"cpu-index", QMP_TYPE_UINT, false}, {0}};

static const struct qmp_command commands[] = {
    {"qmp_capabilities", command_nothing, args_capabilities},
    {"query-version", command_query_version, NULL},
    {"query-commands", command_query_commands, NULL},
    {"query-events", command_query_events, NULL},
    {"query-status", command_query_status, NULL},
    {"query-name", command_query_name, NULL},
    {"query-uuid", command_query_uuid, NULL},
    {"query-kvm", command_query_kvm, NULL},
    {"query-cpus-fast", command_query_cpus_fast, NULL},
    {"query-block", command_query_block, NULL},
    {"getfd", command_getfd, args_getfd},
    {"object-add", command_object_add, qmp_args_any},
    {"object-del", command_object_del, args_object_del},
    {"stop", command_stop, NULL},
    {"cont", command_cont, NULL},
    {"quit", command_quit, NULL},
    {"system_powerdown", command_system_powerdown, NULL},
    {"system_reset", command_system_reset, NULL},
    {"migrate", command_migrate, args_migrate},
    {"migrate-incoming", command_migrate_incoming, args_migrate_incoming},
    {"migrate_cancel", command_migrate_cancel, NULL},
    {"migrate-continue", command_migrate_continue, args_migrate_continue},
    {"migrate-resolve", command_migrate_resolve, args_migrate_resolve},
    {"query-migrate", command_query_migrate, NULL},
    {"migrate-set-parameters", command_migrate_set_parameters, qmp_args_any},
    {"query-migrate-parameters", command_query_migrate_parameters, NULL},
    {"migrate-set-capabilities", command_migrate_set_capabilities, args_migrate_capabilities},
    {"query-migrate-capabilities", command_query_migrate_capabilities, NULL},
    {"announce-self", command_announce_self, args_announce_self},
    {"calc-dirty-rate", command_calc_dirty_rate, args_calc_dirty_rate},
    {"query-dirty-rate", command_query_dirty_rate, args_query_dirty_rate},
    {"set-vcpu-dirty-limit", command_set_vcpu_dirty_limit, args_set_dirty_limit},
    {"cancel-vcpu-dirty-limit", command_cancel_vcpu_dirty_limit, args_cancel_dirty_limit},
    {"query-vcpu-dirty-limit", command_query_vcpu_dirty_limit, NULL},
};

struct qmp_table commands_table(struct monitor *m)
{
    return (struct qmp_table){
        .commands = commands, .n = sizeof(commands) / sizeof(commands[0]), .opaque = m};
}

int command_query_commands(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e)
{
    *ret = json_array();
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        json_array_append_new(*ret, json_pack("{s:s}", "name", commands[i].name));
    return 0;
}
