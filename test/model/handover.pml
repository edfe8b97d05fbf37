/*
 * The handover, for SPIN: doc/spec/handover.md says what is proven, test/model/run how.
 *
 * The tables are the engine's own (rows.pml, printed from src/migrate/handover.c); what is written
 * here is the world around them: two hosts, two processes, a link that loses, a person.  Every step
 * of a process is one branch of its loop, and fate may strike between any two steps.
 *
 * Variants: LOCKS     a disk lock that reaches across both hosts (default: none)
 *           CARELESS  a person who speaks without looking at the other side
 *           FAULTS=n  no more than n faults: then all must end well by itself or by a person's word
 *           TRACES    prints every way through both tables (for test_trace), processes that die stay dead
 *           NO_INTENT, MOOT_INTENT, FORGET_COMPLETED, NO_REFUSAL, NOT_TOLD, STALE: see below; each
 *           must fail
 */
#ifdef TRACES
int took_by_source, took_by_sink;
c_decl { extern void trace_took(int); extern void trace_end(int, int, int, int);
         extern unsigned char trace[64]; }
c_track "trace" "64" "UnMatched"
c_code {
    unsigned char trace[64]; /* [0] rows were taken: their numbers, the sink's + 100; 99, 199: it died */
    void trace_took(int row)
    {
        if (trace[0] < 63)
            trace[1 + trace[0]++] = row;
    }
    void trace_end(int by_source, int by_sink, int source_dead, int sink_dead)
    {
        printf("trace %x %x %d %d:", by_source, by_sink, source_dead, sink_dead);
        for (int i = 0; i < trace[0]; i++)
            printf(" %d", trace[1 + i]);
        printf("\n");
    }
}
#define took_source(row, bit)                                                                      \
    if                                                                                             \
    :: bit >= 0 -> took_by_source = took_by_source | (1 << bit); c_code { trace_took(row); }       \
    :: else                                                                                        \
    fi
#define took_sink(row, bit)                                                                        \
    if                                                                                             \
    :: bit >= 0 -> took_by_sink = took_by_sink | (1 << bit); c_code { trace_took(100 + row); }     \
    :: else                                                                                        \
    fi
#else
#define took_source(row, bit) skip
#define took_sink(row, bit) skip
#endif

#include "rows.pml"

/* What travels. */
mtype = { MANIFEST, ACCEPT, STATE, READY, COMMIT, ABORT, RUNNING, NEVER_RAN, WELCOME, QUERY, UNKNOWN }
/* Where the machine's memory is, on one side. */
mtype = { GONE, PAUSED, RUNS }
/* What the source's process is: the one that migrates; dead; one started anew that asks the
 * destination what became of the machine; one that refused to start; one that started the machine
 * afresh; ended in good order. */
mtype = { ENGINE, DEAD, ASKING, REFUSED, FRESH, OFF }
mtype = { NOBODY, SOURCE, SINK }
mtype = { NOTHING, RUN_AT_SOURCE, DROP_AT_SOURCE, RUN_AT_SINK, DROP_AT_SINK, START_AT_SOURCE,
          FORGET_AT_SOURCE, START_AT_SINK }

mtype source_process = ENGINE, source_state = SOURCE_OWNS, source_guest = RUNS;
byte source_step;       /* within a state: 0 before its first word or callback, ... */
byte source_link;       /* 0 none, 1 dialled, no WELCOME yet, 2 up: as the source believes */
byte tries;             /* new links before the source says that it is unresolved */
bool intent, committed; /* its journal: durable; memory-backed */
bool rebooted;          /* since the intent was written */

bool sink_alive = true, sink_fresh; /* fresh: started from its disks by a person */
mtype sink_state = SINK_EMPTY, sink_guest = GONE;
byte sink_step;
bool sink_link;
bool ran; /* its journal, memory-backed: it ran here */

bool up;    /* the newest connection passes bytes */
bool again; /* a source that came back waits at the destination's door */
chan to_sink = [3] of { mtype };
chan to_source = [3] of { mtype };

mtype lock = SOURCE; /* on the disks */
bool disk_newer;     /* the guest wrote to its disks at the destination */
mtype word = NOTHING; /* what a person is about to say */

#ifdef KILLS
byte kills = KILLS;
#define may_kill (kills > 0)
#define killed() kills--
#else
#define may_kill true
#define killed() skip
#endif

#ifdef FAULTS
byte faults = FAULTS;
#define fault_left (faults > 0)
#define fault() faults--
#define again_and_again false /* what changes nothing */
#else
#define fault_left true
#define fault() skip
#define again_and_again true
#endif

#define source_works (source_process == ENGINE)
#define source_told  ((source_works && source_state == SOURCE_UNRESOLVED) || source_process == REFUSED)
#define sink_told    (sink_alive && sink_state == SINK_UNRESOLVED)
#define running      (source_guest == RUNS || sink_guest == RUNS)
#define copies       (source_guest != GONE || sink_guest != GONE)

inline drain(c) { do :: c?_ :: empty(c) -> break od }
inline hang_up() { up = false; source_link = 0; drain(to_source) }
inline say_to_sink(m) { if :: up && source_link == 2 -> to_sink!m :: else fi }
/* On its own link: not while a newer one waits at the door. */
inline say_to_source(m) { if :: up && sink_link && !again -> to_source!m :: else fi }
/* To whoever waits at the door. */
inline answer_door(m) { again = false; if :: up -> to_source!m :: else fi }

#ifdef LOCKS
#define may_lock(who) (lock == NOBODY || lock == who)
#else
#define may_lock(who) true
#endif
inline unlock(who) { if :: lock == who -> lock = NOBODY :: else fi }

/* ---- the source ------------------------------------------------------------------------------ */

inline source_does()
{
    if
    :: action == HANDOVER_RESUME ->
        assert(source_guest == PAUSED);
#ifdef STALE
        assert(!disk_newer); /* old memory, newer disks */
#endif
        source_guest = RUNS
    :: action == HANDOVER_FINISH -> source_guest = GONE
    :: else
    fi;
    if /* before the commit every failure leaves the guest running where it was */
    :: source_state == SOURCE_KEPT -> assert(source_guest == RUNS)
    :: else
    fi
}

proctype source()
{
    mtype event, action;
    mtype m;

end:
    do
    :: atomic {
        if
        /* -- owns: connects, sends; the intent is written before the stop -- */
        :: source_works && source_state == SOURCE_OWNS && source_step == 0 && sink_alive ->
            up = true; sink_link = true; source_link = 2; source_step = 1; say_to_sink(MANIFEST)
        :: source_works && source_state == SOURCE_OWNS && source_step == 1 && to_source?[ACCEPT] ->
            to_source?m;
#ifndef NO_INTENT
            intent = true;
#endif
            rebooted = false; source_step = 2
        :: source_works && source_state == SOURCE_OWNS && source_step == 2 -> /* the guest is paused */
            event = SOURCE_STOP
        :: source_works && source_state == SOURCE_OWNS && fault_left -> /* anything, or a cancel */
            fault(); event = SOURCE_FAIL
        :: source_works && source_state == SOURCE_OWNS && source_step > 0 && source_link == 0 && !sink_alive ->
            event = SOURCE_FAIL
        :: source_works && source_state == SOURCE_OWNS && source_link == 0 && source_step > 0 &&
           sink_alive && fault_left -> /* a cut suspends precopy: it dials anew */
            fault(); up = true; again = true; source_link = 1
        :: source_works && source_state == SOURCE_OWNS && source_link == 1 && to_source?[WELCOME] ->
            to_source?m; source_link = 2
        :: source_works && source_state == SOURCE_OWNS && nempty(to_source) && !to_source?[WELCOME] &&
           !to_source?[ACCEPT] ->
            to_source?m; event = SOURCE_FAIL

        /* -- stopped: the state goes out, READY comes, commit is called -- */
        :: source_works && source_state == SOURCE_STOPPED && source_step == 0 ->
            say_to_sink(STATE); source_step = 1
        :: source_works && source_state == SOURCE_STOPPED && source_step == 1 && nempty(to_source) ->
            to_source?m;
            if
            :: m == READY -> source_step = 2
            :: else -> event = SOURCE_FAIL
            fi
        :: source_works && source_state == SOURCE_STOPPED && source_step == 2 ->
            committed = true; source_step = 3
        :: source_works && source_state == SOURCE_STOPPED && source_step == 3 ->
            unlock(SOURCE); event = SOURCE_COMMIT
        :: source_works && source_state == SOURCE_STOPPED && source_step < 3 && (fault_left || !up) ->
            if :: up -> fault() :: else fi; /* ready-timeout, a callback, a cancel, a lost link */
            event = SOURCE_FAIL

        /* -- given away: COMMIT until somebody answers -- */
        :: source_works && (source_state == SOURCE_COMMITTED || source_state == SOURCE_UNRESOLVED) &&
           source_link == 2 && source_step == 0 ->
            say_to_sink(COMMIT); source_step = 1
        :: source_works && (source_state == SOURCE_COMMITTED || source_state == SOURCE_UNRESOLVED) &&
           source_link == 0 && sink_alive && (tries < 2 || source_state == SOURCE_UNRESOLVED) &&
           word != RUN_AT_SOURCE && word != DROP_AT_SOURCE -> /* a word comes first */
            drain(to_source); up = true; again = true; source_link = 1; source_step = 0;
            if :: source_state == SOURCE_COMMITTED -> tries++ :: else fi
        :: source_works && (source_state == SOURCE_COMMITTED || source_state == SOURCE_UNRESOLVED) &&
           nempty(to_source) ->
            to_source?m;
            if
            :: m == WELCOME -> source_link = 2; source_step = 0
            :: m == RUNNING -> event = SOURCE_RUNNING
            :: m == NEVER_RAN -> event = SOURCE_NEVER_RAN
            :: m == UNKNOWN -> hang_up()
            :: m == READY || m == ACCEPT /* crossed the COMMIT */
            fi
        :: source_works && (source_state == SOURCE_COMMITTED ||
                            (source_state == SOURCE_UNRESOLVED && again_and_again)) ->
            event = SOURCE_TIMEOUT
        :: source_works && source_state == SOURCE_UNRESOLVED && word == RUN_AT_SOURCE ->
            word = NOTHING; event = SOURCE_WORD_RUN
        :: source_works && source_state == SOURCE_UNRESOLVED && word == DROP_AT_SOURCE ->
            word = NOTHING; event = SOURCE_WORD_DROP
        :: source_works && source_state == SOURCE_RECLAIMING && may_lock(SOURCE) ->
            lock = SOURCE; event = SOURCE_RECLAIMED
        :: source_works && source_state == SOURCE_RECLAIMING && (fault_left || !may_lock(SOURCE)) ->
            if :: may_lock(SOURCE) -> fault() :: else fi;
            hang_up(); event = SOURCE_FAIL

        /* -- kept: withdraws the intent, tells the destination for a while -- */
        :: source_works && source_state == SOURCE_KEPT && source_step == 0 ->
            intent = false; committed = false; source_step = 1
        :: source_works && source_state == SOURCE_KEPT && source_step == 1 && source_link == 2 ->
            say_to_sink(ABORT); source_step = 2
        :: source_works && source_state == SOURCE_KEPT && (source_step == 1 || source_step == 2) &&
           source_link == 0 && sink_alive ->
            drain(to_source); up = true; again = true; source_link = 1; source_step = 1
        :: source_works && source_state == SOURCE_KEPT && (source_step == 1 || source_step == 2) &&
           nempty(to_source) ->
            to_source?m;
            if
            :: m == WELCOME -> source_link = 2; source_step = 1
            :: m == READY || m == ACCEPT
            :: m == UNKNOWN || m == NEVER_RAN || m == RUNNING -> hang_up(); source_step = 3
            fi
        :: source_works && source_state == SOURCE_KEPT && (source_step == 1 || source_step == 2) &&
           (fault_left || !sink_alive) ->
            if :: sink_alive -> fault() :: else fi;
            hang_up(); source_step = 3 /* handover-timeout */

        /* -- given: its process ends in good order some day, and only then is the journal tidied -- */
        :: source_works && source_state == SOURCE_GIVEN && source_step == 0 ->
            hang_up();
#ifdef FORGET_COMPLETED
            intent = false; committed = false;
#endif
            source_step = 1
        :: source_works && source_state == SOURCE_GIVEN && source_step == 1 ->
            intent = false; committed = false; source_process = OFF

        /* -- a link found dead -- */
        :: source_process != DEAD && source_link > 0 && !up -> source_link = 0; drain(to_source)

#ifndef TRACES
        /* -- started anew, with nothing but its journal -- */
        :: source_process == DEAD || (source_process == REFUSED && fault_left) ->
            if :: source_process == REFUSED -> fault() :: else fi;
            source_step = 0;
            if
#ifdef NO_REFUSAL
            :: true -> source_process = FRESH
#elif defined(MOOT_INTENT)
            /* "It died before it gave anything away." */
            :: intent && !rebooted && !committed -> intent = false; source_process = FRESH
            :: committed || (intent && rebooted) -> source_process = ASKING
            :: !intent && !committed -> source_process = FRESH
#else
            :: intent || committed -> source_process = ASKING
            :: else -> source_process = FRESH
#endif
            fi;
            if
            :: source_process == FRESH && may_lock(SOURCE) -> lock = SOURCE; source_guest = RUNS
            :: source_process == FRESH && !may_lock(SOURCE) -> source_process = REFUSED
            :: else
            fi
        :: source_process == ASKING && source_link == 0 && source_step == 0 && sink_alive ->
            drain(to_source); up = true; again = true; source_link = 1; source_step = 1
        :: source_process == ASKING && source_link == 1 && to_source?[WELCOME] ->
            to_source?m; source_link = 2; say_to_sink(QUERY)
        :: source_process == ASKING && source_link > 0 && nempty(to_source) && !to_source?[WELCOME] ->
            to_source?m; hang_up();
            if
            :: m == NEVER_RAN && may_lock(SOURCE) ->
                intent = false; committed = false; lock = SOURCE;
                source_process = FRESH; source_guest = RUNS
            :: else -> source_process = REFUSED
            fi
        :: source_process == ASKING && (fault_left || source_link == 0) -> /* no answer in time */
            if :: source_link > 0 -> fault() :: else fi;
            hang_up(); source_process = REFUSED
        :: source_process == REFUSED && word == START_AT_SOURCE ->
            word = NOTHING;
            if
            :: may_lock(SOURCE) ->
                intent = false; committed = false; lock = SOURCE;
                source_process = FRESH; source_guest = RUNS
            :: else
            fi
        :: source_process == REFUSED && word == FORGET_AT_SOURCE ->
            word = NOTHING; intent = false; committed = false; source_process = OFF
#endif
        fi;

        if
        :: event != 0 ->
            handover_source(source_state, event, action);
            assert(action != HANDOVER_ILLEGAL);
            if
            :: event == SOURCE_STOP -> source_guest = PAUSED; source_step = 0
            :: event == SOURCE_TIMEOUT
            :: event == SOURCE_FAIL && source_state == SOURCE_UNRESOLVED
            :: else -> source_step = 0
            fi;
            source_does();
            event = 0
        :: else
        fi
    }
    od
}

/* ---- the destination ------------------------------------------------------------------------- */

proctype sink()
{
    mtype event, action;
    mtype m;

end:
    do
    :: atomic {
        if
        /* -- words -- */
        :: sink_alive && sink_link && nempty(to_sink) && sink_state != SINK_STARTING &&
           sink_state != SINK_TRYING ->
            to_sink?m;
            if
            :: m == MANIFEST && sink_state == SINK_EMPTY -> event = SINK_ARRIVE
            :: m == MANIFEST && sink_state == SINK_EMPTY && fault_left -> fault(); event = SINK_FAIL
            :: m == STATE && sink_state == SINK_ARRIVING -> event = SINK_LOADED
            :: m == COMMIT -> event = SINK_COMMIT
            :: m == ABORT -> event = SINK_ABORT
            :: m == QUERY && sink_state != SINK_EMPTY -> say_to_source(READY)
            :: (m == STATE && sink_state != SINK_ARRIVING) || (m == MANIFEST && sink_state != SINK_EMPTY) ||
               (m == QUERY && sink_state == SINK_EMPTY) -> /* not now: the link is of no use */
                sink_link = false; up = false; drain(to_sink)
            fi
        /* -- what its own host does -- */
        :: sink_alive && sink_state == SINK_ARRIVING && fault_left -> fault(); event = SINK_FAIL
        :: sink_alive && (sink_state == SINK_STARTING || sink_state == SINK_TRYING) && sink_step == 0 &&
           may_lock(SINK) ->
            lock = SINK; sink_step = 1
        :: sink_alive && (sink_state == SINK_STARTING || sink_state == SINK_TRYING) && sink_step == 1 ->
            ran = true; sink_step = 2
        :: sink_alive && (sink_state == SINK_STARTING || sink_state == SINK_TRYING) && sink_step == 2 ->
            event = SINK_RAN
        :: sink_alive && (sink_state == SINK_STARTING || sink_state == SINK_TRYING) &&
           (fault_left || (sink_step == 0 && !may_lock(SINK))) ->
            if :: sink_step == 0 && !may_lock(SINK) :: else -> fault() fi;
            event = SINK_FAIL
        /* -- the link, the clock -- */
        :: sink_alive && sink_link && !up && !again && sink_state != SINK_STARTING && sink_state != SINK_TRYING ->
            sink_link = false; drain(to_sink);
            if
            :: sink_state == SINK_ARRIVING && source_works && source_state == SOURCE_OWNS &&
               sink_alive -> skip /* precopy: it waits for the source to come back */
            :: event = SINK_LOST
            fi
        :: sink_alive && !sink_link && !again && sink_state == SINK_ARRIVING -> /* network-timeout */
            event = SINK_LOST
        :: sink_alive && !sink_link && (sink_state == SINK_READY || (sink_state == SINK_UNRESOLVED && again_and_again)) ->
            event = SINK_TIMEOUT
        /* -- a source that comes back -- */
        :: sink_alive && again && sink_state == SINK_EMPTY -> answer_door(UNKNOWN); sink_link = false; drain(to_sink)
        :: sink_alive && again && sink_state == SINK_RUNNING ->
            answer_door(RUNNING); sink_link = false; drain(to_sink)
        :: sink_alive && again && sink_state == SINK_NEVER_RAN ->
            answer_door(NEVER_RAN); sink_link = false; drain(to_sink)
        :: sink_alive && again && (sink_state == SINK_READY || sink_state == SINK_UNRESOLVED) ->
            drain(to_sink); sink_link = true; answer_door(WELCOME)
        :: sink_alive && again && sink_state == SINK_ARRIVING ->
            drain(to_sink); sink_link = true;
            if
            :: source_works && source_state == SOURCE_OWNS -> answer_door(WELCOME); say_to_source(ACCEPT)
            :: event = SINK_LOST /* answered below, as one that is over */
            fi
        /* -- a person -- */
        :: sink_alive && sink_state == SINK_UNRESOLVED && word == RUN_AT_SINK ->
            word = NOTHING; event = SINK_WORD_RUN
        :: sink_alive && sink_state == SINK_UNRESOLVED && word == DROP_AT_SINK ->
            word = NOTHING; event = SINK_WORD_DROP
#ifndef TRACES
        :: !sink_alive && word == START_AT_SINK ->
            word = NOTHING;
            if
            :: may_lock(SINK) -> lock = SINK; sink_alive = true; sink_fresh = true; sink_guest = RUNS;
                sink_state = SINK_RUNNING; disk_newer = true
            :: else
            fi
        :: !sink_alive && !sink_fresh && fault_left -> /* again with -incoming */
            fault(); sink_alive = true; sink_state = SINK_EMPTY; sink_step = 0
#endif
        fi;

        if
        :: event != 0 ->
            handover_sink(sink_state, event, action);
            assert(action != HANDOVER_ILLEGAL);
            sink_step = 0;
            if
            :: event == SINK_ARRIVE -> sink_guest = PAUSED; say_to_source(ACCEPT)
            :: event == SINK_LOADED -> say_to_source(READY)
            :: event == SINK_RAN ->
                assert(sink_guest == PAUSED);
                sink_guest = RUNS; disk_newer = true; say_to_source(RUNNING)
            :: event == SINK_FAIL && sink_state == SINK_UNRESOLVED -> unlock(SINK); ran = false
            :: (event == SINK_COMMIT || event == SINK_ABORT) && sink_state == SINK_RUNNING ->
                say_to_source(RUNNING)
            :: else
            fi;
            if
            :: action == HANDOVER_DISCARD ->
                assert(sink_guest != RUNS);
                sink_guest = GONE; ran = false; unlock(SINK)
            :: else
            fi;
            if
            :: sink_state == SINK_NEVER_RAN && event != SINK_LOST -> say_to_source(NEVER_RAN)
            :: else
            fi;
            event = 0
        :: else
        fi
    }
    od
}

/* ---- a person -------------------------------------------------------------------------------- */

/*
 * The rule of doc/spec/handover.md.  Who speaks has looked at both sides first, and what was seen
 * stays true until the word is heard, however late that is.
 */
#ifdef CARELESS
#define knows(x) true
#else
#define knows(x) (x)
#endif

proctype person()
{
end:
    do
    :: atomic { word == NOTHING && source_works && source_state == SOURCE_UNRESOLVED &&
        knows(sink_guest == GONE && !ran) -> word = RUN_AT_SOURCE }
    :: atomic { word == NOTHING && source_works && source_state == SOURCE_UNRESOLVED &&
        knows(sink_guest != GONE || ran) -> word = DROP_AT_SOURCE }
    /* The source has given it away, or its process is dead and its journal keeps it from starting. */
    :: atomic { word == NOTHING && sink_told &&
        knows((source_works && (source_state == SOURCE_COMMITTED || source_state == SOURCE_UNRESOLVED ||
                                source_state == SOURCE_GIVEN)) ||
              source_process == OFF ||
              ((source_process == DEAD || source_process == ASKING || source_process == REFUSED) && intent)) ->
        word = RUN_AT_SINK }
    :: atomic { word == NOTHING && sink_told -> word = DROP_AT_SINK }
    :: atomic { word == NOTHING && source_process == REFUSED && knows(sink_guest == GONE && !ran) ->
        word = START_AT_SOURCE }
    :: atomic { word == NOTHING && source_process == REFUSED && knows(sink_guest == RUNS || ran) ->
        word = FORGET_AT_SOURCE }
    :: atomic { word == NOTHING && !sink_alive && ran && knows(source_guest != RUNS) -> word = START_AT_SINK }
    :: atomic { /* what it was said to is no longer there, or has decided meanwhile */
        ((word == RUN_AT_SOURCE || word == DROP_AT_SOURCE) &&
         !(source_works && (source_state == SOURCE_UNRESOLVED || source_state == SOURCE_RECLAIMING))) ||
        ((word == RUN_AT_SINK || word == DROP_AT_SINK) &&
         !(sink_alive && (sink_state == SINK_UNRESOLVED || sink_state == SINK_TRYING))) ||
        ((word == START_AT_SOURCE || word == FORGET_AT_SOURCE) &&
         !(source_process == REFUSED || source_process == ASKING)) ||
        (word == START_AT_SINK && (sink_alive || !ran)) ->
        word = NOTHING
    }
    od
}

/* ---- fate ------------------------------------------------------------------------------------ */

#ifdef TRACES
#define trace_death(side) c_code { trace_took(side); }
#else
#define trace_death(side) skip
#endif

inline kill_source()
{
    trace_death(99);
    source_process = DEAD; source_guest = GONE; source_step = 0; hang_up(); unlock(SOURCE)
}

inline kill_sink()
{
    trace_death(199);
    sink_alive = false; sink_guest = GONE; sink_step = 0; sink_link = false; again = false;
    up = false; drain(to_sink); unlock(SINK)
}

proctype fate()
{
end:
    do
    :: atomic { up && fault_left -> fault(); up = false } /* cut, or silent */
    :: atomic { !up && nempty(to_sink) -> to_sink?_ }
    :: atomic { !up && nempty(to_source) -> to_source?_ }
    :: atomic { source_process != DEAD && source_process != OFF && source_process != REFUSED &&
        fault_left && may_kill -> fault(); killed(); kill_source() }
    :: atomic { sink_alive && fault_left && may_kill -> fault(); killed(); kill_sink() }
#ifndef TRACES
    :: atomic { source_process != OFF && fault_left && may_kill &&
        (source_process != DEAD || committed || !rebooted) -> fault(); killed(); /* the host: nothing is left but what was synced */
        if :: source_process == REFUSED :: else -> kill_source() fi;
        committed = false; rebooted = true }
    :: atomic { (sink_alive || ran) && fault_left && may_kill -> fault(); killed(); kill_sink(); ran = false }
#endif
    od
}

/* ---- what is proven -------------------------------------------------------------------------- */

#ifdef TRACES
#define source_over (source_process == DEAD || (source_state == SOURCE_KEPT && source_step == 3) || source_state == SOURCE_GIVEN || source_state == SOURCE_UNRESOLVED)
#define sink_over (!sink_alive || sink_state == SINK_EMPTY || sink_state == SINK_RUNNING || sink_state == SINK_NEVER_RAN || sink_state == SINK_UNRESOLVED)
proctype tracer()
{
end:
    do
    :: atomic { source_over && sink_over && word == NOTHING && source_process == DEAD ->
        c_code { trace_end(now.took_by_source, now.took_by_sink, 1, !now.sink_alive); } }
    :: atomic { source_over && sink_over && word == NOTHING && source_process != DEAD ->
        c_code { trace_end(now.took_by_source, now.took_by_sink, 0, !now.sink_alive); } }
    od
}
#endif

proctype judge()
{
end:
    atomic { source_guest == RUNS && sink_guest == RUNS -> assert(false) } /* never two */
}

init { atomic { run source(); run sink(); run person(); run fate(); run judge();
#ifdef TRACES
    run tracer()
#endif
} }

#ifndef TRACES
#ifdef NOT_TOLD
ltl someone { [] <> running }
#elif defined(FAULTS)
/* When nothing more fails: one runs, or no copy is left and whoever would start it knows. */
ltl someone { <> [] ((source_guest == RUNS && sink_guest != RUNS) ||
                     (source_guest != RUNS && sink_guest == RUNS) || !copies) }
#else
/* Nobody runs for ever only if somebody was told, or the last copy died with its process. */
ltl someone { [] <> (running || source_told || sink_told || !copies) }
#endif
#endif
