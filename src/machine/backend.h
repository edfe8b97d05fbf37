/*
 * What a machine's devices are connected to on this host, opened by the monitor and lent to the
 * board: found by the id that -drive or -netdev gave.  The board never opens a path.
 *
 * Kernel and initrd are descriptors too (read with pread, size by fstat, at every boot and reset):
 * files at the source, memfds filled from the stream at a destination, whose host need not have the
 * files.  -1: none.
 */
#ifndef GODWIT_MACHINE_BACKEND_H
#define GODWIT_MACHINE_BACKEND_H

#include "machine/config.h"

struct image; /* block/image.h */
struct tap;   /* device/virtio/tap.h */

struct board_backends {
    int kernel_fd, initrd_fd;
    uint32_t nimages, ntaps;
    struct {
        char id[MACHINE_ID_MAX];
        struct image *image;
    } images[MACHINE_DRIVES_MAX];
    struct {
        char id[MACHINE_ID_MAX];
        struct tap *tap;
    } taps[MACHINE_NICS_MAX];
};

#endif
