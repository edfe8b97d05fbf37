/*
 * A machine that leaves: this monitor's side of the engine's source callbacks, and the one object a
 * `migrate` command makes.  It stays after the end to answer query-migrate.  Main loop only, but
 * outgoing_free (any thread but the main loop's: the engine's thread calls into the loop while it
 * ends).
 */
#ifndef GODWIT_VMM_OUTGOING_H
#define GODWIT_VMM_OUTGOING_H

#include <stdbool.h>

#include "base/err.h"
#include "godwit/migrate.h"

struct monitor;
struct outgoing;

/* 0: a machine could leave now; else why not. */
int outgoing_check_start(struct monitor *m, struct err *e);
/* Replaces m->outgoing (whose migration must have ended). */
int outgoing_start(struct monitor *m, const char *uri, struct err *e);
int outgoing_cancel(struct monitor *m, struct err *e);
/* pre-switchover ends; -EINVAL: it is not waited for. */
int outgoing_continue(struct monitor *m, struct err *e);
/* The guest is gone: the migration, if one runs, fails for this reason. */
void outgoing_guest_ended(struct monitor *m, const char *why);
/* A person's word, taken when it waits for one; what came of it is in query-migrate. */
int outgoing_resolve(struct monitor *m, bool run, struct err *e);
void outgoing_params_changed(struct monitor *m);
/* Large: keep it off the stack. */
void outgoing_record(struct outgoing *o, struct godwit_record *out);
/* The record's file has been written since its last word; else outgoing_free writes it. */
void outgoing_set_recorded(struct outgoing *o);
/* Not ended: also while unresolved. NULL: false */
bool outgoing_is_active(struct outgoing *o);
/* The handover is under way and will be decided soon, or memory is being compared: a quit waits for
 * that. NULL: false */
bool outgoing_holds_quit(struct outgoing *o);
/* From now on the comparison holds up nobody. NULL is fine. */
void outgoing_hurry(struct outgoing *o);
/* Cancels what can be and waits; what is unresolved stays so, in its journal. NULL is fine. */
void outgoing_free(struct outgoing *o);

#endif
