/*
 * Kernel and initrd as things that move.  They are copied into memfds at start (so that what is on
 * disk later does not change a reset), sent as regions of their own, and lent to the board as
 * descriptors on both sides: a destination's host need not have the files.
 */
#ifndef GODWIT_VMM_BOOTIMAGE_H
#define GODWIT_VMM_BOOTIMAGE_H

#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"
#include "machine/backend.h"

#define BOOTIMAGE_COUNT 2 /* kernel, initrd */

struct bootimage {
    void *host;      /* mapping, NULL: absent */
    uint64_t size;   /* bytes of content */
    uint64_t mapped; /* bytes, whole pages */
};

/* Replaces *fd (a file) by a memfd with its contents. */
int bootimage_copy(const char *what, int *fd, struct err *e);
/* Maps what the back-ends hold. */
int bootimage_map(const struct board_backends *b, struct bootimage images[BOOTIMAGE_COUNT],
                  struct err *e);
/* Makes and maps empty ones of these sizes for a destination; the memfds go into b. */
int bootimage_make(struct board_backends *b, uint64_t kernel_size, uint64_t initrd_size,
                   struct bootimage images[BOOTIMAGE_COUNT], struct err *e);
/* Cuts the memfds to their real sizes, once their regions are filled. */
int bootimage_seal(struct board_backends *b, const struct bootimage images[BOOTIMAGE_COUNT],
                   struct err *e);
/* Fills regions with ids from first_id on; returns how many. */
uint32_t bootimage_regions(const struct bootimage images[BOOTIMAGE_COUNT],
                           struct godwit_region *regions, uint32_t first_id);
void bootimage_unmap(struct bootimage images[BOOTIMAGE_COUNT]);

#endif
