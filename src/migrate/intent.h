/*
 * Convergence by intent: given what is wanted (godwit_params) and what is known (converge.h), what
 * to do after a sync, and why, in words.  No effects here: source_precopy.c carries the plan out,
 * tests play whole migrations of simulated guests through it.
 *
 * The ladder, from the cheapest means to the dearest (doc/convergence.md):
 *
 *     the limit is met      polish while that pays, then switch
 *
 *     it will be met        more rounds
 *
 *     it will not           say so; withhold the least that costs the guest about the least work,
 *                           within the ceiling: max-slowdown, or max-cpu-throttle (auto-converge)
 *
 *     the deadline is over  what on-timeout says
 */
#ifndef GODWIT_MIGRATE_INTENT_H
#define GODWIT_MIGRATE_INTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "godwit/migrate.h"
#include "migrate/converge.h"
#include "migrate/throttle.h"

enum intent_state {
    INTENT_UNKNOWN,        /* too few rounds to tell */
    INTENT_CONVERGING,     /* rounds will do */
    INTENT_NOT_CONVERGING, /* they will not, or not in time */
};

struct intent {
    enum intent_state state;
    struct throttle throttle;
    unsigned judged;   /* syncs above the limit in a row */
    uint32_t percent;  /* of the dirtying that is to be withheld */
    bool holding;      /* vcpu-dirty-limit is in force */
    uint64_t least;    /* bytes: the smallest set since a throttle was tried */
    unsigned stuck;    /* syncs since it became clearly smaller */
    unsigned patience; /* syncs until another one is tried, the last having been futile */
    unsigned futile;   /* times that it was */
    bool late;         /* it was said that the deadline is over */
};

/* What a sync found. */
struct intent_view {
    const struct godwit_params *params;
    uint64_t dirty;       /* bytes */
    uint64_t interval_ns; /* since the sync before; 0: not comparable */
    uint64_t elapsed_ns;  /* since the migration began */
    uint32_t nvcpus;
    bool can_throttle;
};

enum intent_action {
    INTENT_ROUND,  /* send what is dirty */
    INTENT_SWITCH, /* stop the guest */
    INTENT_CANCEL, /* the deadline is over and cancel was asked for */
};

#define INTENT_SAYS_MAX 4

struct intent_say {
    const char *what;
    char why[208];
};

struct intent_plan {
    enum intent_action action;
    bool met;              /* the limit */
    uint64_t predicted_ns; /* the blackout, at a switch now */
    uint64_t total_ns;     /* of the migration; 0: no end is in sight */
    unsigned nsays; /* the last one is about action, unless that is INTENT_ROUND */
    struct intent_say says[INTENT_SAYS_MAX];
};

void intent_init(struct intent *in);
/* Learns from the sync, sets in->throttle (not told yet) and says what to do. */
void intent_judge(struct intent *in, struct converge *c, const struct intent_view *v,
                  struct intent_plan *out);
/* While a round runs, every now and then after throttle_rates: holds vCPUs at vcpu-dirty-limit and
 * heeds parameters that have come down. */
void intent_tick(struct intent *in, const struct godwit_params *p, uint32_t nvcpus);
/* Percent that may be withheld from a vCPU as the parameters are. */
uint32_t intent_ceiling(const struct godwit_params *p);

#endif
