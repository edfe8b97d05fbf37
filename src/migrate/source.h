/*
 * The source's insides, shared by source*.c only.
 *
 * Theory of operation.  One thread walks through the stages in order (source_setup, source_precopy,
 * source_switch, then source_await or source_keep) and calls the monitor back.  Waiting always
 * happens in source_expect or source_wait_lanes, where a record, a lane's failure and a cancel are
 * all heard at once.  Other threads only set what `lock` guards and ring the bell.
 */
#ifndef GODWIT_MIGRATE_SOURCE_H
#define GODWIT_MIGRATE_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "godwit/migrate.h"
#include "migrate/bell.h"
#include "migrate/converge.h"
#include "migrate/digest.h"
#include "migrate/handover.h"
#include "migrate/intent.h"
#include "migrate/link.h"
#include "migrate/pace.h"
#include "migrate/sender.h"
#include "migrate/stats.h"
#include "stream/native/course.h"
#include "stream/native/hello.h"
#include "stream/native/native.h"
#include "transport/dial.h"

enum source_word { WORD_NONE, WORD_RUN, WORD_DROP };

struct godwit_source {
    struct godwit_source_config config; /* regions points to `regions` */
    struct godwit_region regions[GODWIT_REGIONS_MAX];
    struct dialer dialer;
    struct scribe *scribe; /* file: addresses: who is at the other end; else NULL */
    char uri[384]; /* for messages and the journal */
    uint8_t token[GODWIT_TOKEN_SIZE];
    pthread_t thread;
    struct bell bell;
    struct stats stats;
    struct pace pace;
    atomic_bool stop;  /* ends all waiting before the commit */
    atomic_bool hurry; /* ends an attempt to reach the destination: a word is there */

    pthread_mutex_t lock; /* guards what follows */
    struct godwit_params params;
    struct sender *sender;
    bool asked; /* cancel or fail was called: */
    enum godwit_status asked_status;
    struct err asked_error;
    bool committed;  /* too late for both */
    bool over;       /* decided, also too late */
    bool unresolved; /* a word is welcome */
    bool calling;    /* the migrate thread is in a callback: a lane keeps the link alive */
    enum source_word word;
    bool leaving; /* godwit_source_free waits */
    bool holding; /* paused, waits for godwit_source_continue */

    /* The migrate thread's own. */
    struct link link;
    enum source_state state;
    struct converge model;
    struct intent plan;
    uint32_t lanes;
    uint64_t total; /* bytes of all regions */
    uint64_t sequence, rounds, synced_ns, stopped_ns, committed_ns;
    uint64_t predicted_ns; /* the blackout, as of the switch */
    uint64_t hurried_ns;   /* since when the destination is waited for, the guest being paused */
    uint64_t rated_ns;     /* when the vCPUs' rates were asked for last */
    uint64_t rehearsed_ns; /* when it was rehearsed last; 0: never */
    uint64_t doubt_ns;     /* how long a rehearsal is believed that forbids the switch */
    uint64_t passed; /* the mark up to which the destination has all pages, by its own word */
    struct digest *digest; /* &hashes; NULL: off */
    struct digest hashes;
    uint64_t paused_ns; /* when the last vCPU had stopped (godwit_stopped) */
    uint64_t ready_ns;  /* when READY was heard */
    uint64_t own_ns;    /* the blackout up to COMMIT, as this side knows it */
    bool offered;    /* MANIFEST was sent: from here on a cut link is sought again */
    bool tracking;   /* dirty_start was called */
    bool intent;     /* journaled */
    bool all_sent;   /* round 1 is over */
    bool unhurried;  /* above the limit: rounds have a minimum length */
    bool foretold;   /* an end was predicted */
    bool state_sent; /* the destination may become READY */
    bool refused;    /* the destination said ERROR: it has given up by itself */
    bool rehearsing; /* a rehearsal was given up, and its answer may still come */
};

/* source_setup.c: hello, manifest, lanes. */
int source_setup(struct godwit_source *s, struct err *e);
/* A channel to the destination, and the first word on it. */
int source_connect(struct godwit_source *s, struct channel **out, struct err *e);
int source_hello(struct link *l, enum native_role role, uint32_t index, const uint8_t *token,
                 struct err *e);
/* An answer that needs no thought is there by then; 0: link-timeout is off. */
uint64_t source_link_deadline(struct godwit_source *s);
/* source_lanes.c: opens the lanes; have: what the destination has after a cut, NULL: the beginning. */
int source_lanes(struct godwit_source *s, const struct native_resume *have, struct err *e);
/* source_precopy.c: rounds, until the model says stop. */
int source_precopy(struct godwit_source *s, struct err *e);
/* ORs what is dirty into the lanes' bitmaps; *pages: bits set now. */
int source_sync(struct godwit_source *s, uint64_t *pages, struct err *e);
void source_go(struct godwit_source *s, bool first, bool last);
/* source_judge.c: one look at what is dirty and what to do about it. 0: *dirty bytes want another
 * round, which has been announced; 1: stop the guest now.  comparable: the pages got dirty since the
 * sync before. */
int source_judge(struct godwit_source *s, bool comparable, uint64_t *dirty, struct err *e);
/* Now and then while a round runs: the deadline, and who is held at a rate. */
int source_tick(struct godwit_source *s, struct err *e);
/* Ends the migration if its deadline is over and on_timeout says so; when: in words. 0: it goes on. */
int source_heed_deadline(struct godwit_source *s, const char *when, struct err *e);
/* Nobody is withheld any time from here on. */
void source_free_vcpus(struct godwit_source *s);
/* source_switch.c: stop, state, ready, commit. 0: committed. */
int source_switch(struct godwit_source *s, struct err *e);
/* source_await.c: after the commit, until it is known who runs. */
void source_await(struct godwit_source *s);
/* source_keep.c: the migration will not happen. */
void source_keep(struct godwit_source *s, int code, struct err *e);
/* Tells the destination that the machine runs here: at once if the link allows, else for up to
 * handover-timeout on new ones, if it may be READY. */
void source_tell(struct godwit_source *s, const char *why);

/* ---- what they share (source_wait.c) --- */

/* Waits for a record of this type. The destination's ERROR becomes e. deadline_ns 0: for ever. */
int source_expect(struct godwit_source *s, enum native_type type, uint64_t deadline_ns,
                  struct link_record *rec, struct err *e);
/* The same, but -ETIME (no error) when until_ns is over. */
int source_hear(struct godwit_source *s, enum native_type type, uint64_t until_ns,
                struct link_record *rec, struct err *e);
/* Waits until the lanes have done their job and the destination has it all. -ETIME (no error):
 * until_ns is over (0: never). */
int source_wait_lanes(struct godwit_source *s, uint64_t until_ns, struct err *e);
/* Waits until they have done the last one and READY was heard, in whatever order. */
int source_wait_ready(struct godwit_source *s, uint64_t deadline_ns, struct err *e);
/* Waits until something happened or until_ns (0: for ever), listening. 0: look again; -ETIME */
int source_listen(struct godwit_source *s, uint64_t until_ns, struct err *e);
/* Waits for a moment, listening. */
int source_pause(struct godwit_source *s, uint64_t ns, struct err *e);
/* Before a link is given up: the destination may have said why.  Its error, now e, or 0. */
int source_last_words(struct godwit_source *s, struct err *e);
/* After a failure: the reason that counts (a person's, the destination's, then e itself). */
void source_blame(struct godwit_source *s, int code, struct err *e);
/* Sends one of the handover's words. */
int source_say(struct godwit_source *s, enum native_type type, const char *text, struct err *e);
/* Around every callback that may take long. */
void source_call_begin(struct godwit_source *s);
void source_call_end(struct godwit_source *s);
/* godwit_source_free waits. */
bool source_is_leaving(struct godwit_source *s);
void source_params(struct godwit_source *s, struct godwit_params *out);
/* Ends the migration before the commit, as a person's cancel does. Any thread. -EBUSY, -EALREADY */
int source_end(struct godwit_source *s, enum godwit_status status, const struct err *why);
/* Ends and frees the lanes. */
void source_drop_lanes(struct godwit_source *s);

/* source_rehearse.c: the state travels once for practice. 0: *stop_ns, *save_ns, *load_ns are known;
 * -ENOTSUP: not here, or not in time; else the verdict.  Does source_tick's work meanwhile. */
int source_rehearse(struct godwit_source *s, uint64_t *stop_ns, uint64_t *save_ns,
                    uint64_t *load_ns, struct err *e);

/* source_reconnect.c: a step of precopy failed with `code`.  When that was the link's fault it seeks
 * the destination for up to network_timeout, the guest running on.  0: both sides are together again
 * and what was lost is set in the lanes' bitmaps: judge, and send the next round.  Else `code` or the
 * reason for giving up, in e. */
int source_reconnect(struct godwit_source *s, int code, struct err *e);

/* source_digest.c: once the last job is done, says what memory should be there. */
int source_send_digest(struct godwit_source *s, struct err *e);
/* The destination answered that it is another: finds the page, which is the error. */
int source_find_difference(struct godwit_source *s, uint64_t deadline_ns, struct err *e);
/* source_view.c: offers lane 0's peer to see the regions' files. *seen: bit per region that it will. */
int source_offer_view(struct godwit_source *s, struct channel *c, uint64_t deadline_ns,
                      uint64_t *seen, struct err *e);

/* source_verify.c: after the handover, outside of the blackout: the second look.  true: the destination
 * was told what came of it. */
bool source_verify(struct godwit_source *s);

/* ---- seek.c --- */

/* Connects anew and says which migration it is about; *cancel ends that. 0: the link is up; WELCOME
 * was heard and the word can be said. 1: the destination knew the answer already: *rec is it.
 * -ENOENT: somebody answered who does not know this migration.  With any other failure rec->type
 * tells whether the destination said it (NATIVE_ERROR, ...) or the link (0). */
int source_seek(struct godwit_source *s, const atomic_bool *cancel, uint64_t deadline_ns,
                struct link_record *rec, struct err *e);

#endif
