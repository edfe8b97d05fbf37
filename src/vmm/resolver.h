/*
 * A person's word on an unresolved migration.  The engine carries it out with calls into the main
 * loop, so that the main loop, where the word is given, cannot wait for it: a thread does.  What
 * came of it is in query-migrate, and in the log when it could not be done.
 */
#ifndef GODWIT_VMM_RESOLVER_H
#define GODWIT_VMM_RESOLVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

/* All zero: no word was given. */
struct resolver {
    int (*resolve)(void *engine, bool run, struct err *e);
    void *engine;
    bool run;
    bool started; /* there is a thread to join */
    atomic_bool busy;
    pthread_t thread;
};

/* Main loop.  -EBUSY: an earlier word is still being carried out. */
int resolver_start(struct resolver *r, int (*resolve)(void *engine, bool run, struct err *e),
                   void *engine, bool run, struct err *e);
/* Waits for the thread, if there is one; before the engine is freed, not on the main loop. */
void resolver_finish(struct resolver *r);

#endif
