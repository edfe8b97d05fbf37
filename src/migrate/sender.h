/*
 * The source's lanes.  A round is a job: the lanes take chunks of the regions from one cursor, so
 * that none idles while another has work, re-arm the tracking of a chunk, read it, send it.  At the
 * end of a round each lane puts a MARK on its channel; the destination's lanes wait there for each
 * other, which keeps a page's older copy from overtaking its newer one on another lane.
 *
 * The migrate thread fills the bitmaps between jobs; during a job they belong to the lanes.
 */
#ifndef GODWIT_MIGRATE_SENDER_H
#define GODWIT_MIGRATE_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"
#include "migrate/bell.h"
#include "migrate/pace.h"
#include "migrate/stats.h"
#include "transport/channel.h"

struct sender;

struct sender_config {
    const struct godwit_source_ops *ops; /* dirty_clear, next_data */
    void *opaque;
    const struct godwit_region *regions; /* must outlive the sender */
    uint32_t nregions;
    uint32_t lanes;
    struct pace *pace;
    struct stats *stats;
    struct digest *digest; /* NULL: no hashing */
    const struct bell *bell; /* rung when a job is done or a lane failed */
    /* Called on a lane twice a second while there is no job: somebody is awake. */
    void (*idle)(void *arg);
    void *idle_arg;
};

struct sender_job {
    uint64_t sequence; /* of the MARK at its end: 1, 2, ... */
    bool first;        /* round 1: untouched ranges are passed over */
    bool last;         /* the guest is stopped: no tracking to re-arm, nothing comes after */
};

/* Starts the lane threads; channels[0..lanes) are owned from now on, also on failure. */
int sender_new(const struct sender_config *config, struct channel **channels, struct sender **out,
               struct err *e);
/* The pages to send, for the migrate thread between jobs. */
uint64_t *sender_bitmap(struct sender *s, uint32_t region);
void sender_set_timeout(struct sender *s, uint32_t timeout_ms); /* between jobs */
/* Bit per region whose pages the destination takes from the region's file: between jobs. */
void sender_set_seen(struct sender *s, uint64_t seen);
/* Compression, differences, level: between jobs. */
void sender_set_params(struct sender *s, const struct godwit_params *p);
/* Any time: tells the story when the lanes have chosen another compression by themselves. */
void sender_explain(struct sender *s);
void sender_go(struct sender *s, const struct sender_job *job);
bool sender_idle(struct sender *s);
/* 0, or the first failure of a lane. */
int sender_error(struct sender *s, struct err *e);
/* The link was cut during precopy.  Ends the job, closes the channels and waits until no lane runs;
 * the error is forgotten. */
void sender_suspend(struct sender *s);
/* New channels (owned from now on, also on failure).  The destination has passed the mark before
 * the job that was cut and after it has placed records[i] page records of old lane i (of nrecords
 * lanes): what else the job had taken is set in the bitmaps again, for the next job. The marks go
 * on with the sequence of that job.  nrecords 0: it has passed the mark of the last job, so nothing
 * is lost (and the next job has the next sequence). */
int sender_resume(struct sender *s, struct channel **channels, const uint64_t *records,
                  uint32_t nrecords, struct err *e);
/* Any thread: cuts the channels; lanes end their job at once, in error. */
void sender_stop(struct sender *s);
void sender_free(struct sender *s); /* NULL is fine */

#endif
