/*
 * Differences (xbzrle): a cache of pages as they were sent last, and what has changed in one since.
 * One cache for all lanes: a page may go by any lane in any round.  Sets of 4, least recently used
 * out first; a lock for every few sets.  Only what the destination is known to have may be the base
 * of a difference: delta_forget when a link was cut.
 *
 * A difference is a list of (bytes that are the same, bytes that are not, these bytes), the numbers
 * in LEB128, in at most DELTA_MAX bytes: a page that changed more goes whole.  Pages are compared
 * by words, and runs of changed words trimmed to the bytes that changed: a gap of a few bytes is
 * not worth the numbers.  All functions but new and free may be called by any thread.
 */
#ifndef GODWIT_MIGRATE_DELTA_H
#define GODWIT_MIGRATE_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"

#define DELTA_MAX 2048U

struct delta;

/* bytes: what the cached pages take in all; at least one set. */
int delta_new(uint64_t bytes, struct delta **out, struct err *e);
void delta_free(struct delta *d); /* NULL is fine */
void delta_forget(struct delta *d);

enum delta_result {
    DELTA_MISS,     /* was not there; is now */
    DELTA_SAME,     /* nothing changed: *len is 0, the empty difference */
    DELTA_FOUND,    /* *len bytes of difference in out */
    DELTA_OVERFLOW, /* changed too much; the cache has the new page */
};

/* bytes is a copy that nobody writes to, and what is sent.  After the call the cache holds it. */
enum delta_result delta_encode(struct delta *d, uint32_t region, uint64_t page, const void *bytes,
                               uint8_t out[DELTA_MAX], size_t *len);
/* A page of zeros is sent as such: forget it. */
void delta_drop(struct delta *d, uint32_t region, uint64_t page);

/* Hostile bytes onto a page, in place; all of them or -EPROTO (the page may be half changed). */
int delta_apply(void *page, const uint8_t *delta, size_t len, struct err *e);

#endif
