/* The names of all that is chosen from a few, the same in logs, QMP and errors. */
#include "godwit/migrate.h"

static const char *const status_names[] = {
    [GODWIT_NONE] = "none",
    [GODWIT_SETUP] = "setup",
    [GODWIT_ACTIVE] = "active",
    [GODWIT_PRE_SWITCHOVER] = "pre-switchover",
    [GODWIT_COMPLETED] = "completed",
    [GODWIT_FAILED] = "failed",
    [GODWIT_CANCELED] = "cancelled",
    [GODWIT_UNRESOLVED] = "unresolved",
};

static const char *const stage_names[] = {
    [GODWIT_STAGE_HELLO] = "hello",     [GODWIT_STAGE_MANIFEST] = "manifest",
    [GODWIT_STAGE_PRECOPY] = "precopy", [GODWIT_STAGE_STOP] = "stop",
    [GODWIT_STAGE_STATE] = "state",     [GODWIT_STAGE_READY] = "ready",
    [GODWIT_STAGE_COMMIT] = "commit",   [GODWIT_STAGE_RUNNING] = "running",
    [GODWIT_STAGE_DONE] = "done",
};

static const char *const compression_names[] = {
    [GODWIT_COMPRESS_NONE] = "none",
    [GODWIT_COMPRESS_LZ4] = "lz4",
    [GODWIT_COMPRESS_ZSTD] = "zstd",
    [GODWIT_COMPRESS_AUTO] = "auto",
};

static const char *const on_timeout_names[] = {
    [GODWIT_TIMEOUT_CONTINUE] = "continue",
    [GODWIT_TIMEOUT_SUSPEND] = "suspend",
    [GODWIT_TIMEOUT_CANCEL] = "cancel",
    [GODWIT_TIMEOUT_POSTCOPY] = "postcopy",
};

static const char *const verified_names[] = {
    [GODWIT_VERIFIED_OFF] = "off",
    [GODWIT_VERIFIED_PENDING] = "pending",
    [GODWIT_VERIFIED_IDENTICAL] = "identical",
    [GODWIT_VERIFIED_DIFFERS] = "differs",
    [GODWIT_VERIFIED_UNKNOWN] = "unknown",
};

static const char *const phase_names[] = {
    [GODWIT_PHASE_PAUSE] = "pause",   [GODWIT_PHASE_DRAIN] = "drain",
    [GODWIT_PHASE_LAST_PAGES] = "last-pages", [GODWIT_PHASE_STATE] = "state",
    [GODWIT_PHASE_COMMIT] = "commit", [GODWIT_PHASE_RESUME] = "resume",
};

#define CHECK_NAMES(list, count)                                                                   \
    _Static_assert(sizeof(list) / sizeof((list)[0]) == (count), "a name for each")

CHECK_NAMES(compression_names, GODWIT_COMPRESS_COUNT);
CHECK_NAMES(on_timeout_names, GODWIT_TIMEOUT_COUNT);
CHECK_NAMES(verified_names, GODWIT_VERIFIED_COUNT);
CHECK_NAMES(phase_names, GODWIT_PHASE_COUNT);
CHECK_NAMES(status_names, GODWIT_STATUS_COUNT);
CHECK_NAMES(stage_names, GODWIT_STAGE_COUNT);

const char *godwit_status_name(enum godwit_status s)
{
    return (unsigned)s < GODWIT_STATUS_COUNT ? status_names[s] : "unknown";
}

const char *godwit_stage_name(enum godwit_stage s)
{
    return (unsigned)s < GODWIT_STAGE_COUNT ? stage_names[s] : "unknown";
}

const char *godwit_compression_name(enum godwit_compression v)
{
    return (unsigned)v < GODWIT_COMPRESS_COUNT ? compression_names[v] : "unknown";
}

const char *godwit_on_timeout_name(enum godwit_on_timeout v)
{
    return (unsigned)v < GODWIT_TIMEOUT_COUNT ? on_timeout_names[v] : "unknown";
}

const char *godwit_verified_name(enum godwit_verified v)
{
    return (unsigned)v < GODWIT_VERIFIED_COUNT ? verified_names[v] : "unknown";
}

const char *godwit_phase_name(enum godwit_phase v)
{
    return (unsigned)v < GODWIT_PHASE_COUNT ? phase_names[v] : "unknown";
}
