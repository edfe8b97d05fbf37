#include "wire/record.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "wire/crc.h"
#include "wire/reader.h"
#include "wire/writer.h"

#define STAGE     "record"
#define CRC_SIZE  4
#define PAD       8
#define ALL_FLAGS (RECORD_CRC | RECORD_OPTIONAL)

uint64_t record_padded(uint64_t length)
{
    return (length + PAD - 1) & ~(uint64_t)(PAD - 1);
}

void record_header_encode(const struct record_header *h, uint8_t out[RECORD_HEADER_SIZE])
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(h->type >> (8 * i));
        out[4 + i] = (uint8_t)(h->flags >> (8 * i));
    }
    for (int i = 0; i < 8; i++)
        out[8 + i] = (uint8_t)(h->length >> (8 * i));
}

int record_header_decode(const uint8_t in[RECORD_HEADER_SIZE], uint64_t max,
                         struct record_header *h, struct err *e)
{
    struct reader r;

    reader_init(&r, in, RECORD_HEADER_SIZE);
    h->type = reader_u32(&r);
    h->flags = reader_u32(&r);
    h->length = reader_u64(&r);
    if (h->flags & ~ALL_FLAGS)
        return err_set(e, -EPROTO, STAGE,
                       "record type 0x%x has unknown flags 0x%x: the stream is damaged or of a "
                       "newer format",
                       h->type, h->flags & ~ALL_FLAGS);
    /* The second bound keeps record_padded from wrapping whatever max is. */
    if (h->length > max || h->length > UINT64_MAX - PAD)
        return err_set(e, -EPROTO, STAGE,
                       "record type 0x%x is %" PRIu64 " bytes long, at most %" PRIu64
                       " are allowed here",
                       h->type, h->length, max);
    if ((h->flags & RECORD_CRC) && h->length < CRC_SIZE)
        return err_set(e, -EPROTO, STAGE,
                       "record type 0x%x is %" PRIu64 " bytes long, too short for its checksum",
                       h->type, h->length);
    return 0;
}

int record_append(struct buf *out, uint32_t type, uint32_t flags, const void *body, size_t len)
{
    struct record_header h = {.type = type, .flags = flags | RECORD_CRC};
    uint8_t header[RECORD_HEADER_SIZE];
    size_t start = out->len;
    struct writer w;
    uint32_t crc;
    int ret;

    if (len > SIZE_MAX - RECORD_HEADER_SIZE - CRC_SIZE - PAD)
        return -EMSGSIZE;
    h.length = (uint64_t)len + CRC_SIZE;
    record_header_encode(&h, header);
    crc = crc32c(crc32c(0, header, sizeof(header)), body, len);
    ret = buf_reserve(out, RECORD_HEADER_SIZE + (size_t)record_padded(h.length));
    if (ret)
        return ret;
    writer_init(&w, out);
    writer_bytes(&w, header, sizeof(header));
    writer_bytes(&w, body, len);
    writer_u32(&w, crc);
    writer_align(&w, PAD);
    if (w.failed) {
        out->len = start;
        return -ENOMEM;
    }
    return 0;
}

int record_check(const struct record_header *h, const uint8_t *body, size_t *body_len,
                 struct err *e)
{
    uint8_t header[RECORD_HEADER_SIZE];
    uint32_t want, got;
    struct reader r;
    size_t len;

    if (!(h->flags & RECORD_CRC) || h->length < CRC_SIZE)
        return err_set(e, -EPROTO, STAGE, "record type 0x%x carries no checksum", h->type);
    len = (size_t)h->length - CRC_SIZE;
    reader_init(&r, body + len, CRC_SIZE);
    want = reader_u32(&r);
    record_header_encode(h, header);
    got = crc32c(crc32c(0, header, sizeof(header)), body, len);
    if (got != want)
        return err_set(e, -EBADMSG, STAGE,
                       "record type 0x%x of %" PRIu64 " bytes has checksum 0x%08x, its content "
                       "gives 0x%08x: damaged on the way",
                       h->type, h->length, want, got);
    for (uint64_t i = h->length; i < record_padded(h->length); i++)
        if (body[i] != 0)
            return err_set(e, -EPROTO, STAGE, "record type 0x%x has padding that is not zero",
                           h->type);
    *body_len = len;
    return 0;
}

int record_check_unknown(const struct record_header *h, const uint8_t *body, struct err *e)
{
    size_t len;

    return h->flags & RECORD_CRC ? record_check(h, body, &len, e) : 0;
}
