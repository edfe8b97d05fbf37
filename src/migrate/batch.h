/*
 * One PAGES record in the making: pages of one region, told zero from data, gathered as runs and as
 * the iovec that sends them straight from guest memory.  Allocates nothing; belongs to one lane.
 */
#ifndef GODWIT_MIGRATE_BATCH_H
#define GODWIT_MIGRATE_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "godwit/migrate.h"
#include "stream/native/pages.h"

/* 2 MiB: long enough for the channel, short enough for the caches and for a change of pace. */
#define BATCH_PAGES 512U

struct batch {
    const struct godwit_region *region;
    uint32_t nruns;
    uint32_t data_pages, zero_pages;
    struct native_run runs[NATIVE_RUNS_MAX];
    struct iovec iov[1 + NATIVE_RUNS_MAX]; /* [0]: the head */
    int niov;
    uint8_t head[NATIVE_PAGES_HEAD_MAX];
};

void batch_begin(struct batch *b, const struct godwit_region *region);
/* Adds pages [first, end), looking at each; returns the first one for which there was no room. */
uint64_t batch_scan(struct batch *b, uint64_t first, uint64_t end);
static inline bool batch_empty(const struct batch *b)
{
    return b->nruns == 0;
}
/* Writes the head; iov[0..niov) is then the record. Returns its bytes. */
size_t batch_seal(struct batch *b);

#endif
