/*
 * What is known about one migration, and what follows from it: how long a blackout would be now,
 * how short one can get, and when.  Pure arithmetic over what rounds and rehearsals measured;
 * intent.h decides with it.  doc/convergence.md explains the model to those who watch it.
 *
 *   blackout = stop + save + last dirty log + send(dirty) + load + handover + one round trip
 *   send(b)  = overhead + b / bandwidth, the first 8 MiB slower by what scattered pages cost
 *              but no more than the latest rounds took that were of that size
 *   dirty(g) = 1 / sqrt(1 / (rate * g)^2 + 1 / set^2): what g seconds of guest time make dirty
 *
 * Guest time is the time the guest was let run: a throttle of 30 % makes 0.7 s of it out of a
 * second. That is why the curve holds under any throttle, and says what another one would do.
 *
 * Every round is a test of the model: it is predicted, measured and learnt from.  The mean
 * deviation is kept as TCP keeps its own, and converge_bound adds twice of it.
 */
#ifndef GODWIT_MIGRATE_CONVERGE_H
#define GODWIT_MIGRATE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

#define CONVERGE_SAMPLES 24
#define CONVERGE_RECENT  4

struct converge_sample {
    double guest_ns, bytes; /* 0: none */
    uint64_t at;            /* which sync it was */
};

struct converge {
    /* The link. */
    uint64_t bandwidth;  /* bytes of pages/s, as measured (a guess until then) */
    bool measured;       /* it is not a guess any more */
    uint64_t cap;        /* max-bandwidth, for rounds; 0: none */
    uint64_t switchover; /* what to count with for the last pages; 0: bandwidth */
    uint64_t rtt_ns;
    double overhead_ns, overhead_dev_ns; /* of a round with hardly anything in it */
    double scatter; /* how much longer small sets take than their share of large ones: >= 1 */
    struct {
        double bytes, net_ns; /* net: without the overhead */
    } recent[CONVERGE_RECENT];
    unsigned nrecent;
    double error; /* mean deviation of predicted from measured, relative */

    /* The pause, without its pages. */
    uint64_t stop_ns, state_ns; /* state: save and load */
    uint64_t sync_ns;           /* the last dirty log */

    /* The guest. */
    /* The latest of each length: from 1 ms on by powers of two. */
    struct converge_sample samples[CONVERGE_SAMPLES];
    uint64_t syncs;
    double rate; /* bytes per second of guest time, of a set that was just cleared */
    double set;  /* bytes that are dirtied again and again; 0: no end of it was seen */

    uint64_t last_dirty; /* what the sync before found; 0 at first */
    unsigned polished;   /* rounds taken although the limit was met */
};

/* state_cost_ns: stop, save and load as the monitor guesses them. */
void converge_init(struct converge *c, uint64_t state_cost_ns);

/* ---- what was measured ---- */

/* A rehearsal. */
void converge_rehearsed(struct converge *c, uint64_t stop_ns, uint64_t save_ns, uint64_t load_ns);
/* A round with `bytes` of pages took ns, from its start until the destination had them all. */
void converge_sent(struct converge *c, uint64_t bytes, uint64_t ns);
/* A sync found `dirty` bytes; the one before was interval_ns ago, since when `withheld` (0 .. 1) of
 * the guest's dirtying was held back.  interval_ns 0: it says nothing about the guest. */
void converge_found(struct converge *c, uint64_t dirty, uint64_t interval_ns, double withheld);

/* ---- what follows ---- */

/* The blackout, were the guest stopped now that so much is dirty; and what it will hardly exceed.
 */
uint64_t converge_predict(const struct converge *c, uint64_t dirty);
uint64_t converge_bound(const struct converge *c, uint64_t dirty);
/* The part of it that no rounds make smaller. */
uint64_t converge_floor(const struct converge *c);
/* A round over so much. */
uint64_t converge_round_ns(const struct converge *c, uint64_t dirty);
/* What the guest makes dirty in so much time. */
uint64_t converge_dirtied(const struct converge *c, uint64_t ns, double withheld);
/* Bytes/s that it dirties over such a time. */
uint64_t converge_dirty_rate(const struct converge *c, uint64_t ns, double withheld);
/* The limit is met; would one more round make the blackout clearly shorter at next to no cost? */
bool converge_worth_polishing(struct converge *c, uint64_t dirty, double withheld);

struct converge_forecast {
    bool reached;         /* the limit, in a sensible number of rounds */
    unsigned rounds;      /* to come */
    uint64_t ns;          /* until the guest runs at the destination; with reached only */
    uint64_t blackout_ns; /* then; or the shortest that can be counted upon */
};

/* Plays the rounds to come if so much of the dirtying is withheld from now on. */
void converge_forecast(const struct converge *c, uint64_t dirty, double withheld, uint64_t limit_ns,
                       struct converge_forecast *out);

#endif
