/*
 * What clients set for migrations: parameters (migrate-set-parameters), in QEMU's names and units
 * where it has them, and what the capabilities switch (migrate_caps.h).  One table, in
 * migrate_params.c, knows each parameter's name, unit, range and place.
 */
#ifndef GODWIT_VMM_MIGRATE_PARAMS_H
#define GODWIT_VMM_MIGRATE_PARAMS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "device/virtio/virtio.h"
#include "godwit/migrate.h"

#define MIGRATE_TEXT_MAX 256 /* NUL included */

struct migrate_settings {
    struct godwit_params engine;
    struct virtio_announce announce;
    char tls_creds[MIGRATE_TEXT_MAX]; /* the id of an -object; "": in the clear */
    char tls_hostname[MIGRATE_TEXT_MAX], tls_authz[MIGRATE_TEXT_MAX];
    bool multifd;       /* off: one lane, whatever engine.lanes says */
    bool events;        /* tell clients by MIGRATION events */
    bool validate_uuid; /* destination: take only the machine of -uuid */
};

void migrate_settings_init(struct migrate_settings *s);
/* What the engine is to be told: its own parameters with the capabilities worked in. */
void migrate_settings_engine(const struct migrate_settings *s, struct godwit_params *out);

/* Takes over what args, an object, names; all of it, or nothing and an error that names the first
 * parameter that is unknown, of the wrong type or out of its range, and the range. */
int migrate_params_set(struct migrate_settings *s, json_t *args, struct err *e);
/* All of them; a new reference, NULL: no memory.  migrate_params_set takes it as it is. */
json_t *migrate_params_query(const struct migrate_settings *s);

#endif
