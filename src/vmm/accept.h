/*
 * The verdict on an arriving machine: may it run here, on this host, with what this monitor was
 * started with?  Before anything is built and before any page moves; every reason is named.
 */
#ifndef GODWIT_VMM_ACCEPT_H
#define GODWIT_VMM_ACCEPT_H

#include <stdbool.h>

#include "base/err.h"
#include "machine/config.h"

struct monitor;
struct manifest;

/* On acceptance *config is the machine to build: the manifest's, with this host's back-ends.  On the
 * engine's thread; validate_uuid: the capability of that name. */
int accept_manifest(struct monitor *m, bool validate_uuid, const struct manifest *manifest,
                    struct machine_config *config, struct err *e);

#endif
