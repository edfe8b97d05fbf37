/*
 * The handover: who runs the machine, as two tables of states (doc/spec/handover.md has the proof).
 * The tables are the only place that decides; source_*.c and sink_*.c do what they say.
 *
 * The one rule everything hangs on: the source may run before COMMITTED, the destination only after
 * it was told COMMIT, and between the two lies a state in which neither may.
 */
#ifndef GODWIT_MIGRATE_HANDOVER_H
#define GODWIT_MIGRATE_HANDOVER_H

/* What a side has to do after an event. */
enum handover_action {
    HANDOVER_NONE,    /* nothing changes */
    HANDOVER_ILLEGAL, /* this event does not belong here: the peer broke the protocol */
    HANDOVER_RESUME,  /* source: the guest goes on here */
    HANDOVER_RECLAIM, /* source: take back what commit gave away */
    HANDOVER_FINISH,  /* source: the machine is the destination's; let go */
    HANDOVER_WAIT,    /* paused, looking for the peer */
    HANDOVER_RUN,     /* destination: the machine runs here */
    HANDOVER_DISCARD, /* destination: it never ran here and will not */
    HANDOVER_ACTION_COUNT
};

enum source_state {
    SOURCE_OWNS,       /* the guest runs here, or may */
    SOURCE_STOPPED,    /* paused for the handover; may resume */
    SOURCE_COMMITTED,  /* given away; waits to hear that it runs there */
    SOURCE_UNRESOLVED, /* as before, and has waited long: says so */
    SOURCE_RECLAIMING, /* it is certain that it does not run there: takes back what it gave */
    SOURCE_KEPT,       /* end: it stays here */
    SOURCE_GIVEN,      /* end: it runs there */
    SOURCE_STATE_COUNT
};

enum source_event {
    SOURCE_STOP,      /* the guest was paused */
    SOURCE_FAIL,      /* anything failed, or a person canceled */
    SOURCE_COMMIT,    /* READY was heard and commit succeeded */
    SOURCE_TIMEOUT,   /* handover-timeout */
    SOURCE_RUNNING,   /* the destination: it runs here */
    SOURCE_NEVER_RAN, /* the destination: it never ran here and will not */
    SOURCE_WORD_RUN,  /* a person: it shall run here */
    SOURCE_WORD_DROP, /* a person: it shall not */
    SOURCE_RECLAIMED, /* reclaim succeeded (when not: SOURCE_FAIL) */
    SOURCE_EVENT_COUNT
};

enum sink_state {
    SINK_EMPTY,      /* no machine */
    SINK_ARRIVING,   /* pages and state come in */
    SINK_READY,      /* loaded, paused, waits for the word */
    SINK_UNRESOLVED, /* as before, has lost its peer for long: says so */
    SINK_STARTING,   /* told to run: run is being called */
    SINK_TRYING,     /* as STARTING, on a person's word: no source holds another copy for sure */
    SINK_RUNNING,    /* end: it runs here */
    SINK_NEVER_RAN,  /* end: it was discarded */
    SINK_STATE_COUNT
};

enum sink_event {
    SINK_ARRIVE,    /* the manifest was accepted */
    SINK_LOADED,    /* everything arrived, checked, journaled */
    SINK_FAIL,      /* a failure on this side */
    SINK_LOST,      /* the link broke or went silent */
    SINK_TIMEOUT,   /* it stayed so for handover-timeout */
    SINK_COMMIT,    /* the source: run it */
    SINK_ABORT,     /* the source: it stays with me */
    SINK_WORD_RUN,  /* a person: it shall run here */
    SINK_WORD_DROP, /* a person: it shall not */
    SINK_RAN,       /* run succeeded (when not: SINK_FAIL, nothing ran) */
    SINK_EVENT_COUNT
};

/* Moves *state on and says what to do; on HANDOVER_ILLEGAL and HANDOVER_NONE *state stays. */
enum handover_action handover_source(enum source_state *state, enum source_event event);
enum handover_action handover_sink(enum sink_state *state, enum sink_event event);

const char *handover_source_name(enum source_state s);
const char *handover_sink_name(enum sink_state s);

#endif
