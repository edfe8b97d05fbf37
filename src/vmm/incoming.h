/*
 * A machine that arrives: this monitor's side of the engine's sink callbacks.  Made once by -incoming
 * or migrate-incoming; it listens until a machine runs here, and answers its source's repeated
 * questions afterwards.  Main loop only, but incoming_free (any other thread).
 */
#ifndef GODWIT_VMM_INCOMING_H
#define GODWIT_VMM_INCOMING_H

#include <stdbool.h>

#include "base/err.h"
#include "godwit/migrate.h"

struct monitor;
struct incoming;

/* Listens on uri; sets m->incoming. */
int incoming_start(struct monitor *m, const char *uri, struct err *e);
/* A person's word, taken when it waits for one; what came of it is in query-migrate. */
int incoming_resolve(struct monitor *m, bool run, struct err *e);
void incoming_params_changed(struct monitor *m);
/* Large: keep it off the stack. */
void incoming_record(struct incoming *in, struct godwit_record *out);
/* Takes down a machine that never ran here and waits; that one was READY stays in the journal. NULL is
 * fine. */
void incoming_free(struct incoming *in);

#endif
