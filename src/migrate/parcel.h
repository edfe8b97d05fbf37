/*
 * What of a batch does not go as it is: its pages are copied first, so that nobody writes to them
 * any more, compared with what was sent of them before, and packed.  A batch makes up to two
 * records: pages that changed little, as differences, and the others, whole.  Belongs to one lane.
 */
#ifndef GODWIT_MIGRATE_PARCEL_H
#define GODWIT_MIGRATE_PARCEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "migrate/batch.h"
#include "migrate/delta.h"
#include "migrate/digest.h"
#include "migrate/pack.h"
#include "migrate/stats.h"
#include "stream/native/packed.h"

#define PARCEL_RECORDS_MAX 2U /* that one batch becomes */
/* Runs of the batch: in the worst case every other page of its data is a difference. */
#define PARCEL_RUNS_MAX (NATIVE_RUNS_MAX - PACK_PAGES_MAX)

/* One record in the making. */
struct parcel_part {
    uint32_t nruns, pages; /* data pages */
    struct native_run runs[NATIVE_RUNS_MAX];
};

struct parcel {
    struct packer *packer;
    uint32_t region;
    struct parcel_part whole, changed;
    size_t changed_len; /* bytes of `changes` */
    uint8_t head[NATIVE_PACKED_HEAD_MAX];
    uint8_t packed[PACK_BOUND + 8];
    uint8_t changes[PACK_PAGES_MAX * (DELTA_MAX + 2) + 8];
    uint8_t copy[PACK_BOUND]; /* the whole pages, back to back */
};

int parcel_new(struct parcel **out, struct err *e);
void parcel_free(struct parcel *p); /* NULL is fine */

/* Copies a batch of at most PACK_PAGES_MAX data pages and PARCEL_RUNS_MAX runs. delta: NULL or the
 * cache, digest: NULL or where to hash.  What changes in the digest's root. */
uint64_t parcel_fill(struct parcel *p, const struct batch *b, struct delta *delta,
                     struct digest *digest, struct stats *st);
/* The record of the differences into iov[0..2); its bytes, 0: there are none. */
size_t parcel_changed(struct parcel *p, struct iovec iov[2]);
/* The record of the others, and of the zeros; packed by the codec unless that makes it longer: then
 * *packed is 0, else what the pages have become. */
size_t parcel_whole(struct parcel *p, enum godwit_compression codec, uint32_t level,
                    struct iovec iov[2], size_t *packed);

#endif
