/* Descriptors that clients passed by getfd, by name, until something takes them. Main loop only. */
#ifndef GODWIT_VMM_FDSET_H
#define GODWIT_VMM_FDSET_H

struct fdset;

struct fdset *fdset_new(void);
void fdset_free(struct fdset *s); /* closes what was not taken */
/* Takes fd over; one of the same name is closed and replaced. 0, -ENOMEM, -ENOSPC (64 at most). */
int fdset_put(struct fdset *s, const char *name, int fd);
/* The descriptor, the caller's from now on; -1: none of that name. */
int fdset_take(struct fdset *s, const char *name);

#endif
