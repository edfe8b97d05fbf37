/*
 * What is known of a migration as JSON: query-migrate's answer and the record that stays of it.
 * QEMU's names, shapes and units where it has them (its qapi/migration.json, MigrationInfo); what
 * it has not is named alike, with the unit at the end of the name.
 */
#ifndef GODWIT_VMM_MIGRATE_DESCRIBE_H
#define GODWIT_VMM_MIGRATE_DESCRIBE_H

#include <jansson.h>
#include <stdint.h>

#include "godwit/migrate.h"

/* A new reference, {"status": "none"} when no migration was; NULL: no memory. */
json_t *migrate_describe_record(const struct godwit_record *r);
/* How far it is, 0 to 100, by what it knows now: may go back when the guest writes faster. */
uint32_t migrate_describe_progress(const struct godwit_record *r);

#endif
