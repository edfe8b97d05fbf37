/*
 * HELLO: the first record on every channel, from whoever connected (doc/spec/stream.md, "Hello").
 * Magic, version and architecture come first and keep their places in every version to come, so
 * that two programs of any age can tell each other why they do not get on.
 */
#ifndef GODWIT_STREAM_NATIVE_HELLO_H
#define GODWIT_STREAM_NATIVE_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"

enum native_role {
    NATIVE_ROLE_CONTROL, /* begins a migration */
    NATIVE_ROLE_LANE,    /* joins the migration of this token as lane `index` */
    NATIVE_ROLE_AGAIN,   /* the migration of this token lost its link after READY */
    NATIVE_ROLE_COUNT
};

struct native_hello {
    uint32_t version;
    uint32_t arch;
    uint32_t role;
    uint32_t index;
    uint32_t page_size;
    uint8_t token[NATIVE_TOKEN_SIZE];
};

/* version, arch and page_size are filled in with this program's own. */
int native_hello_encode(struct buf *out, enum native_role role, uint32_t index,
                        const uint8_t token[NATIVE_TOKEN_SIZE]);
/* -EPROTO: not a HELLO at all (say nothing to such a peer); -EPROTONOSUPPORT: of another version,
 * architecture or page size (e says which: tell it). */
int native_hello_decode(const void *body, size_t len, struct native_hello *h, struct err *e);

int native_welcome_encode(struct buf *out);
int native_welcome_decode(const void *body, size_t len, struct err *e);

#endif
