/*
 * The two sets of facts a verdict is made from: the manifest's words, and this host as it is now.
 * What they point to lives as long as the struct.
 */
#ifndef GODWIT_VMM_ACCEPT_FACTS_H
#define GODWIT_VMM_ACCEPT_FACTS_H

#include "base/err.h"
#include "machine/config.h"
#include "verdict/facts.h"

struct monitor;
struct manifest;

struct accept_facts {
    struct verdict_machine machine;
    struct verdict_host host;
    struct cpu_leaves machine_cpu, host_cpu;
    struct verdict_disk machine_disks[MACHINE_DRIVES_MAX], host_disks[MACHINE_DRIVES_MAX];
    struct verdict_nic machine_nics[MACHINE_NICS_MAX], host_nics[MACHINE_NICS_MAX];
    struct verdict_device machine_devices[MACHINE_DEVICES_MAX];
    const char *boards[2];
};

/* Asks KVM what this host offers: -errno where it cannot be used at all. */
int accept_facts_gather(const struct monitor *m, const struct manifest *manifest,
                        struct accept_facts *f, struct err *e);

/* What KVM offers on this host does not change while the process lives. It takes a virtual machine to
 * find out, so it is asked once, best before a source waits for the verdict.  Any thread. */
int accept_facts_prepare(struct err *e);

#endif
