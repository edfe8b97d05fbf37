#include "stream/native/manifest.h"

#include <errno.h>
#include <inttypes.h>

#include "wire/reader.h"
#include "wire/record.h"
#include "wire/writer.h"

#define STAGE  "manifest"
#define VERIFY (1U << 0)

int native_manifest_encode(struct buf *out, const struct native_manifest *m)
{
    struct buf body;
    struct writer w;
    int ret;

    buf_init(&body, out->max);
    writer_init(&w, &body);
    writer_u16(&w, (uint16_t)m->lanes);
    writer_u16(&w, m->verify ? VERIFY : 0);
    writer_u32(&w, m->nregions);
    for (uint32_t i = 0; i < m->nregions; i++) {
        writer_u64(&w, m->regions[i].size);
        writer_string(&w, m->regions[i].name);
    }
    writer_u32(&w, (uint32_t)m->text_len);
    writer_bytes(&w, m->text, m->text_len);
    ret = w.failed ? -ENOMEM : record_append(out, NATIVE_MANIFEST, 0, body.data, body.len);
    buf_fini(&body);
    return ret;
}

static int read_region(struct reader *r, uint32_t i, struct native_region *region, uint64_t *sum,
                       struct err *e)
{
    region->size = reader_u64(r);
    reader_string(r, region->name, sizeof(region->name));
    if (r->failed)
        return err_set(e, -EPROTO, STAGE, "region %u is cut short or its name too long", i);
    for (const char *p = region->name; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            return err_set(e, -EPROTO, STAGE, "the name of region %u is not plain text", i);
    if (region->size == 0 || region->size % NATIVE_PAGE_SIZE ||
        region->size > NATIVE_REGION_MAX - *sum)
        return err_set(e, -EPROTO, STAGE,
                       "region %u (%s) has %" PRIu64 " bytes: a multiple of %u is allowed, and "
                       "%llu in all regions together",
                       i, region->name, region->size, NATIVE_PAGE_SIZE, NATIVE_REGION_MAX);
    *sum += region->size;
    return 0;
}

int native_manifest_decode(const void *body, size_t len, struct native_manifest *m, struct err *e)
{
    struct reader r;
    uint64_t sum = 0;
    uint16_t flags;
    int ret;

    reader_init(&r, body, len);
    m->lanes = reader_u16(&r);
    flags = reader_u16(&r);
    m->verify = flags & VERIFY;
    if (flags & ~VERIFY)
        return err_set(e, -EPROTO, STAGE,
                       "the manifest asks for what this destination does not "
                       "know (flags 0x%x)",
                       flags);
    m->nregions = reader_u32(&r);
    if (m->lanes == 0 || m->lanes > NATIVE_LANES_MAX)
        return err_set(e, -EPROTO, STAGE, "%u lanes are announced, 1 to %u are allowed", m->lanes,
                       NATIVE_LANES_MAX);
    if (m->nregions == 0 || m->nregions > NATIVE_REGIONS_MAX)
        return err_set(e, -EPROTO, STAGE, "%u regions are announced, 1 to %u are allowed",
                       m->nregions, NATIVE_REGIONS_MAX);
    for (uint32_t i = 0; i < m->nregions; i++) {
        ret = read_region(&r, i, &m->regions[i], &sum, e);
        if (ret)
            return ret;
    }
    m->text_len = reader_u32(&r);
    m->text = reader_view(&r, m->text_len);
    if (!reader_done(&r))
        return err_set(e, -EPROTO, STAGE, "the text's length (%zu) does not fit the record",
                       m->text_len);
    return 0;
}
