/* The writer's side of reader.h: little-endian values appended to a struct buf; errors stick. */
#ifndef GODWIT_WIRE_WRITER_H
#define GODWIT_WIRE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct writer {
    struct buf *buf;
    size_t start; /* where this writer began: alignment counts from here */
    bool failed;
};

void writer_init(struct writer *w, struct buf *buf);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_bytes(struct writer *w, const void *data, size_t len);
void writer_string(struct writer *w, const char *s); /* u16 length, bytes, no NUL */
void writer_align(struct writer *w, size_t align);
/* Overwrites a u32/u64 written earlier at `at` (offset from start). */
void writer_patch_u32(struct writer *w, size_t at, uint32_t v);
void writer_patch_u64(struct writer *w, size_t at, uint64_t v);
size_t writer_len(const struct writer *w);

#endif
