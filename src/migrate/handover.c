#include "migrate/handover.h"

struct step {
    enum handover_action action;
    int next;
};

/* A pair that is not spelled out has next 0: it is illegal. */
#define STEP(act, to)                                                                              \
    {                                                                                              \
        .action = HANDOVER_##act, .next = (to) + 1                                                 \
    }

static const struct step source_steps[SOURCE_STATE_COUNT][SOURCE_EVENT_COUNT] = {
    [SOURCE_OWNS] =
        {
                       [SOURCE_STOP] = STEP(NONE,    SOURCE_STOPPED),
                       [SOURCE_FAIL] = STEP(NONE,                                                           SOURCE_KEPT),  /* it never stopped: nothing to resume */
        },
    [SOURCE_STOPPED] =
        {
                       [SOURCE_FAIL] = STEP(RESUME,                                           SOURCE_KEPT),
                       [SOURCE_COMMIT] = STEP(WAIT,                                                                        SOURCE_COMMITTED),
                       },
    [SOURCE_COMMITTED] =
        {
                       [SOURCE_TIMEOUT] = STEP(WAIT,                            SOURCE_UNRESOLVED),
                       [SOURCE_RUNNING] = STEP(FINISH,                        SOURCE_GIVEN),
                       [SOURCE_NEVER_RAN] = STEP(RECLAIM, SOURCE_RECLAIMING),
                       },
    [SOURCE_UNRESOLVED] =
        {
                       [SOURCE_TIMEOUT] = STEP(NONE,               SOURCE_UNRESOLVED),
                       [SOURCE_RUNNING] = STEP(FINISH,                                                                                                  SOURCE_GIVEN),
                       [SOURCE_NEVER_RAN] = STEP(RECLAIM, SOURCE_RECLAIMING),
                       [SOURCE_WORD_RUN] = STEP(RECLAIM, SOURCE_RECLAIMING),
                       [SOURCE_WORD_DROP] = STEP(FINISH, SOURCE_GIVEN),
                       },
    [SOURCE_RECLAIMING] =
        {
                       [SOURCE_RECLAIMED] = STEP(RESUME, SOURCE_KEPT),
                       [SOURCE_FAIL] = STEP(WAIT,SOURCE_UNRESOLVED),                                                                   /* paused, and asks again later */
        },
};

static const struct step sink_steps[SINK_STATE_COUNT][SINK_EVENT_COUNT] =
    {
        [SINK_EMPTY] =
            {
                          [SINK_ARRIVE] = STEP(NONE,   SINK_ARRIVING),
                          [SINK_FAIL] = STEP(NONE,     SINK_EMPTY),
                          [SINK_LOST] = STEP(NONE,     SINK_EMPTY),
                          [SINK_ABORT] = STEP(NONE, SINK_EMPTY),
                          },
        [SINK_ARRIVING] =
            {
                          [SINK_LOADED] = STEP(WAIT,    SINK_READY),
                          [SINK_FAIL] = STEP(DISCARD,                           SINK_NEVER_RAN),
                          [SINK_LOST] = STEP(DISCARD,   SINK_NEVER_RAN),
                          [SINK_ABORT] = STEP(DISCARD, SINK_NEVER_RAN),
                          },
        [SINK_READY] =
            {
                          [SINK_LOST] = STEP(WAIT,  SINK_READY),
                          [SINK_TIMEOUT] = STEP(WAIT,  SINK_UNRESOLVED),
                          [SINK_COMMIT] = STEP(RUN, SINK_STARTING),
                          [SINK_ABORT] = STEP(DISCARD, SINK_NEVER_RAN),
                          },
        [SINK_UNRESOLVED] =
            {
                          [SINK_LOST] = STEP(WAIT,                           SINK_UNRESOLVED),
                          [SINK_TIMEOUT] = STEP(NONE,     SINK_UNRESOLVED),
                          [SINK_COMMIT] = STEP(RUN,  SINK_STARTING),
                          [SINK_ABORT] = STEP(DISCARD, SINK_NEVER_RAN),
                          [SINK_WORD_RUN] = STEP(RUN, SINK_TRYING),
                          [SINK_WORD_DROP] = STEP(DISCARD, SINK_NEVER_RAN),
                          },
        [SINK_STARTING] =
            {
                          [SINK_RAN] = STEP(NONE,    SINK_RUNNING),
                          [SINK_FAIL] = STEP(DISCARD, SINK_NEVER_RAN),
                          },
        [SINK_TRYING] =
            {
                          [SINK_RAN] = STEP(NONE,     SINK_RUNNING),
                          [SINK_FAIL] = STEP(WAIT,  SINK_UNRESOLVED),  /* this may be the only copy: it stays */
            },
        [SINK_RUNNING] =
            {
                          [SINK_COMMIT] = STEP(NONE, SINK_RUNNING),                        /* repeated: the answer is the same */
                [SINK_ABORT] = STEP(NONE,      SINK_RUNNING),         /* too late: the answer says so */
                [SINK_LOST] = STEP(NONE,                           SINK_RUNNING),
                          },
        [SINK_NEVER_RAN] =
            {
                          [SINK_COMMIT] = STEP(NONE,                           SINK_NEVER_RAN),
                          [SINK_ABORT] = STEP(NONE,      SINK_NEVER_RAN),
                          [SINK_LOST] = STEP(NONE,    SINK_NEVER_RAN),
                          },
};

enum handover_action handover_source(enum source_state *state, enum source_event event)
{
    const struct step *s = &source_steps[*state][event];

    if (!s->next)
        return HANDOVER_ILLEGAL;
    *state = (enum source_state)(s->next - 1);
    return s->action;
}

enum handover_action handover_sink(enum sink_state *state, enum sink_event event)
{
    const struct step *s = &sink_steps[*state][event];

    if (!s->next)
        return HANDOVER_ILLEGAL;
    *state = (enum sink_state)(s->next - 1);
    return s->action;
}

static const char *const source_names[] = {
    [SOURCE_OWNS] = "owns",
    [SOURCE_STOPPED] = "stopped",
    [SOURCE_COMMITTED] = "committed",
    [SOURCE_UNRESOLVED] = "unresolved",
    [SOURCE_RECLAIMING] = "reclaiming",
    [SOURCE_KEPT] = "kept",
    [SOURCE_GIVEN] = "given",
};

static const char *const sink_names[] = {
    [SINK_EMPTY] = "empty",           [SINK_ARRIVING] = "arriving",   [SINK_READY] = "ready",
    [SINK_UNRESOLVED] = "unresolved", [SINK_STARTING] = "starting",   [SINK_TRYING] = "trying",
    [SINK_RUNNING] = "running",       [SINK_NEVER_RAN] = "never-ran",
};

_Static_assert(sizeof(source_names) / sizeof(source_names[0]) == SOURCE_STATE_COUNT, "names");
_Static_assert(sizeof(sink_names) / sizeof(sink_names[0]) == SINK_STATE_COUNT, "names");

const char *handover_source_name(enum source_state s)
{
    return (unsigned)s < SOURCE_STATE_COUNT ? source_names[s] : "unknown";
}

const char *handover_sink_name(enum sink_state s)
{
    return (unsigned)s < SINK_STATE_COUNT ? sink_names[s] : "unknown";
}
