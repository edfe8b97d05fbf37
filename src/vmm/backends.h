/*
 * The back-ends of a machine on this host: disk images, taps, kernel and initrd.
 *
 * Opened from the command line before privileges are dropped, found by id afterwards.  Nothing a
 * peer says is ever opened as a path: a manifest names ids, and each must be here already.
 */
#ifndef GODWIT_VMM_BACKENDS_H
#define GODWIT_VMM_BACKENDS_H

#include "base/err.h"
#include "machine/backend.h"
#include "machine/config.h"

struct fdset;

/* Opens everything the config names, unlocked and detached. kernel_fd/initrd_fd: -1 where absent. */
int backends_open(const struct machine_config *c, struct board_backends *b, struct err *e);
void backends_close(struct board_backends *b);

/* The taps whose descriptors were passed by getfd (-netdev fd=NAME); -ENOENT names a missing one. */
int backends_take_fds(struct board_backends *b, const struct machine_config *c, struct fdset *fds,
                      struct err *e);

/* A machine that starts here: locks of all images, all taps. On failure nothing is held. */
int backends_acquire(struct board_backends *b, struct err *e);
/* A destination: reservations only (manifest), then owner bytes and taps (run). */
int backends_reserve(struct board_backends *b, struct err *e);
int backends_take_over(struct board_backends *b, struct err *e);
/* Gives all locks and taps back; the descriptors of the images stay open. */
void backends_release(struct board_backends *b);

struct image *backends_image(const struct board_backends *b, const char *id);
struct tap *backends_tap(const struct board_backends *b, const char *id);

#endif
