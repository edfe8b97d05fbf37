/*
 * max-bandwidth: a token bucket that all lanes draw from.  Bytes are handed out in slices of at
 * most 20 ms worth, so that a change of the rate, or an end, is felt at once.
 */
#ifndef GODWIT_MIGRATE_PACE_H
#define GODWIT_MIGRATE_PACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pace {
    atomic_uint_fast64_t rate; /* bytes/s; 0: unlimited */
    pthread_mutex_t lock;      /* guards all below */
    pthread_cond_t changed;
    double tokens; /* bytes that may go now; negative: borrowed */
    uint64_t filled_ns;
    bool stopped;
};

int pace_init(struct pace *p, uint64_t rate); /* 0 or -errno */
void pace_fini(struct pace *p);
/* Any thread; effective for who waits, too. */
void pace_set_rate(struct pace *p, uint64_t rate);
/* How many of `want` bytes may be sent now (at least 1); waits for them. -ECANCELED: stopped. */
ssize_t pace_take(struct pace *p, size_t want);
/* Any thread: everybody leaves pace_take with -ECANCELED, now and later. */
void pace_stop(struct pace *p);

#endif
