/*
 * Flushing disks while the guest still runs, so that the flush inside the stop finds little to do.
 *
 * fdatasync cannot be given up once it hangs, so it runs on a thread of its own over duplicates of the
 * descriptors, and the caller waits only as long as it likes.
 */
#ifndef GODWIT_VMM_FLUSH_H
#define GODWIT_VMM_FLUSH_H

#include <stdatomic.h>
#include <stdint.h>

#include "machine/backend.h"

/* Returns when all writable images are flushed, after limit_ns, or soon after *cancel (may be NULL)
 * became true; what is still under way then goes on by itself.  Failures are the disks' own to see. */
void flush_images(const struct board_backends *b, uint64_t limit_ns, const atomic_bool *cancel);

#endif
