/*
 * What the two files of a machine that leaves share: outgoing.c starts and ends a migration on the
 * main loop, outgoing_ops.c is what the engine calls while it runs.
 */
#ifndef GODWIT_VMM_OUTGOING_OPS_H
#define GODWIT_VMM_OUTGOING_OPS_H

#include "godwit/migrate.h"
#include "vmm/bootimage.h"
#include "vmm/journal.h"
#include "vmm/runstate.h"
#include "vmm/vm.h"

struct monitor;
struct tls_object;

struct outgoing {
    struct monitor *m;
    struct vm *vm;         /* the machine that moves; valid until finish, but for its devices: */
    bool released;         /* they are gone, and the monitor knows of no machine any more */
    struct guest_mem *mem; /* its RAM, until finish */
    struct godwit_source *source;
    struct tls_object *tls; /* held; NULL: in the clear */
    struct journal journal;
    struct bootimage boot[BOOTIMAGE_COUNT];
    struct godwit_region regions[1 + BOOTIMAGE_COUNT];
    uint32_t nregions;
    enum runstate before; /* the stop */
    uint8_t token[GODWIT_TOKEN_SIZE];
    char peer[JOURNAL_PEER_SIZE];
    bool recorded;                 /* its record has been written since its last word */
    atomic_bool cancelling;        /* what waits on the engine's thread gives up */
    struct vm_dirty_since dirtied; /* up to the last dirty_rates */
    uint64_t dirtied_pages[X86_VCPUS_MAX];
};

extern const struct godwit_source_ops outgoing_ops;

#endif
