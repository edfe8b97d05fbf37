/*
 * The verdict on an arriving machine: may it run here, on this host, with what this monitor was
 * started with?  Before anything is built and before any page moves; every reason is named.
 */
#ifndef GODWIT_VMM_ACCEPT_H
#define GODWIT_VMM_ACCEPT_H

#include "base/err.h"
#include "machine/config.h"

struct monitor;
struct manifest;

/* On acceptance *config is the machine to build: the manifest's, with this host's back-ends. */
int accept_manifest(struct monitor *m, const struct manifest *manifest,
                    struct machine_config *config, struct err *e);

#endif
