/*
 * How much of the dirtying to withhold: every percentage is put through the forecast, and the work
 * that it costs the guest is compared.  A strong throttle for a moment often costs less than a mild
 * one for long; but one that is as good as a pause is not taken where less does about as well.
 */
#ifndef GODWIT_MIGRATE_CONVERGE_CHOICE_H
#define GODWIT_MIGRATE_CONVERGE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/converge.h"

struct converge_goal {
    uint64_t dirty;    /* bytes, now */
    uint64_t limit_ns; /* of the blackout */
    uint64_t left_ns;  /* until the deadline; UINT64_MAX: there is none */
    uint32_t ceiling;  /* percent, at most 99 */
};

struct converge_choice {
    uint32_t percent; /* 0: none reaches the limit */
    uint32_t needed;  /* the least that reaches it, however much is allowed; 0: none */
    double lost_s;    /* seconds of work, at the best that is in time; < 0: none is */
    struct converge_forecast forecast; /* with percent */
};

void converge_choose(const struct converge *c, const struct converge_goal *goal,
                     struct converge_choice *out);
/* Is what is withheld now close enough to the best choice to be left alone? */
bool converge_is_fine(const struct converge *c, const struct converge_goal *goal,
                      const struct converge_choice *best, uint32_t percent);

#endif
