/* The names of statuses and stages, the same in logs, QMP and errors. */
#include "godwit/migrate.h"

static const char *const status_names[] = {
    [GODWIT_NONE] = "none",
    [GODWIT_SETUP] = "setup",
    [GODWIT_ACTIVE] = "active",
    [GODWIT_COMPLETED] = "completed",
    [GODWIT_FAILED] = "failed",
    [GODWIT_CANCELED] = "canceled",
    [GODWIT_UNRESOLVED] = "unresolved",
};

static const char *const stage_names[] = {
    [GODWIT_STAGE_HELLO] = "hello",     [GODWIT_STAGE_MANIFEST] = "manifest",
    [GODWIT_STAGE_PRECOPY] = "precopy", [GODWIT_STAGE_STOP] = "stop",
    [GODWIT_STAGE_STATE] = "state",     [GODWIT_STAGE_READY] = "ready",
    [GODWIT_STAGE_COMMIT] = "commit",   [GODWIT_STAGE_RUNNING] = "running",
    [GODWIT_STAGE_DONE] = "done",
};

_Static_assert(sizeof(status_names) / sizeof(status_names[0]) == GODWIT_STATUS_COUNT, "names");
_Static_assert(sizeof(stage_names) / sizeof(stage_names[0]) == GODWIT_STAGE_COUNT, "names");

const char *godwit_status_name(enum godwit_status s)
{
    return (unsigned)s < GODWIT_STATUS_COUNT ? status_names[s] : "unknown";
}

const char *godwit_stage_name(enum godwit_stage s)
{
    return (unsigned)s < GODWIT_STAGE_COUNT ? stage_names[s] : "unknown";
}
