/*
 * A migration's record (doc/man/godwit-record.5), read from its file: hostile bytes in, plain numbers
 * out.  Times are in seconds since the migration began, sizes in bytes.
 */
#ifndef GODWIT_CMD_DRAW_STORY_H
#define GODWIT_CMD_DRAW_STORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define STORY_ROUNDS_MAX    256
#define STORY_DECISIONS_MAX 64
#define STORY_STAGES_MAX    16
#define STORY_PHASES        6

struct story_round {
    double start, duration, sent, dirty_rate, throttle;
};

struct story_decision {
    double at;
    char what[64], why[256];
};

struct story_stage {
    char name[24];
    double start, duration;
};

struct story {
    char machine[128], role[16], id[40], status[24], started[40], verified[16], error[256];
    double total, blackout, downtime, predicted_downtime, predicted_total, transferred;
    size_t nrounds, ndecisions, nstages;
    struct story_round rounds[STORY_ROUNDS_MAX];
    struct story_decision decisions[STORY_DECISIONS_MAX];
    struct story_stage stages[STORY_STAGES_MAX];
    double phases[STORY_PHASES]; /* pause, drain, last pages, state, commit, resume */
};

extern const char *const story_phase_names[STORY_PHASES];

/* 0, or -errno with the file and what is wrong with it. */
int story_read(const char *path, struct story *out, struct err *e);

#endif
