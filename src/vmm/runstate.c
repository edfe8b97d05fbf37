#include "vmm/runstate.h"

#include <stdint.h>

#define TO(s) (1U << RUNSTATE_##s)

static const struct {
    const char *name;
    uint32_t next;
} runstates[] = {
    [RUNSTATE_PRELAUNCH] = {"prelaunch", TO(RUNNING) | TO(FINISH_MIGRATE) | TO(SHUTDOWN)},
    [RUNSTATE_INMIGRATE] = {"inmigrate", TO(RUNNING) | TO(PAUSED) | TO(UNRESOLVED)},
    [RUNSTATE_RUNNING] = {"running", TO(PAUSED) | TO(FINISH_MIGRATE) | TO(SHUTDOWN) |
                                         TO(INTERNAL_ERROR)},
    [RUNSTATE_PAUSED] = {"paused", TO(RUNNING) | TO(FINISH_MIGRATE) | TO(SHUTDOWN) |
                                       TO(PRELAUNCH)},
    [RUNSTATE_FINISH_MIGRATE] = {"finish-migrate", TO(RUNNING) | TO(PAUSED) | TO(PRELAUNCH) |
                                                       TO(SHUTDOWN) | TO(INTERNAL_ERROR) |
                                                       TO(POSTMIGRATE) | TO(UNRESOLVED)},
    [RUNSTATE_POSTMIGRATE] = {"postmigrate", 0},
    [RUNSTATE_UNRESOLVED] = {"unresolved", TO(RUNNING) | TO(PAUSED) | TO(PRELAUNCH) |
                                               TO(SHUTDOWN) | TO(INTERNAL_ERROR) |
                                               TO(POSTMIGRATE) | TO(INMIGRATE)},
    [RUNSTATE_SHUTDOWN] = {"shutdown", TO(PAUSED) | TO(RUNNING) | TO(FINISH_MIGRATE)},
    [RUNSTATE_INTERNAL_ERROR] = {"internal-error", TO(PAUSED) | TO(RUNNING) | TO(SHUTDOWN)},
};

_Static_assert(sizeof(runstates) / sizeof(runstates[0]) == RUNSTATE_COUNT,
               "every run state has a name and its followers");

const char *runstate_name(enum runstate s)
{
    return s < RUNSTATE_COUNT ? runstates[s].name : "?";
}

bool runstate_may_follow(enum runstate from, enum runstate to)
{
    return from == to || (runstates[from].next & (1U << to));
}
