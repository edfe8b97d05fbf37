#include "migrate/handover.h"

#include <stddef.h>

/* A pair of state and event that has no row is illegal. */
struct row {
    int state, event;
    enum handover_action action;
    int next;
};

static const struct row source_rows[] = {
    {SOURCE_OWNS,       SOURCE_STOP,      HANDOVER_NONE,    SOURCE_STOPPED   },
    {SOURCE_OWNS,       SOURCE_FAIL,      HANDOVER_NONE,    SOURCE_KEPT      }, /* it never stopped */

    {SOURCE_STOPPED,    SOURCE_FAIL,      HANDOVER_RESUME,  SOURCE_KEPT      },
    {SOURCE_STOPPED,    SOURCE_COMMIT,    HANDOVER_WAIT,    SOURCE_COMMITTED },

    {SOURCE_COMMITTED,  SOURCE_TIMEOUT,   HANDOVER_WAIT,    SOURCE_UNRESOLVED},
    {SOURCE_COMMITTED,  SOURCE_RUNNING,   HANDOVER_FINISH,  SOURCE_GIVEN     },
    {SOURCE_COMMITTED,  SOURCE_NEVER_RAN, HANDOVER_RECLAIM, SOURCE_RECLAIMING},

    {SOURCE_UNRESOLVED, SOURCE_TIMEOUT,   HANDOVER_NONE,    SOURCE_UNRESOLVED},
    {SOURCE_UNRESOLVED, SOURCE_RUNNING,   HANDOVER_FINISH,  SOURCE_GIVEN     },
    {SOURCE_UNRESOLVED, SOURCE_NEVER_RAN, HANDOVER_RECLAIM, SOURCE_RECLAIMING},
    {SOURCE_UNRESOLVED, SOURCE_WORD_RUN,  HANDOVER_RECLAIM, SOURCE_RECLAIMING},
    {SOURCE_UNRESOLVED, SOURCE_WORD_DROP, HANDOVER_FINISH,  SOURCE_GIVEN     },

    {SOURCE_RECLAIMING, SOURCE_RECLAIMED, HANDOVER_RESUME,  SOURCE_KEPT      },
    {SOURCE_RECLAIMING, SOURCE_FAIL,      HANDOVER_WAIT,    SOURCE_UNRESOLVED}, /* asks again later */
};

static const struct row sink_rows[] = {
    {SINK_EMPTY,      SINK_ARRIVE,    HANDOVER_NONE,    SINK_ARRIVING  },
    {SINK_EMPTY,      SINK_FAIL,      HANDOVER_NONE,    SINK_EMPTY     },
    {SINK_EMPTY,      SINK_LOST,      HANDOVER_NONE,    SINK_EMPTY     },
    {SINK_EMPTY,      SINK_ABORT,     HANDOVER_NONE,    SINK_EMPTY     },

    {SINK_ARRIVING,   SINK_LOADED,    HANDOVER_WAIT,    SINK_READY     },
    {SINK_ARRIVING,   SINK_FAIL,      HANDOVER_DISCARD, SINK_NEVER_RAN },
    {SINK_ARRIVING,   SINK_LOST,      HANDOVER_DISCARD, SINK_NEVER_RAN },
    {SINK_ARRIVING,   SINK_ABORT,     HANDOVER_DISCARD, SINK_NEVER_RAN },

    {SINK_READY,      SINK_LOST,      HANDOVER_WAIT,    SINK_READY     },
    {SINK_READY,      SINK_TIMEOUT,   HANDOVER_WAIT,    SINK_UNRESOLVED},
    {SINK_READY,      SINK_COMMIT,    HANDOVER_RUN,     SINK_STARTING  },
    {SINK_READY,      SINK_ABORT,     HANDOVER_DISCARD, SINK_NEVER_RAN },

    {SINK_UNRESOLVED, SINK_LOST,      HANDOVER_WAIT,    SINK_UNRESOLVED},
    {SINK_UNRESOLVED, SINK_TIMEOUT,   HANDOVER_NONE,    SINK_UNRESOLVED},
    {SINK_UNRESOLVED, SINK_COMMIT,    HANDOVER_RUN,     SINK_STARTING  },
    {SINK_UNRESOLVED, SINK_ABORT,     HANDOVER_DISCARD, SINK_NEVER_RAN },
    {SINK_UNRESOLVED, SINK_WORD_RUN,  HANDOVER_RUN,     SINK_TRYING    },
    {SINK_UNRESOLVED, SINK_WORD_DROP, HANDOVER_DISCARD, SINK_NEVER_RAN },

    {SINK_STARTING,   SINK_RAN,       HANDOVER_NONE,    SINK_RUNNING   },
    {SINK_STARTING,   SINK_FAIL,      HANDOVER_DISCARD, SINK_NEVER_RAN },

    {SINK_TRYING,     SINK_RAN,       HANDOVER_NONE,    SINK_RUNNING   },
    {SINK_TRYING,     SINK_FAIL,      HANDOVER_WAIT,    SINK_UNRESOLVED}, /* maybe the only copy: it stays */

    {SINK_RUNNING,    SINK_COMMIT,    HANDOVER_NONE,    SINK_RUNNING   }, /* said again, answered again */
    {SINK_RUNNING,    SINK_ABORT,     HANDOVER_NONE,    SINK_RUNNING   }, /* too late: the answer says so */
    {SINK_RUNNING,    SINK_LOST,      HANDOVER_NONE,    SINK_RUNNING   },

    {SINK_NEVER_RAN,  SINK_COMMIT,    HANDOVER_NONE,    SINK_NEVER_RAN },
    {SINK_NEVER_RAN,  SINK_ABORT,     HANDOVER_NONE,    SINK_NEVER_RAN },
    {SINK_NEVER_RAN,  SINK_LOST,      HANDOVER_NONE,    SINK_NEVER_RAN },
};

static const struct row *find(const struct row *rows, size_t n, int state, int event)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].state == state && rows[i].event == event)
            return &rows[i];
    return NULL;
}

enum handover_action handover_source(enum source_state *state, enum source_event event)
{
    const struct row *r =
        find(source_rows, sizeof(source_rows) / sizeof(source_rows[0]), (int)*state, (int)event);

    if (!r)
        return HANDOVER_ILLEGAL;
    *state = (enum source_state)r->next;
    return r->action;
}

enum handover_action handover_sink(enum sink_state *state, enum sink_event event)
{
    const struct row *r =
        find(sink_rows, sizeof(sink_rows) / sizeof(sink_rows[0]), (int)*state, (int)event);

    if (!r)
        return HANDOVER_ILLEGAL;
    *state = (enum sink_state)r->next;
    return r->action;
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
