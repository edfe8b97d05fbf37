/*
 * Many small cases, each an outcome of its own: they are run in child processes, several at a time
 * (most of a case is waiting for a timeout), so that neither a crash nor a failed assertion ends
 * the walk.  A case that fails is named with everything that it printed.
 */
#ifndef TEST_POOL_H
#define TEST_POOL_H

#include <stddef.h>

struct pool_suite {
    const char *title;
    unsigned n;
    /* In a child, under cmocka. */
    void (*run)(unsigned index);
    void (*describe)(unsigned index, char *out, size_t cap);
};

/* Zeroed memory that the children share with their parent. */
void *pool_shared(size_t size);
/* How many cases failed.  GODWIT_FAULT_JOBS: how many at a time. */
unsigned pool_run(const struct pool_suite *s);
/* One case in this process, for a debugger. Not 0: it failed. */
int pool_run_one(const struct pool_suite *s, unsigned index);

#endif
