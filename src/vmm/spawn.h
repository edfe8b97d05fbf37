/*
 * Commands for exec: addresses.  The sandbox can start nothing, so a helper process is forked
 * before it closes, if -sandbox says spawn=allow.  The helper gets a command over a socket, starts
 * it by /bin/sh with one end of a socket pair as its standard input and output, and passes the
 * other end back.  It has the monitor's standard error and nothing else of it, reaps what it
 * started, and ends when the monitor does.
 */
#ifndef GODWIT_VMM_SPAWN_H
#define GODWIT_VMM_SPAWN_H

#include "base/err.h"

struct spawner;

/* While the process has one thread, and before it opens anything that commands must not inherit. */
int spawner_start(struct spawner **out, struct err *e);
/* Main loop. Does not wait for the command, only (2 s at most) for the helper. *fd is the caller's.
 */
int spawner_run(struct spawner *s, const char *command, int *fd, struct err *e);
void spawner_free(struct spawner *s); /* NULL is fine; the commands run on */

#endif
