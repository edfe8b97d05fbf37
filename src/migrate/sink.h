/*
 * The destination's insides, shared by sink*.c only.
 *
 * Theory of operation.  Two threads: the door (door.h) answers whoever connects, at any time; the
 * migrate thread serves one migration after the other.  They meet in `gate`, which `lock` guards:
 * what is expected now, the channels the door has let in, and what became of earlier migrations, so
 * that a source that asks again gets its answer from the door even while the next one arrives.
 *
 * Who begins a migration while another is here is refused, but not by the door: the end of the one
 * here (a cancel, a closed connection) may have come before and wait to be read.  The migrate thread
 * refuses, as soon as it sees that its link has nothing to say; the door does when that takes long,
 * since a callback is running.
 */
#ifndef GODWIT_MIGRATE_SINK_H
#define GODWIT_MIGRATE_SINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "godwit/migrate.h"
#include "migrate/bell.h"
#include "migrate/digest.h"
#include "migrate/door.h"
#include "migrate/handover.h"
#include "migrate/link.h"
#include "migrate/receiver.h"
#include "migrate/stats.h"
#include "stream/native/course.h"
#include "stream/native/native.h"
#include "stream/native/words.h"
#include "transport/address.h"

#define SINK_PAST_MAX 16 /* migrations whose outcome is remembered */

enum sink_word { SINK_WORD_NONE, SINK_WORD_FOR_RUN, SINK_WORD_FOR_DROP };

/* What became of a migration: RUNNING or NEVER_RAN, for who asks again. */
struct sink_past {
    enum native_type type; /* 0: no entry */
    struct native_word word;
};

/* What the door may let in. */
struct sink_gate {
    bool busy; /* a migration of `token` from `peer` is being served */
    bool shut; /* the machine runs: no further migration */
    uint8_t token[GODWIT_TOKEN_SIZE];
    char peer[128];
    uint32_t lanes; /* expected; 0: none now */
    uint32_t lanes_in;
    struct channel *control; /* let in, not yet taken */
    struct channel *lane[GODWIT_LANES_MAX];
    struct channel *again;
    /* A next migration that came too early, maybe: the one here may be about to end. */
    struct {
        struct channel *channel; /* NULL: none */
        uint8_t token[GODWIT_TOKEN_SIZE];
        uint64_t until_ns; /* the door's patience */
    } early;
    struct sink_past past[SINK_PAST_MAX];
    unsigned past_next;
};

struct godwit_sink {
    struct godwit_sink_config config;
    struct listener listener;
    struct player *player; /* file: addresses: who calls; else NULL */
    struct door *door;
    pthread_t thread;
    struct bell bell;
    struct stats stats;
    atomic_bool stop;

    pthread_mutex_t lock; /* guards what follows */
    struct godwit_params params;
    struct sink_gate gate;
    bool calling; /* the migrate thread is in a callback: the door keeps the link alive */
    bool unresolved;
    enum sink_word word;

    /* The migrate thread's own. */
    struct link link;
    enum sink_state state;
    uint8_t token[GODWIT_TOKEN_SIZE];
    char peer[128];
    struct godwit_region regions[GODWIT_REGIONS_MAX];
    uint32_t nregions, lanes;
    uint64_t total;
    struct receiver
        *receiver; /* the lanes: from ACCEPT until the last page, never during load_state */
    struct digest *digest; /* &hashes; NULL: the source does not want it */
    struct digest hashes;
    struct {
        bool heard;
        uint64_t sequence, root;
    } theirs; /* the source's digest */
    struct native_times times; /* its part of the blackout */
    bool was_running;
    uint64_t state_ns; /* when the state began to arrive: the blackout as seen here */
};

/* ---- sink_gate.c: the door's side, and taking what it let in --- */

void sink_guest(void *opaque, struct channel *c, const struct native_hello *hello);
void sink_tick(void *opaque);
/* The next migration's control channel, or NULL. Sets token and peer. */
struct channel *sink_take_control(struct godwit_sink *s);
/* How many lanes may come from now on (0: no more). */
void sink_open_lanes(struct godwit_sink *s, uint32_t lanes);
/* All of them, once they are there: channels[0..lanes). */
bool sink_take_lanes(struct godwit_sink *s, struct channel **channels);
/* A source that came back, or NULL. */
struct channel *sink_take_again(struct godwit_sink *s);
bool sink_has_again(struct godwit_sink *s);
/* This migration goes on: whoever came too early is refused. */
void sink_refuse_early(struct godwit_sink *s);
/* The migration is over: remembers the outcome, tells it to who came back meanwhile, and opens the
 * gate for the next (NEVER_RAN), which may be waiting there, or shuts it (RUNNING). */
void sink_close_case(struct godwit_sink *s, enum native_type outcome, const char *why);
/* Frees whatever nobody took. */
void sink_clear_gate(struct godwit_sink *s);

/* ---- sink_wait.c --- */

/* Whatever ends an arrival. 1: *rec is for the caller; 0: look again; -ETIME; -errno with *why. */
int sink_wait_once(struct godwit_sink *s, uint64_t deadline_ns, struct link_record *rec,
                   enum sink_event *why, struct err *e);
/* When the patience with a source that talks and does not get on ends: two link-timeouts from now, so
 * that mere silence is noticed before, which is the link's fault. */
uint64_t sink_patience(struct godwit_sink *s);
/* The next record, which has to be of this type and there by then. */
int sink_expect(struct godwit_sink *s, enum native_type type, uint64_t deadline_ns,
                struct link_record *rec, enum sink_event *why, struct err *e);

/* ---- sink_lanes.c: the lanes come, and come again --- */

/* Says ACCEPT and waits for the lanes. */
int sink_accept(struct godwit_sink *s, enum sink_event *why, struct err *e);
/* Did the link do this, and may the source come back from it? */
bool sink_is_cut(struct godwit_sink *s, int code, const struct err *e);
/* e: how the link was cut.  Waits for the source for up to network-timeout, keeping what is here. 0:
 * the lanes go on. */
int sink_reunite(struct godwit_sink *s, enum sink_event *why, struct err *e);

/* ---- sink_state.c --- */

int sink_hear_state(struct godwit_sink *s, const struct link_record *rec, enum sink_event *why,
                    struct err *e);

/* ---- sink_digest.c: is it what was sent? --- */

int sink_digest_begin(struct godwit_sink *s, struct err *e);
void sink_digest_end(struct godwit_sink *s);
int sink_hear_digest(struct godwit_sink *s, const struct link_record *rec, struct err *e);
/* The lanes have ended after this mark.  Waits for the source's digest; 0: it is the same. */
int sink_prove(struct godwit_sink *s, uint64_t sequence, enum sink_event *why, struct err *e);

/* ---- sink_arrive.c: hello to state --- */

/* Serves the link just attached up to READY (journaled, not yet said). *why: the kind of failure.
 */
int sink_arrive(struct godwit_sink *s, enum sink_event *why, struct err *e);

/* ---- sink_ready.c: from READY to an end (or to sink_free) --- */

void sink_ready(struct godwit_sink *s);

/* ---- what they share (sink.c) --- */

void sink_params(struct godwit_sink *s, struct godwit_params *out);
/* Around every callback that may take long. */
void sink_call_begin(struct godwit_sink *s);
void sink_call_end(struct godwit_sink *s);
int sink_say(struct godwit_sink *s, enum native_type type, const char *text, struct err *e);
/* Ends the case without a machine: discards what was built, says why, listens again. */
void sink_drop_case(struct godwit_sink *s, enum sink_event event, struct err *e);

#endif
