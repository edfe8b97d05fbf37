/*
 * A growing byte buffer for control data (manifests, device state, JSON).  Not for guest memory.
 * Growth is capped by `max`, so that no length taken from a peer can allocate without bound.
 */
#ifndef GODWIT_BASE_BUF_H
#define GODWIT_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* 0: BUF_MAX_DEFAULT */
};

#define BUF_MAX_DEFAULT (64U << 20)

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Makes room for `extra` more bytes; 0, -ENOMEM or -EMSGSIZE (past max). */
int buf_reserve(struct buf *b, size_t extra);
int buf_append(struct buf *b, const void *data, size_t len);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

#endif
