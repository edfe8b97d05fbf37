/*
 * What a verdict is made from: one set of facts about a machine (its manifest says them) and one
 * about the host and the monitor it would go to.  Plain values; pointers are lent for the length of
 * a call.
 */
#ifndef GODWIT_VERDICT_FACTS_H
#define GODWIT_VERDICT_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/leaves.h"

#define VERDICT_ID_MAX 64 /* bytes of an id with its end */

struct verdict_disk {
    char id[VERDICT_ID_MAX]; /* of the -drive */
    uint64_t size;           /* bytes */
    bool readonly;
};

struct verdict_nic {
    char id[VERDICT_ID_MAX]; /* of the -netdev */
    uint8_t mac[6];
    bool mac_set; /* a host that leaves the address to the stream has none */
};

/* One of the machine's devices, by the name -device has for its type ("virtio-blk-pci"). */
struct verdict_device {
    char id[VERDICT_ID_MAX];
    char type[32];
};

struct verdict_machine {
    char arch[16];           /* "x86_64" */
    char board[32];          /* with its version: "q35-1.0" */
    uint32_t stream_version; /* of the stream it comes in */
    uint32_t page_size;      /* bytes */
    uint64_t ram_size;       /* bytes */
    uint32_t vcpus;
    const struct cpu_leaves *cpu; /* what its guest sees; NULL: not compared */
    uint32_t tsc_khz;             /* 0: not compared */
    bool tsc_exact;               /* its guest was promised this very rate (invtsc) */
    const uint32_t *msrs;         /* those that are saved and must be loaded */
    uint32_t nmsrs;
    const struct verdict_disk *disks;
    uint32_t ndisks;
    const struct verdict_nic *nics;
    uint32_t nnics;
    const struct verdict_device *devices;
    uint32_t ndevices;
};

struct verdict_host {
    char arch[16];
    const char *const *boards; /* full names of those the monitor has, NULL at the end */
    uint32_t stream_min, stream_max;
    uint32_t page_size;
    uint64_t ram_max; /* bytes a machine may have here; 0: no bound */
    uint32_t vcpus_max;
    const struct cpu_leaves *cpu; /* what KVM offers; NULL: not compared */
    uint32_t tsc_khz;
    bool tsc_control;           /* KVM scales the TSC to any rate */
    uint32_t tsc_tolerance_ppm; /* how far a rate may be off and still count as the same */
    const uint32_t *msrs;       /* those that can be written here */
    uint32_t nmsrs;
    const struct verdict_disk *disks; /* opened here, by id */
    uint32_t ndisks;
    const struct verdict_nic *nics;
    uint32_t nnics;
    const char *const *devices; /* types the monitor can make, NULL at the end */
};

#endif
