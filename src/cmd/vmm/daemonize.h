/*
 * Going to the background.  The caller's process stays until the machine is ready or has failed,
 * and passes on what is said on stderr meanwhile, so that a failing start is seen where it was
 * asked for, with exit status 1.
 */
#ifndef GODWIT_CMD_VMM_DAEMONIZE_H
#define GODWIT_CMD_VMM_DAEMONIZE_H

#include "base/err.h"

/* Returns in the daemon alone: in a session of its own, stdin and stdout on /dev/null, SIGPIPE
 * ignored, *ready_fd to be written one byte when the machine is ready.  stderr leads to the caller
 * until then, and nowhere after.  The caller's process exits in here, with 0 after that byte and 1
 * when the daemon ended before it.  On failure -errno, in the
 * caller's process. */
int daemonize(int *ready_fd, struct err *e);

#endif
