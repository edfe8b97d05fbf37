/*
 * A lane of the destination: reads records off its channel, every length checked first, and places
 * pages straight from the socket.  Belongs to the lane's thread while that runs.
 */
#ifndef GODWIT_MIGRATE_INLET_H
#define GODWIT_MIGRATE_INLET_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "migrate/place.h"
#include "migrate/stats.h"
#include "stream/native/pages.h"
#include "stream/native/words.h"
#include "transport/channel.h"

/* The largest record of a lane that carries no pages. */
#define INLET_SMALL_MAX 65536U
/* Read, and hashed while the cache has them. */
#define INLET_SLICE_PAGES 128U

struct inlet {
    uint32_t index;
    struct place *place;
    struct stats *stats;
    struct channel *channel;
    uint64_t sequence;          /* of the last MARK */
    uint64_t records;           /* page records placed since all lanes have passed a MARK */
    struct godwit_lane figures; /* since the migration began */
    struct native_run runs[NATIVE_RUNS_MAX];
    struct iovec iov[INLET_SLICE_PAGES];
    uint8_t table[NATIVE_PAGES_TABLE(NATIVE_RUNS_MAX)];
    uint8_t small[INLET_SMALL_MAX];
};

/* Reads one record.  0: it was dealt with; 1: *mark, the next in order, was read; -errno. */
int inlet_hear(struct inlet *in, struct native_mark *mark, struct err *e);

#endif
