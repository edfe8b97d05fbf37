/*
 * What a side of a migration must not forget when its process dies (doc/spec/handover.md).
 *
 * Two files a machine, role and migration, in lines of JSON {"time","event","boot","token","peer"}:
 *   durable        intent: written and synced before the stop; under /var/lib/godwit (root),
 *                  $XDG_STATE_HOME/godwit or ~/.local/state/godwit.  A rebooted host that finds it
 *                  must not start the machine by itself.
 *   memory-backed  commit, abort, ready, running, ...: no sync inside the blackout; under
 *                  /run/godwit (root), $XDG_RUNTIME_DIR/godwit or /tmp/godwit-UID.  It outlives the
 *                  process, and the RAM it speaks of outlives nothing more.
 * ($GODWIT_STATE_DIR and $GODWIT_RUN_DIR name other folders.)  Both go away when the story ended well
 * on this side (aborted, discarded).  After `completed` and `running` they stay until the process ends
 * in good order: a source that is killed after it has given its machine away must not be started
 * again by whoever restarts what was killed, and a person who asks for an unresolved source finds out
 * that the machine did run here.
 */
#ifndef GODWIT_VMM_JOURNAL_H
#define GODWIT_VMM_JOURNAL_H

#include <stdbool.h>

#include "godwit/migrate.h"

#define JOURNAL_PEER_SIZE 384 /* as long as the engine's URIs */

struct journal {
    char durable[512], volatile_[512]; /* paths; "" until the first write */
    char uuid[37];
    bool is_source;
    bool open; /* committed or ready, and nothing heard since: the files must outlive the process */
    int lock;  /* on the source's durable file, for as long as this process lives; -1: none */
};

/* Takes note of names only; folders and files are made by the first write. */
void journal_init(struct journal *j, const char *uuid, bool is_source);
int journal_write(struct journal *j, enum godwit_journal what,
                  const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e);
/* The process ends in good order: removes the files, unless who runs the machine is still open. */
void journal_close(struct journal *j);

/* Asks the destination at `peer` what became of a migration; as godwit_ask. */
typedef int (*journal_ask_fn)(const char *peer, const uint8_t token[GODWIT_TOKEN_SIZE],
                              enum godwit_answer *out, struct err *e);
/* A machine that starts here afresh.  A journal says that it was, or may have been, given away: its
 * destination is asked, and its answer NEVER-RAN ends that story.  Else -EBUSY, with what a person
 * has to do. */
int journal_check_start(const char *uuid, journal_ask_fn ask, struct err *e);

#endif
