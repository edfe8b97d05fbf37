/*
 * Prints the handover's tables as Promela, so that what SPIN proves is what the engine does:
 * src/migrate/handover.c is the only place where the rows are written down.
 *
 *   rows [STATE EVENT ACTION NEXT]...
 *
 * Rows given as arguments take the place of the table's own: mistakes that SPIN must find.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "migrate/handover.h"

/* The compiler sees to it that the names are the code's. */
#define NAME(x) [x] = #x

static const char *const actions[] = {
    NAME(HANDOVER_NONE),   NAME(HANDOVER_ILLEGAL), NAME(HANDOVER_RESUME), NAME(HANDOVER_RECLAIM),
    NAME(HANDOVER_FINISH), NAME(HANDOVER_WAIT),    NAME(HANDOVER_RUN),    NAME(HANDOVER_DISCARD),
};
static const char *const source_states[] = {
    NAME(SOURCE_OWNS),       NAME(SOURCE_STOPPED), NAME(SOURCE_COMMITTED), NAME(SOURCE_UNRESOLVED),
    NAME(SOURCE_RECLAIMING), NAME(SOURCE_KEPT),    NAME(SOURCE_GIVEN),
};
static const char *const source_events[] = {
    NAME(SOURCE_STOP),     NAME(SOURCE_FAIL),      NAME(SOURCE_COMMIT),
    NAME(SOURCE_TIMEOUT),  NAME(SOURCE_RUNNING),   NAME(SOURCE_NEVER_RAN),
    NAME(SOURCE_WORD_RUN), NAME(SOURCE_WORD_DROP), NAME(SOURCE_RECLAIMED),
};
static const char *const sink_states[] = {
    NAME(SINK_EMPTY),    NAME(SINK_ARRIVING), NAME(SINK_READY),   NAME(SINK_UNRESOLVED),
    NAME(SINK_STARTING), NAME(SINK_TRYING),   NAME(SINK_RUNNING), NAME(SINK_NEVER_RAN),
};
static const char *const sink_events[] = {
    NAME(SINK_ARRIVE),    NAME(SINK_LOADED), NAME(SINK_FAIL),  NAME(SINK_LOST),
    NAME(SINK_TIMEOUT),   NAME(SINK_COMMIT), NAME(SINK_ABORT), NAME(SINK_WORD_RUN),
    NAME(SINK_WORD_DROP), NAME(SINK_RAN),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
_Static_assert(COUNT(actions) == HANDOVER_ACTION_COUNT, "actions");
_Static_assert(COUNT(source_states) == SOURCE_STATE_COUNT, "source states");
_Static_assert(COUNT(source_events) == SOURCE_EVENT_COUNT, "source events");
_Static_assert(COUNT(sink_states) == SINK_STATE_COUNT, "sink states");
_Static_assert(COUNT(sink_events) == SINK_EVENT_COUNT, "sink events");

/* One of the two tables, as the engine answers. */
struct side {
    const char *name;
    const char *const *states, *const *events;
    unsigned nstates, nevents;
    enum handover_action (*step)(unsigned *state, unsigned event);
};

static enum handover_action step_source(unsigned *state, unsigned event)
{
    enum source_state s = (enum source_state) * state;
    enum handover_action a = handover_source(&s, (enum source_event)event);

    *state = s;
    return a;
}

static enum handover_action step_sink(unsigned *state, unsigned event)
{
    enum sink_state s = (enum sink_state) * state;
    enum handover_action a = handover_sink(&s, (enum sink_event)event);

    *state = s;
    return a;
}

static const struct side sides[] = {
    {"source", source_states, source_events, SOURCE_STATE_COUNT, SOURCE_EVENT_COUNT, step_source},
    {"sink",   sink_states,   sink_events,   SINK_STATE_COUNT,   SINK_EVENT_COUNT,   step_sink  },
};

static void print_names(const char *kind, const char *const *names, unsigned n)
{
    printf("/* %s */\nmtype = {", kind);
    for (unsigned i = 0; i < n; i++)
        printf("%s %s", i ? "," : "", names[i]);
    printf(" }\n");
}

/* Rows are numbered as state * events + event.  Those that lead elsewhere are counted besides, in
 * *changes: a model that remembers which of them it took needs a bit for each. */
static bool print_row(const struct side *s, unsigned state, unsigned event, char **mistakes,
                      int *changes)
{
    unsigned next = state;
    enum handover_action a = s->step(&next, event);
    const char *action = actions[a], *to = s->states[next];

    for (char **m = mistakes; *m; m += 4)
        if (!strcmp(m[0], s->states[state]) && !strcmp(m[1], s->events[event])) {
            action = m[2];
            to = m[3];
        }
    if (!strcmp(action, "HANDOVER_ILLEGAL"))
        return false;
    printf("    :: state == %s && event == %s -> action = %s; state = %s; took_%s(%u, %d)\n",
           s->states[state], s->events[event], action, to, s->name, state * s->nevents + event,
           strcmp(to, s->states[state]) ? (*changes)++ : -1);
    return true;
}

static void print_side(const struct side *s, char **mistakes)
{
    unsigned rows = 0;
    int changes = 0;

    printf("\ninline handover_%s(state, event, action)\n{\n    if\n", s->name);
    for (unsigned state = 0; state < s->nstates; state++)
        for (unsigned event = 0; event < s->nevents; event++)
            rows += print_row(s, state, event, mistakes, &changes);
    printf("    :: else -> action = HANDOVER_ILLEGAL\n    fi\n}\n/* %u rows */\n", rows);
}

int main(int argc, char **argv)
{
    if (argc % 4 != 1) {
        fprintf(stderr, "usage: rows [STATE EVENT ACTION NEXT]...\n");
        return 2;
    }
    printf("/* Printed by rows.c from src/migrate/handover.c. */\n");
    print_names("actions", actions, COUNT(actions));
    for (unsigned i = 0; i < COUNT(sides); i++) {
        print_names("states", sides[i].states, sides[i].nstates);
        print_names("events", sides[i].events, sides[i].nevents);
    }
    for (unsigned i = 0; i < COUNT(sides); i++)
        print_side(&sides[i], argv + 1);
    return 0;
}
