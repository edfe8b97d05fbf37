#include "wire/reader.h"

#include <endian.h>
#include <string.h>

void reader_init(struct reader *r, const void *data, size_t len)
{
    *r = (struct reader){.data = data, .len = len};
}

const uint8_t *reader_view(struct reader *r, size_t len)
{
    const uint8_t *p;

    if (r->failed || len > r->len - r->pos) {
        r->failed = true;
        return NULL;
    }
    p = r->data + r->pos;
    r->pos += len;
    return p;
}

void reader_bytes(struct reader *r, void *out, size_t len)
{
    const uint8_t *p = reader_view(r, len);

    if (len == 0)
        return; /* memcpy and memset take no NULL, not even for nothing */
    if (p)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

uint8_t reader_u8(struct reader *r)
{
    uint8_t v;

    reader_bytes(r, &v, sizeof(v));
    return v;
}

uint16_t reader_u16(struct reader *r)
{
    uint16_t v;

    reader_bytes(r, &v, sizeof(v));
    return le16toh(v);
}

uint32_t reader_u32(struct reader *r)
{
    uint32_t v;

    reader_bytes(r, &v, sizeof(v));
    return le32toh(v);
}

uint64_t reader_u64(struct reader *r)
{
    uint64_t v;

    reader_bytes(r, &v, sizeof(v));
    return le64toh(v);
}

void reader_string(struct reader *r, char *out, size_t cap)
{
    uint16_t len = reader_u16(r);
    const uint8_t *p;

    if (cap == 0) {
        r->failed = true;
        return;
    }
    out[0] = '\0';
    if (len >= cap) {
        r->failed = true;
        return;
    }
    p = reader_view(r, len);
    if (!p)
        return;
    if (len && memchr(p, '\0', len)) {
        r->failed = true;
        return;
    }
    if (len)
        memcpy(out, p, len);
    out[len] = '\0';
}

void reader_align(struct reader *r, size_t align)
{
    reader_view(r, -r->pos & (align - 1));
}

size_t reader_left(const struct reader *r)
{
    return r->failed ? 0 : r->len - r->pos;
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->pos == r->len;
}
