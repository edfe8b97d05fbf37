/*
 * A bell: any thread rings it, one thread waits on its descriptor in poll().  It carries no news;
 * who hears it looks again at everything it waits for.
 */
#ifndef GODWIT_MIGRATE_BELL_H
#define GODWIT_MIGRATE_BELL_H

#include <stdint.h>

struct bell {
    int fd;
};

#define BELL_INIT                                                                                  \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

int bell_init(struct bell *b); /* 0 or -errno */
void bell_fini(struct bell *b);
void bell_ring(const struct bell *b);
/* Silences it; what rang it must be looked at afterwards. */
void bell_clear(const struct bell *b);
/* Waits for a ring up to deadline_ns (0: for ever), and clears it. 0 or -ETIME. */
int bell_wait(const struct bell *b, uint64_t deadline_ns);

#endif
