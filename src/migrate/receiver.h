/*
 * The destination's lanes: each reads its channel and places pages where they belong, straight from
 * the socket, every length checked first.  At a MARK a lane waits until all lanes have passed the
 * same one (see sender.h).  Pages that are zero and were never written stay untouched, so that they
 * are not allocated.
 *
 * The lanes end by themselves after the last MARK, which has to be the same on all of them, or at
 * the first error, or by receiver_stop.
 */
#ifndef GODWIT_MIGRATE_RECEIVER_H
#define GODWIT_MIGRATE_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"
#include "migrate/bell.h"
#include "migrate/stats.h"
#include "transport/channel.h"

struct receiver;

struct receiver_config {
    const struct godwit_region *regions; /* must outlive the receiver; all host pointers set */
    uint32_t nregions;
    uint32_t lanes;
    struct stats *stats;
    struct digest *digest; /* NULL: no hashing */
    void (*dense)(void *opaque, uint32_t region, uint64_t first, uint64_t n); /* or NULL */
    void *opaque;
    uint32_t link_timeout_ms; /* for the rest of a record that has begun to come; 0: for ever */
    const struct bell *bell; /* rung at every barrier passed and at the first error */
};

/* channels[0..lanes) are owned from now on, also on failure. */
int receiver_new(const struct receiver_config *config, struct channel **channels,
                 struct receiver **out, struct err *e);
/* The highest MARK that all lanes have passed. */
uint64_t receiver_passed(struct receiver *r);
/* 0: the lanes have ended, all of them with this MARK; it waits for nobody.  -EPROTO: they have
 * not, so pages might still come. */
int receiver_ended(struct receiver *r, uint64_t sequence, struct err *e);
/* The link was cut during precopy.  Ends and joins the lanes, forgets the error; everything placed
 * stays.  *passed: the last mark all lanes passed; records[i]: page records that lane i has placed
 * since then. */
void receiver_suspend(struct receiver *r, uint64_t *passed, uint64_t records[GODWIT_LANES_MAX]);
/* New channels (owned, also on failure); the next mark is passed + 1. */
int receiver_resume(struct receiver *r, struct channel **channels, struct err *e);
int receiver_error(struct receiver *r, struct err *e);
/* Any thread. */
void receiver_stop(struct receiver *r);
void receiver_free(struct receiver *r); /* NULL is fine */

#endif
