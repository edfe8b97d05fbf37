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
#include "wire/record.h"

/* The largest record of a lane that carries no pages. */
#define INLET_SMALL_MAX 65536U
/* Read, and hashed while the cache has them. */
#define INLET_SLICE_PAGES 64U

struct inlet {
    uint32_t index;
    struct place *place;
    struct stats *stats;
    struct channel *channel;
    uint32_t patience_ms;       /* with the rest of a record's head; 0: for ever */
    bool seen;                  /* the record being placed: data is taken from a file, not read */
    uint64_t sequence;          /* of the last MARK */
    uint64_t records;           /* page records placed since all lanes have passed a MARK */
    struct godwit_lane figures; /* since the migration began */
    struct native_run runs[NATIVE_RUNS_MAX];
    struct iovec iov[INLET_SLICE_PAGES];
    uint8_t table[NATIVE_PAGES_TABLE(NATIVE_RUNS_MAX)];
    uint8_t small[INLET_SMALL_MAX];
    struct inlet_packed *packed; /* NULL until the first packed record */
    uint64_t waited_ns;          /* by channels that are gone */
};

/* Zeroed memory becomes an inlet (lane `index`). */
void inlet_init(struct inlet *in, uint32_t index, struct place *place, struct stats *stats);
void inlet_fini(struct inlet *in); /* the channel too */
/* Another channel (owned; NULL: none), the last one is closed. */
void inlet_attach(struct inlet *in, struct channel *channel);
/* Reads one record.  0: it was dealt with; 1: *mark, the next in order, was read; -errno. */
int inlet_hear(struct inlet *in, struct native_mark *mark, struct err *e);

/* ---- inlet_packed.c ---- */

struct inlet_packed;
void inlet_packed_free(struct inlet_packed *p); /* NULL is fine */
int inlet_hear_packed(struct inlet *in, const struct record_header *h, struct err *e);

/* ---- inlet_view.c: memory that is seen ---- */

/* An offer: takes what can be used of it, and says so. */
int inlet_hear_view(struct inlet *in, const uint8_t *body, size_t len, struct err *e);
/* Fills in->iov[0..niov) of the region. */
int inlet_look(struct inlet *in, uint32_t region, int niov, struct err *e);

/* ---- what both kinds of pages need ---- */

int inlet_take(struct inlet *in, void *buf, size_t len, struct err *e);
/* The record's length is known to be right: its pages may take their time. */
void inlet_trust(struct inlet *in);
int inlet_check_region(const struct inlet *in, uint32_t region, struct err *e);
/* All of a record's pages are in their places: zeros too, after this. `change`: in the digest. */
void inlet_placed(struct inlet *in, uint32_t region, uint32_t nruns, uint64_t change);

#endif
