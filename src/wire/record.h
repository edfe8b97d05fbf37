/*
 * The native stream's record frame (doc/spec/stream.md): a 16-byte little-endian header
 * {u32 type, u32 flags, u64 length}, `length` bytes of body, zero padding to a multiple of 8.
 * Bit 31 of flags: optional, a reader that does not know the type skips it.  Bit 0: the body ends
 * in a CRC-32C (u32) over header and the body before it; `length` counts it.
 */
#ifndef GODWIT_WIRE_RECORD_H
#define GODWIT_WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define RECORD_HEADER_SIZE 16
#define RECORD_CRC         (1U << 0)
#define RECORD_OPTIONAL    (1U << 31)

struct record_header {
    uint32_t type;
    uint32_t flags;
    uint64_t length;
};

/* Bytes of body plus padding that follow the header. */
uint64_t record_padded(uint64_t length);
void record_header_encode(const struct record_header *h, uint8_t out[RECORD_HEADER_SIZE]);
/* Fails (-EPROTO) on unknown flag bits and on a length above max. */
int record_header_decode(const uint8_t in[RECORD_HEADER_SIZE], uint64_t max,
                         struct record_header *h, struct err *e);
/* Appends one whole CRC-protected record (header, body, crc, padding) to out. */
int record_append(struct buf *out, uint32_t type, uint32_t flags, const void *body, size_t len);
/* Checks the CRC of a record whose padded body was read; gives the body's length without it. */
int record_check(const struct record_header *h, const uint8_t *body, size_t *body_len,
                 struct err *e);
/* The same for a record that is about to be skipped, being optional and of no known type: it may be
 * one of a known type whose header was damaged.  Without RECORD_CRC there is nothing to check. */
int record_check_unknown(const struct record_header *h, const uint8_t *body, struct err *e);

#endif
