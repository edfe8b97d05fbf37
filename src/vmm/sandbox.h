/*
 * The sandbox, in two stages.  The process: once everything is open, capabilities are dropped, no new
 * privileges can be gained, and nothing can be executed any more.  Each thread: system calls outside
 * its role's list are not made and give EPERM.
 *
 * A vCPU's thread answers the guest's accesses, so it may do what devices do; it can open nothing,
 * connect nowhere and start nothing.  The engine's lanes and the disks' threads inherit the main
 * thread's list.
 */
#ifndef GODWIT_VMM_SANDBOX_H
#define GODWIT_VMM_SANDBOX_H

#include <stdbool.h>

#include "base/err.h"

enum sandbox_role { SANDBOX_MAIN, SANDBOX_VCPU, SANDBOX_ROLE_COUNT };

/* The process, then the calling (main) thread, before any other thread is started.  keep_net_admin:
 * a tap will have to be attached by name when a machine arrives. */
int sandbox_start(bool keep_net_admin, struct err *e);
/* The calling thread, for ever. */
int sandbox_enter(enum sandbox_role role, struct err *e);

#endif
