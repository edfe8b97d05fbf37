#include "stream/native/body.h"

#include <errno.h>

#include "wire/record.h"

void body_begin(struct body *b, size_t max)
{
    buf_init(&b->bytes, max);
    writer_init(&b->w, &b->bytes);
}

int body_end(struct body *b, struct buf *out, uint32_t type, uint32_t flags)
{
    int ret = b->w.failed ? -ENOMEM : record_append(out, type, flags, b->bytes.data, b->bytes.len);

    buf_fini(&b->bytes);
    return ret;
}

int body_check(const struct reader *r, enum native_type type, struct err *e)
{
    if (!reader_done(r))
        return err_set(e, -EPROTO, "stream", "the %s record (%zu bytes) is malformed",
                       native_type_name(type), r->len);
    return 0;
}
