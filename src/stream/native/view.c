#include "stream/native/view.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "wire/reader.h"
#include "wire/record.h"
#include "wire/writer.h"

int native_view_encode(struct buf *out, const struct native_view *v)
{
    struct writer w;
    struct buf body;
    int ret;

    buf_init(&body, 0);
    writer_init(&w, &body);
    writer_u32(&w, v->n);
    writer_u32(&w, 0);
    for (uint32_t i = 0; i < v->n; i++) {
        writer_u32(&w, v->files[i].region);
        writer_u32(&w, 0);
        writer_u64(&w, v->files[i].offset);
    }
    ret = w.failed ? -ENOMEM : record_append(out, NATIVE_VIEW, 0, body.data, body.len);
    buf_fini(&body);
    return ret;
}

int native_view_decode(const void *body, size_t len, struct native_view *v, struct err *e)
{
    struct reader r;
    uint32_t zeros;
    bool ok;

    memset(v, 0, sizeof(*v));
    reader_init(&r, body, len);
    v->n = reader_u32(&r);
    zeros = reader_u32(&r);
    ok = v->n <= NATIVE_VIEW_MAX;
    for (uint32_t i = 0; ok && i < v->n; i++) {
        v->files[i].region = reader_u32(&r);
        zeros |= reader_u32(&r);
        v->files[i].offset = reader_u64(&r);
        ok = v->files[i].region < NATIVE_REGIONS_MAX &&
             v->files[i].offset <= NATIVE_REGION_MAX && v->files[i].offset % NATIVE_PAGE_SIZE == 0;
    }
    if (!ok || zeros || !reader_done(&r))
        return err_set(e, -EPROTO, "stream", "the view record (%zu bytes) is malformed", len);
    return 0;
}

size_t native_seen_encode(uint8_t out[NATIVE_PAGES_HEAD_MAX], uint32_t region,
                          const struct native_run *runs, uint32_t nruns)
{
    uint32_t fixed[2] = {htole32(region), htole32(nruns)};

    memcpy(out + RECORD_HEADER_SIZE, fixed, sizeof(fixed));
    return native_runs_seal(out, NATIVE_SEEN, NATIVE_PAGES_FIXED, runs, nruns, 0);
}
