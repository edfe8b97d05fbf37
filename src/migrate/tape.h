/*
 * A migration in a file (doc/spec/stream.md, "In a file"): a head, then the frames of mux.h that
 * the source sent.  Written beside its name, and put there when it is whole and on the disk, so
 * that a crash leaves all of it or nothing; what was under the name stays until then.
 */
#ifndef GODWIT_MIGRATE_TAPE_H
#define GODWIT_MIGRATE_TAPE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "transport/mux.h"

#define TAPE_PATH_MAX 320
#define TAPE_HEAD     16

struct tape {
    int fd; /* -1: closed */
    char path[TAPE_PATH_MAX], part[TAPE_PATH_MAX + 8];
    bool writing;
    pthread_mutex_t lock; /* one frame after the other */
};

struct tape_frame {
    uint8_t channel;
    enum mux_kind kind; /* MUX_OPEN, MUX_DATA or MUX_END */
    uint32_t len;
    uint8_t data[MUX_FRAME];
};

/* Makes PATH.part: `offset` bytes of what is in PATH now, then the head. */
int tape_create(struct tape *t, const char *path, uint64_t offset, struct err *e);
/* Any thread. */
int tape_write(struct tape *t, uint8_t channel, enum mux_kind kind, const void *data, size_t len,
               struct err *e);
/* What was written is on the disk. */
int tape_sync(struct tape *t, struct err *e);
/* It is whole: from now on it is what is under PATH. */
int tape_finish(struct tape *t, struct err *e);

int tape_open(struct tape *t, const char *path, uint64_t offset, struct err *e);
/* 1: *f is there; 0: the end, which is no proof that it is whole; -errno. */
int tape_read(struct tape *t, struct tape_frame *f, struct err *e);

/* It will not be finished: nothing is left of it, whatever is still written. */
void tape_discard(struct tape *t);
/* Of a tape that was written and not finished nothing is left. */
void tape_close(struct tape *t);

#endif
