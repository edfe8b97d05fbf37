/* The file of -pidfile: the process id, kept locked for as long as the process lives, so that two
 * machines cannot share one and a stale file is told from a live one. */
#ifndef GODWIT_CMD_VMM_PIDFILE_H
#define GODWIT_CMD_VMM_PIDFILE_H

#include "base/err.h"

struct pidfile {
    int fd;           /* -1: none */
    const char *path; /* the caller's */
};

#define PIDFILE_INIT                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Takes the file for this process. -EBUSY: another live process has it. */
int pidfile_open(struct pidfile *p, const char *path, struct err *e);
/* Removes the file and gives the lock up; nothing when none is open. */
void pidfile_close(struct pidfile *p);

#endif
