/*
 * The engine's events as QMP events, all with the migration's id:
 *
 *   MIGRATION {status}             MIGRATION_DECISION {what, why, at-ms}
 *   MIGRATION_PASS {pass}          MIGRATION_VERIFIED {verified, differs}
 *
 * Sent while the capability `events` is on; logged in any case.
 */
#ifndef GODWIT_VMM_MIGRATION_EVENTS_H
#define GODWIT_VMM_MIGRATION_EVENTS_H

#include <stdbool.h>

#include "godwit/migrate.h"

struct monitor;

/* From the engine's thread, of m->outgoing (is_source) or m->incoming; sent on the main loop, where
 * `changed` (may be NULL) is then called for a status and for the verdict on memory. */
void migration_event_post(struct monitor *m, bool is_source, enum godwit_event_kind kind,
                          const struct godwit_stats *stats,
                          void (*changed)(struct monitor *m, enum godwit_status status));

/* Is it a word after which the migration's record is written anew?  Any thread. */
bool migration_event_ends(enum godwit_event_kind kind, enum godwit_status status);

#endif
