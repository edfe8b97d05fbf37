/*
 * max-bandwidth: a token bucket that all lanes draw from.  Bytes are handed out in slices of 10 ms
 * worth, so that a change of the rate, or an end, is felt at once.
 *
 * Theory.  Tokens flow in at the rate.  Who finds any takes a slice, also when that leaves the
 * bucket owing: over any time t at most rate * t + what was saved up + one slice goes out.  Up to
 * 30 ms worth are saved up, because threads wake late: that is 4 % over a second, and all of the
 * burst that may follow a stall.
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
/* After pace_stop: as before it. */
void pace_restart(struct pace *p);

/* ---- the arithmetic, at a moment of one's choice, with the lock held or without threads ---- */

/* How many of `want` bytes may go at now_ns, or 0: then look again in *wait_ns. */
size_t pace_ask(struct pace *p, size_t want, uint64_t now_ns, uint64_t *wait_ns);
/* The rate is another from now_ns on. */
void pace_change(struct pace *p, uint64_t rate, uint64_t now_ns);

#endif
