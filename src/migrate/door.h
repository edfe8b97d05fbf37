/*
 * The destination's door: one thread that answers the listener, whatever the migrate thread is busy
 * with.  It reads the HELLO of many callers at once without waiting for any: who is silent, slow or
 * talks nonsense is dropped at its deadline, and when there are too many the oldest goes first, so
 * that no stranger uses the listener up.  Well-spoken callers are handed to `guest`.
 */
#ifndef GODWIT_MIGRATE_DOOR_H
#define GODWIT_MIGRATE_DOOR_H

#include <stdint.h>

#include "base/err.h"
#include "stream/native/hello.h"
#include "transport/address.h"
#include "transport/channel.h"

struct door;

struct door_config {
    struct listener *listener; /* must outlive the door */
    /* Both on the door's thread.  guest owns c; it may write to it within a second. */
    void (*guest)(void *opaque, struct channel *c, const struct native_hello *hello);
    /* Called at least every tick_ms. */
    void (*tick)(void *opaque);
    void *opaque;
    uint32_t tick_ms;
};

int door_new(const struct door_config *config, struct door **out, struct err *e);
void door_free(struct door *d); /* ends the thread; NULL is fine */

/* Tells a caller why not, and closes. */
void door_refuse(struct channel *c, const struct err *why);

#endif
