/* The QMP commands of godwit-vmm: one declarative table (commands.c) over the monitor. */
#ifndef GODWIT_VMM_COMMANDS_H
#define GODWIT_VMM_COMMANDS_H

#include "qmp/command.h"

struct monitor;

struct qmp_table commands_table(struct monitor *m);
/* "version" of the greeting, in StratoVirt's form; a new reference. */
json_t *commands_version(void);

/* commands_query.c */
int command_query_version(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_commands(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_status(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_cpus_fast(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e);
int command_query_block(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_kvm(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_name(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_uuid(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_query_events(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);

/* commands_migrate.c */
int command_migrate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_migrate_incoming(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                             struct err *e);
int command_migrate_cancel(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                           struct err *e);
int command_migrate_continue(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                             struct err *e);
int command_migrate_resolve(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e);
int command_query_migrate(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);
int command_migrate_set_parameters(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                   struct err *e);
int command_query_migrate_parameters(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                     struct err *e);
int command_migrate_set_capabilities(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                     struct err *e);
int command_query_migrate_capabilities(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                       struct err *e);
int command_announce_self(void *m, struct qmp_call *c, json_t *args, json_t **ret, struct err *e);

/* commands_dirty.c */
int command_calc_dirty_rate(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                            struct err *e);
int command_query_dirty_rate(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                             struct err *e);
int command_set_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                 struct err *e);
int command_cancel_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                    struct err *e);
int command_query_vcpu_dirty_limit(void *m, struct qmp_call *c, json_t *args, json_t **ret,
                                   struct err *e);

#endif
