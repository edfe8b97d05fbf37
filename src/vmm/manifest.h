/*
 * The manifest: what a machine is, as JSON, sent before any page so that the destination can judge
 * it and build it (doc/spec/stream.md, "Manifest").  No path and no descriptor is in it: disks and
 * nics are named by the ids both command lines use.
 */
#ifndef GODWIT_VMM_MANIFEST_H
#define GODWIT_VMM_MANIFEST_H

#include "base/buf.h"
#include "vmm/vm.h"

#define MANIFEST_ARCH     "x86_64"
#define MANIFEST_VERSION  1
#define MANIFEST_BOOT_MAX (1ULL << 30) /* bytes of kernel or initrd */

struct manifest_disk {
    char id[MACHINE_ID_MAX];
    uint64_t size; /* bytes */
    bool readonly;
};

struct manifest {
    struct machine_config config; /* without drives, netdevs and paths */
    struct vm_cpu cpu;
    uint64_t kernel_size, initrd_size; /* bytes; 0: none */
    uint32_t ndisks;
    struct manifest_disk disks[MACHINE_DRIVES_MAX];
};

/* What this machine is. */
int manifest_write(const struct vm *vm, struct buf *out, struct err *e);
/* Hostile text; -EPROTO (malformed), -ENOTSUP (another version or architecture). */
int manifest_parse(const void *data, size_t len, struct manifest *out, struct err *e);

#endif
