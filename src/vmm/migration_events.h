/* The engine's events as QMP events: MIGRATION {status} and MIGRATION_PASS {pass}. */
#ifndef GODWIT_VMM_MIGRATION_EVENTS_H
#define GODWIT_VMM_MIGRATION_EVENTS_H

#include "godwit/migrate.h"

struct monitor;

/* From the engine's thread; sent on the main loop, where `changed` (may be NULL) is then called for
 * a status event. */
void migration_event_post(struct monitor *m, enum godwit_event_kind kind,
                          const struct godwit_stats *stats,
                          void (*changed)(struct monitor *m, enum godwit_status status));

#endif
