/*
 * The bounded cursor: the only place that turns foreign bytes into numbers.  Little-endian.
 * Errors stick: once a read would pass the end, `failed` is set, every later read gives 0 (or
 * NULL), and the caller checks once, at the end (or where a value decides an allocation).
 */
#ifndef GODWIT_WIRE_READER_H
#define GODWIT_WIRE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *data;
    size_t len;
    size_t pos;
    bool failed;
};

void reader_init(struct reader *r, const void *data, size_t len);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
void reader_bytes(struct reader *r, void *out, size_t len); /* zero-fills out on failure */
/* A view of len bytes inside the data, or NULL. */
const uint8_t *reader_view(struct reader *r, size_t len);
/* A u16-counted string of at most max bytes without NUL, copied and terminated (cap >= max + 1). */
void reader_string(struct reader *r, char *out, size_t cap);
/* Skips to the next multiple of align (a power of two) from the start. */
void reader_align(struct reader *r, size_t align);
size_t reader_left(const struct reader *r);
/* True when nothing failed and every byte was used. */
bool reader_done(const struct reader *r);

#endif
