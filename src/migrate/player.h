/*
 * The source's part when a machine comes out of a file: plays what scribe.h wrote, and says the
 * words that are not in it when the destination's allow them.
 */
#ifndef GODWIT_MIGRATE_PLAYER_H
#define GODWIT_MIGRATE_PLAYER_H

#include <stdint.h>

#include "base/err.h"

struct player;

/* Owns fd, a stream socket whose other end is the destination's listener, on failure too.  What is
 * wrong with the file's beginning is said now, the rest is told to the destination. */
int player_start(const char *path, uint64_t offset, int fd, struct player **out, struct err *e);
/* Ends it wherever it is. NULL is fine. */
void player_free(struct player *p);

#endif
