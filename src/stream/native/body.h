/*
 * The frame that every small record shares: a body written in memory, closed into a whole record; a
 * body read to its last byte, or malformed.
 */
#ifndef GODWIT_STREAM_NATIVE_BODY_H
#define GODWIT_STREAM_NATIVE_BODY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"
#include "wire/reader.h"
#include "wire/writer.h"

struct body {
    struct buf bytes;
    struct writer w;
};

/* max: bytes it may grow to; 0: as buf_init. */
void body_begin(struct body *b, size_t max);
/* Appends the record to out and frees the body. 0, or -errno when memory was short. */
int body_end(struct body *b, struct buf *out, uint32_t type, uint32_t flags);
/* -EPROTO unless all of it was read and nothing was missing. */
int body_check(const struct reader *r, enum native_type type, struct err *e);

#endif
