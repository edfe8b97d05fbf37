/* poll() until a moment on CLOCK_MONOTONIC, with the clock's own resolution. */
#ifndef GODWIT_MIGRATE_WAIT_H
#define GODWIT_MIGRATE_WAIT_H

#include <poll.h>
#include <stdint.h>

/* 0 when something is ready, -ETIME at deadline_ns (0: never). Signals are waited through. */
int wait_poll(struct pollfd *fds, unsigned n, uint64_t deadline_ns);

/* The earlier of two deadlines, of which 0 means never. */
uint64_t wait_earlier(uint64_t a, uint64_t b);

#endif
