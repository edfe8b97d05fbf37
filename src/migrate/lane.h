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
#include "migrate/sender.h"
#include "migrate/work.h"

struct lane {
    uint32_t index;
    const struct sender_config *config;
    struct work *work;
    const atomic_bool *failed; /* some lane has: no use in going on */
    struct channel *channel;
    struct sender_job job;

    struct batch batch;
    uint64_t records;           /* page records put on the channel in this job */
    struct godwit_lane figures; /* since the migration began */
};

/* Does its share of the job. */
int lane_run(struct lane *l, const struct sender_job *job, struct err *e);

#endif
