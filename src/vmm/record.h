/*
 * What stays of a migration on this host: one JSON file a side, records/ID-source.json or
 * ID-destination.json below the durable state folder (vmm/state_dir.h); godwit-record(5) describes it,
 * godwit-draw makes a picture of it.
 */
#ifndef GODWIT_VMM_RECORD_H
#define GODWIT_VMM_RECORD_H

#include "godwit/migrate.h"
#include "machine/config.h"

/* Written anew each time something is known that was not: at the end, and when memory was compared.
 * A reader sees the old file or the new one.  What cannot be written is logged and given up: a machine
 * does not depend on it. */
void record_write(const struct machine_config *machine, const struct godwit_record *r);

#endif
