/*
 * The handover's tables, and the one-winner rule over all they allow: every order in which two
 * sides, a lossy, repeating link and a sensible person can act is walked through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "migrate/handover.h"

/* ---- the world ------------------------------------------------------------------------------ */

enum message { READY, COMMIT, ABORT, RUNNING, NEVER_RAN, MESSAGE_COUNT };

struct world {
    enum source_state source;
    enum sink_state sink;
    bool source_runs, sink_runs;
    unsigned wire; /* bit per message that may still arrive, any number of times */
};

#define WORLDS (SOURCE_STATE_COUNT * SINK_STATE_COUNT * 4 * (1 << MESSAGE_COUNT))

static unsigned number(const struct world *w)
{
    unsigned n = (unsigned)w->source;

    n = n * SINK_STATE_COUNT + (unsigned)w->sink;
    n = n * 2 + w->source_runs;
    n = n * 2 + w->sink_runs;
    return (n << MESSAGE_COUNT) | w->wire;
}

static struct world worlds[WORLDS]; /* by discovery */
static bool seen[WORLDS], settles[WORLDS];
static unsigned edges[WORLDS][40], nedges[WORLDS];
static unsigned nworlds;

static void send_message(struct world *w, enum message m)
{
    w->wire |= 1U << m;
}

static bool on_wire(const struct world *w, enum message m)
{
    return w->wire & (1U << m);
}

static void source_acts(struct world *w, enum source_event event)
{
    enum handover_action a = handover_source(&w->source, event);

    if (a == HANDOVER_RESUME) {
        assert_false(w->source_runs);
        w->source_runs = true;
        send_message(w, ABORT);
    } else if (a == HANDOVER_WAIT && event == SOURCE_COMMIT) {
        send_message(w, COMMIT);
    }
}

static void sink_acts(struct world *w, enum sink_event event)
{
    enum handover_action a = handover_sink(&w->sink, event);

    if (event == SINK_LOADED && a == HANDOVER_WAIT)
        send_message(w, READY);
    if (event == SINK_RAN && a != HANDOVER_ILLEGAL) {
        assert_false(w->sink_runs);
        w->sink_runs = true;
        send_message(w, RUNNING);
    }
    if (a == HANDOVER_DISCARD)
        assert_false(w->sink_runs);
    if ((event == SINK_COMMIT || event == SINK_ABORT || event == SINK_FAIL) &&
        w->sink == SINK_NEVER_RAN)
        send_message(w, NEVER_RAN);
    if ((event == SINK_COMMIT || event == SINK_ABORT) && w->sink == SINK_RUNNING)
        send_message(w, RUNNING);
}

/* ---- all that can happen -------------------------------------------------------------------- */

static void reach(unsigned from, const struct world *w)
{
    unsigned n = number(w);

    assert_false(w->source_runs && w->sink_runs); /* the rule */
    assert_true(nedges[from] < 40);
    edges[from][nedges[from]++] = n;
    if (seen[n])
        return;
    seen[n] = true;
    worlds[nworlds++] = *w;
}

static void try_source(const struct world *w, enum source_event event)
{
    struct world next = *w;

    source_acts(&next, event);
    if (event == SOURCE_STOP && next.source == SOURCE_STOPPED)
        next.source_runs = false;
    reach(number(w), &next);
}

static void try_sink(const struct world *w, enum sink_event event)
{
    struct world next = *w;

    sink_acts(&next, event);
    reach(number(w), &next);
}

static void source_moves(const struct world *w)
{
    if (w->source == SOURCE_OWNS)
        try_source(w, SOURCE_STOP);
    if (w->source == SOURCE_STOPPED || w->source == SOURCE_RECLAIMING)
        try_source(w, SOURCE_FAIL);
    if (w->source == SOURCE_STOPPED && on_wire(w, READY))
        try_source(w, SOURCE_COMMIT);
    if (w->source == SOURCE_RECLAIMING)
        try_source(w, SOURCE_RECLAIMED);
    if (w->source == SOURCE_COMMITTED || w->source == SOURCE_UNRESOLVED)
        try_source(w, SOURCE_TIMEOUT);
    if (on_wire(w, RUNNING))
        try_source(w, SOURCE_RUNNING);
    if (on_wire(w, NEVER_RAN))
        try_source(w, SOURCE_NEVER_RAN);
}

/* What a side says again on a new link. */
static void repetitions(const struct world *w)
{
    struct world next = *w;

    if (w->source == SOURCE_COMMITTED || w->source == SOURCE_UNRESOLVED)
        send_message(&next, COMMIT);
    else if (w->source == SOURCE_KEPT)
        send_message(&next, ABORT);
    reach(number(w), &next);
}

static void sink_moves(const struct world *w)
{
    if (w->sink == SINK_EMPTY && w->source == SOURCE_OWNS)
        try_sink(w, SINK_ARRIVE);
    if (w->sink == SINK_ARRIVING && w->source != SOURCE_OWNS) /* the state was sent */
        try_sink(w, SINK_LOADED);
    if (w->sink == SINK_ARRIVING || w->sink == SINK_STARTING || w->sink == SINK_TRYING)
        try_sink(w, SINK_FAIL);
    if (w->sink == SINK_STARTING || w->sink == SINK_TRYING)
        try_sink(w, SINK_RAN);
    if (w->sink != SINK_STARTING && w->sink != SINK_TRYING) {
        try_sink(w, SINK_LOST);
        if (on_wire(w, COMMIT))
            try_sink(w, SINK_COMMIT);
        if (on_wire(w, ABORT))
            try_sink(w, SINK_ABORT);
    }
    if (w->sink == SINK_READY || w->sink == SINK_UNRESOLVED)
        try_sink(w, SINK_TIMEOUT);
}

/* A person who looks at both sides first: lets the source run only when the destination holds
 * nothing, and the destination only while the source is given away. */
static void person_moves(const struct world *w)
{
    if (w->source == SOURCE_UNRESOLVED && w->sink == SINK_NEVER_RAN)
        try_source(w, SOURCE_WORD_RUN);
    if (w->source == SOURCE_UNRESOLVED && w->sink_runs)
        try_source(w, SOURCE_WORD_DROP);
    if (w->sink == SINK_UNRESOLVED &&
        (w->source == SOURCE_COMMITTED || w->source == SOURCE_UNRESOLVED))
        try_sink(w, SINK_WORD_RUN);
    if (w->sink == SINK_UNRESOLVED && w->source != SOURCE_GIVEN)
        try_sink(w, SINK_WORD_DROP);
}

static void losses(const struct world *w)
{
    for (unsigned m = 0; m < MESSAGE_COUNT; m++)
        if (on_wire(w, (enum message)m)) {
            struct world next = *w;

            next.wire &= ~(1U << m);
            reach(number(w), &next);
        }
}

static bool is_settled(const struct world *w)
{
    return w->source_runs != w->sink_runs &&
           (w->source == SOURCE_KEPT || w->source == SOURCE_GIVEN);
}

static void walk(bool person)
{
    struct world begin = {.source = SOURCE_OWNS, .sink = SINK_EMPTY, .source_runs = true};

    memset(seen, 0, sizeof(seen));
    memset(nedges, 0, sizeof(nedges));
    nworlds = 0;
    seen[number(&begin)] = true;
    worlds[nworlds++] = begin;
    for (unsigned i = 0; i < nworlds; i++) {
        const struct world w = worlds[i];

        source_moves(&w);
        sink_moves(&w);
        repetitions(&w);
        losses(&w);
        if (person)
            person_moves(&w);
    }
}

/* From wherever one is, there is a way to an end with exactly one machine running. */
static void expect_way_out(void)
{
    bool grows = true;

    memset(settles, 0, sizeof(settles));
    for (unsigned i = 0; i < nworlds; i++)
        settles[number(&worlds[i])] = is_settled(&worlds[i]);
    while (grows) {
        grows = false;
        for (unsigned i = 0; i < nworlds; i++) {
            unsigned n = number(&worlds[i]);

            for (unsigned k = 0; k < nedges[n] && !settles[n]; k++)
                if (settles[edges[n][k]])
                    settles[n] = grows = true;
        }
    }
    for (unsigned i = 0; i < nworlds; i++)
        assert_true(settles[number(&worlds[i])]);
}

static void test_one_winner(void **state)
{
    walk(false);
    print_message("%u worlds without a person\n", nworlds);
    assert_true(nworlds > 100);
    expect_way_out();
}

static void test_one_winner_with_person(void **state)
{
    walk(true);
    print_message("%u worlds with a person\n", nworlds);
    expect_way_out();
}

/* The source after its commit, whatever happens, resumes only by way of reclaim. */
static void test_committed_never_just_resumes(void **state)
{
    for (int s = SOURCE_COMMITTED; s <= SOURCE_UNRESOLVED; s++)
        for (int ev = 0; ev < SOURCE_EVENT_COUNT; ev++) {
            enum source_state at = (enum source_state)s;

            assert_int_not_equal(handover_source(&at, (enum source_event)ev), HANDOVER_RESUME);
        }
}

/* The destination runs only on COMMIT or a person's word, and only when everything was loaded. */
static void test_sink_runs_only_when_told(void **state)
{
    for (int s = 0; s < SINK_STATE_COUNT; s++)
        for (int ev = 0; ev < SINK_EVENT_COUNT; ev++) {
            enum sink_state at = (enum sink_state)s;

            if (handover_sink(&at, (enum sink_event)ev) != HANDOVER_RUN)
                continue;
            assert_true(s == SINK_READY || s == SINK_UNRESOLVED);
            assert_true(ev == SINK_COMMIT || ev == SINK_WORD_RUN);
        }
}

static void test_ends_stay(void **state)
{
    const enum source_state ends[] = {SOURCE_KEPT, SOURCE_GIVEN};

    for (int i = 0; i < 2; i++)
        for (int ev = 0; ev < SOURCE_EVENT_COUNT; ev++) {
            enum source_state at = ends[i];

            assert_int_equal(handover_source(&at, (enum source_event)ev), HANDOVER_ILLEGAL);
            assert_int_equal(at, ends[i]);
        }
    for (int ev = 0; ev < SINK_EVENT_COUNT; ev++) {
        enum sink_state at = SINK_RUNNING;

        handover_sink(&at, (enum sink_event)ev);
        assert_int_equal(at, SINK_RUNNING);
    }
}

static void test_names(void **state)
{
    for (int s = 0; s < SOURCE_STATE_COUNT; s++)
        assert_string_not_equal(handover_source_name((enum source_state)s), "unknown");
    for (int s = 0; s < SINK_STATE_COUNT; s++)
        assert_string_not_equal(handover_sink_name((enum sink_state)s), "unknown");
    assert_string_equal(handover_sink_name(SINK_STATE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_winner),
        cmocka_unit_test(test_one_winner_with_person),
        cmocka_unit_test(test_committed_never_just_resumes),
        cmocka_unit_test(test_sink_runs_only_when_told),
        cmocka_unit_test(test_ends_stay),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
