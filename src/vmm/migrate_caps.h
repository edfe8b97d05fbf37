/*
 * Migration capabilities (migrate-set-capabilities), by QEMU's names: switches in the settings.
 * What QEMU has and this monitor has not is known by name, and refused when it is switched on.
 */
#ifndef GODWIT_VMM_MIGRATE_CAPS_H
#define GODWIT_VMM_MIGRATE_CAPS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "vmm/migrate_params.h"

/* list: [{"capability": NAME, "state": BOOL}, ...]; all of it or nothing, as migrate_params_set.
 * dirty_ring: whether this monitor tracks dirty pages by ring, so that each vCPU's rate is known.
 */
int migrate_caps_set(struct migrate_settings *s, json_t *list, bool dirty_ring, struct err *e);
/* A list of the same form of those that are offered; a new reference, NULL: no memory. */
json_t *migrate_caps_query(const struct migrate_settings *s);

#endif
