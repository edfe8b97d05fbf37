/*
 * What the machine of this monitor is doing, in the words of query-status, and which moves from one
 * to the next are legal.
 */
#ifndef GODWIT_VMM_RUNSTATE_H
#define GODWIT_VMM_RUNSTATE_H

#include <stdbool.h>

enum runstate {
    RUNSTATE_PRELAUNCH,       /* -S: built, never ran */
    RUNSTATE_INMIGRATE,       /* waits for a machine, or one is arriving */
    RUNSTATE_RUNNING,
    RUNSTATE_PAUSED,
    RUNSTATE_FINISH_MIGRATE,  /* source: stopped for the last pages; nobody may touch it */
    RUNSTATE_POSTMIGRATE,     /* source: runs elsewhere; only questions are answered */
    RUNSTATE_UNRESOLVED,      /* paused, and who runs is not known here */
    RUNSTATE_SHUTDOWN,        /* powered off (-no-shutdown) */
    RUNSTATE_INTERNAL_ERROR,  /* a vCPU could not go on */
    RUNSTATE_COUNT
};

const char *runstate_name(enum runstate s); /* "prelaunch", "inmigrate", ... */
bool runstate_may_follow(enum runstate from, enum runstate to);

#endif
