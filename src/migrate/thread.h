/* Threads of the engine: named, and deaf to signals, which belong to the monitor's own threads. */
#ifndef GODWIT_MIGRATE_THREAD_H
#define GODWIT_MIGRATE_THREAD_H

#include <pthread.h>

/* name: at most 15 bytes. 0 or -errno. */
int thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg);

#endif
