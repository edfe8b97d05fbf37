/*
 * Where a monitor keeps what outlives it.  Two kinds of folder, each nobody else's to write to:
 *   durable        survives the host: $GODWIT_STATE_DIR, /var/lib/godwit (root), $XDG_STATE_HOME/godwit
 *                  or ~/.local/state/godwit
 *   memory-backed  survives the process: $GODWIT_RUN_DIR, /run/godwit (root), $XDG_RUNTIME_DIR/godwit
 * and /tmp/godwit-UID where nothing else can be had.  They are made where they are missing.
 */
#ifndef GODWIT_VMM_STATE_DIR_H
#define GODWIT_VMM_STATE_DIR_H

#include <stddef.h>

enum state_dir_kind { STATE_DIR_DURABLE, STATE_DIR_MEMORY };

/* 0 and the absolute path, or -errno. */
int state_dir(enum state_dir_kind kind, char *out, size_t cap);
/* This very folder, made with its parents where it is missing.  -EPERM: others could write to it. */
int state_dir_make(const char *path);

#endif
