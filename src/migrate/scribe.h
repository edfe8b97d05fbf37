/*
 * The destination's part when a machine is saved into a file: says what a destination says, and
 * writes down what the source sends (tape.h).
 *
 * Its READY means that all is on the disk, its RUNNING that the file is under its name.  When
 * anything fails the source hears the reason, its guest runs on, and no file is left.
 */
#ifndef GODWIT_MIGRATE_SCRIBE_H
#define GODWIT_MIGRATE_SCRIBE_H

#include <stdint.h>

#include "base/err.h"

struct scribe;

/* Owns fd, a stream socket whose other end is the source's (mux.h), on failure too.  What is wrong
 * with the path is said now. */
int scribe_start(const char *path, uint64_t offset, int fd, struct scribe **out, struct err *e);
/* After the source closed its end; waits for the thread. NULL is fine. */
void scribe_free(struct scribe *s);

#endif
