/*
 * A disk image: a raw regular file or block device, its size, and its locks.
 *
 * Locks are OFD locks on two bytes of the image (high offsets that hold no data):
 *   owner       byte: held (shared when read-only, else exclusive) by whoever may run the machine
 *   reservation byte: held by a destination from the manifest on, so that when the source gives the
 *                     owner byte up no third party can take it first
 * A start takes the reservation, then the owner byte, then drops the reservation; -EAGAIN names the file
 * and says who else may hold it.  A held lock proves that its holder lives; a free one proves nothing.
 * On a block device OFD locks do not reach other hosts: image_lock_reach says so.
 */
#ifndef GODWIT_BLOCK_IMAGE_H
#define GODWIT_BLOCK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct image {
    int fd;
    char path[1024];
    uint64_t size;       /* bytes; whole 512-byte sectors */
    uint32_t block_size; /* logical: 512 or 4096 */
    bool readonly, direct, is_block_device;
    bool can_discard, can_write_zeroes;
    bool owner_held, reservation_held;
};

/* Opens without locking and without reading any data. */
int image_open(const char *path, bool readonly, bool direct, struct image **out, struct err *e);
void image_close(struct image *i); /* NULL is fine; drops the locks */
int image_lock(struct image *i, struct err *e);            /* start of a machine */
int image_reserve(struct image *i, struct err *e);         /* destination: at the manifest */
int image_take_over(struct image *i, struct err *e);       /* destination: owner byte, drop reservation */
void image_release(struct image *i);                       /* drops what is held */
/* A sentence for the person: what these locks guard ("this host and NFSv4 peers", "this host only"). */
const char *image_lock_reach(const struct image *i);
/* After the lock was taken over: drops what this host's page cache may hold stale (buffered mode). */
int image_invalidate_cache(struct image *i, struct err *e);

/* Makes everything written so far stable; nothing to do when read-only.  May take as long as the
 * storage does: never on the main loop. */
int image_flush(struct image *i, struct err *e);

#endif
