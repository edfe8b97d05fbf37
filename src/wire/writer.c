#include "wire/writer.h"

#include <endian.h>
#include <string.h>

void writer_init(struct writer *w, struct buf *buf)
{
    *w = (struct writer){.buf = buf, .start = buf->len};
}

void writer_bytes(struct writer *w, const void *data, size_t len)
{
    if (!w->failed && buf_append(w->buf, data, len))
        w->failed = true;
}

void writer_u8(struct writer *w, uint8_t v)
{
    writer_bytes(w, &v, sizeof(v));
}

void writer_u16(struct writer *w, uint16_t v)
{
    v = htole16(v);
    writer_bytes(w, &v, sizeof(v));
}

void writer_u32(struct writer *w, uint32_t v)
{
    v = htole32(v);
    writer_bytes(w, &v, sizeof(v));
}

void writer_u64(struct writer *w, uint64_t v)
{
    v = htole64(v);
    writer_bytes(w, &v, sizeof(v));
}

void writer_string(struct writer *w, const char *s)
{
    size_t len = strlen(s);

    if (len > UINT16_MAX) {
        w->failed = true;
        return;
    }
    writer_u16(w, (uint16_t)len);
    writer_bytes(w, s, len);
}

void writer_align(struct writer *w, size_t align)
{
    size_t pad = -writer_len(w) & (align - 1);

    if (w->failed || pad == 0)
        return;
    if (buf_reserve(w->buf, pad)) {
        w->failed = true;
        return;
    }
    memset(w->buf->data + w->buf->len, 0, pad);
    w->buf->len += pad;
}

static void patch(struct writer *w, size_t at, const void *v, size_t len)
{
    if (w->failed || at > writer_len(w) || len > writer_len(w) - at) {
        w->failed = true;
        return;
    }
    memcpy(w->buf->data + w->start + at, v, len);
}

void writer_patch_u32(struct writer *w, size_t at, uint32_t v)
{
    v = htole32(v);
    patch(w, at, &v, sizeof(v));
}

void writer_patch_u64(struct writer *w, size_t at, uint64_t v)
{
    v = htole64(v);
    patch(w, at, &v, sizeof(v));
}

size_t writer_len(const struct writer *w)
{
    return w->buf->len - w->start;
}
