/*
 * A lane of the source: its channel, and one pass over a job's chunks.  Re-arms the tracking of a
 * chunk, reads its pages, sends them, and puts the MARK at the end.
 *
 * Theory of operation.  Pages go straight from guest memory to the channel (batch.h), unless they
 * are compressed or sent as differences: then they are copied first (parcel.h), so that what is
 * hashed, remembered and sent is the same, whatever the guest does meanwhile.  Without a copy a
 * page may change between its hash and its way into the socket, or while it goes: then it is dirty,
 * since its tracking was re-armed before, and it will be hashed and sent once more.
 *
 * All of it belongs to the lane's thread during a job, and to the migrate thread between jobs.
 */
#ifndef GODWIT_MIGRATE_LANE_H
#define GODWIT_MIGRATE_LANE_H

#include <stdatomic.h>

#include "migrate/batch.h"
#include "migrate/delta.h"
#include "migrate/pack.h"
#include "migrate/parcel.h"
#include "migrate/sender.h"
#include "migrate/work.h"

/* What the lanes have in common; constant during a job. */
struct lane_share {
    const struct sender_config *config;
    struct work work;
    struct sender_job job;
    uint64_t seen; /* bit per region whose pages need not be sent (view.h) */
    enum godwit_compression compression; /* as wanted, AUTO too */
    uint32_t zstd_level;
    struct delta *delta; /* NULL: every page goes whole */
    atomic_bool failed;  /* some lane has: no use in going on */
};

struct lane {
    uint32_t index;
    struct lane_share *share;
    struct channel *channel;

    struct batch batch;
    enum godwit_compression codec; /* of the batch */
    struct pack_choice choice;
    atomic_uint_fast64_t said; /* the choice as others may read it: lane_choice */
    struct parcel *parcel;
    uint64_t records;           /* page records begun in this job */
    uint64_t blocked_ns;        /* by max-bandwidth, since the migration began, */
    uint64_t waited_ns;         /* and by channels that are gone */
    struct godwit_lane figures; /* since the migration began */
};

/* Zeroed memory becomes a lane; on failure the channel is still the caller's. */
int lane_init(struct lane *l, uint32_t index, struct lane_share *share, struct channel *channel,
              struct err *e);
void lane_fini(struct lane *l); /* the channel too; never initialised: fine */
/* Another channel (owned; NULL: none), the last one is closed. */
void lane_attach(struct lane *l, struct channel *channel);
/* Does its share of the job. */
int lane_run(struct lane *l, struct err *e);

/* What compression the lane has chosen by itself, and why. Any thread. */
struct lane_choice {
    enum godwit_compression codec;
    uint32_t link, speed; /* MB/s: what the channel takes, what the codec packs (NONE: 0) */
    uint32_t percent;     /* of their size that packed pages have */
};
void lane_choice(struct lane *l, struct lane_choice *out);

/* ---- lane_send.c: from a batch to the channel ---- */

/* An empty batch for this region, of the size that suits how it will go. */
void lane_begin(struct lane *l, const struct godwit_region *region);
/* Sends what is in the batch, and begins the next. */
int lane_flush(struct lane *l, struct err *e);
/* At most so many records will carry what is in the batch. */
uint32_t lane_pending(const struct lane *l);
int lane_mark(struct lane *l, struct err *e);

#endif
