/*
 * Holds vCPUs to a rate of dirtying memory (set-vcpu-dirty-limit), with or without a migration:
 * four times a second what each has dirtied is read from its dirty ring, and as much of its time is
 * withheld (vm_throttle) as brings it down to its limit.
 *
 * Main loop only.  Only with the dirty ring.  What the migration's engine withholds at the same
 * time is its own: the larger of the two counts.
 */
#ifndef GODWIT_VMM_DIRTYLIMIT_H
#define GODWIT_VMM_DIRTYLIMIT_H

#include <stdint.h>

#include "base/err.h"
#include "vmm/vm.h"

struct monitor;
struct dirtylimit;

struct dirtylimit_vcpu {
    uint32_t vcpu;
    uint64_t limit;    /* bytes/s */
    uint64_t rate;     /* bytes/s, over the last second */
    uint32_t throttle; /* percent withheld for it */
};

/* vcpu: an index or VM_ALL_VCPUS.  bytes_per_s > 0.  -ENOTSUP: no dirty ring; -ENODEV: no machine
 * here; -EINVAL: no such vCPU. */
int dirtylimit_set(struct monitor *m, uint32_t vcpu, uint64_t bytes_per_s, struct err *e);
/* Ends it for one or all; one that has no limit is no error. */
int dirtylimit_cancel(struct monitor *m, uint32_t vcpu, struct err *e);
/* The vCPUs that have a limit, at most cap; returns how many. */
uint32_t dirtylimit_query(struct monitor *m, struct dirtylimit_vcpu *out, uint32_t cap);
/* The machine goes away: every limit ends. */
void dirtylimit_free(struct monitor *m);

#endif
