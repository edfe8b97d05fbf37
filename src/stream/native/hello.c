#include "stream/native/hello.h"

#include <errno.h>

#include "wire/reader.h"
#include "wire/record.h"
#include "wire/writer.h"

#define STAGE "hello"

static int append(struct buf *out, uint32_t type, struct buf *body, const struct writer *w)
{
    int ret = w->failed ? -ENOMEM : record_append(out, type, 0, body->data, body->len);

    buf_fini(body);
    return ret;
}

int native_hello_encode(struct buf *out, enum native_role role, uint32_t index,
                        const uint8_t token[NATIVE_TOKEN_SIZE])
{
    struct buf body;
    struct writer w;

    buf_init(&body, 0);
    writer_init(&w, &body);
    writer_u64(&w, NATIVE_MAGIC);
    writer_u32(&w, NATIVE_VERSION);
    writer_u32(&w, native_arch_self());
    writer_u32(&w, role);
    writer_u32(&w, index);
    writer_u32(&w, NATIVE_PAGE_SIZE);
    writer_u32(&w, 0);
    writer_bytes(&w, token, NATIVE_TOKEN_SIZE);
    return append(out, NATIVE_HELLO, &body, &w);
}

/* The places of these two are for ever; everything behind them belongs to the version. */
static int judge_version(const struct native_hello *h, struct err *e)
{
    if (h->version != NATIVE_VERSION)
        return err_set(e, -EPROTONOSUPPORT, STAGE,
                       "the source speaks version %u of the stream, this destination version %u: "
                       "use the same release on both sides",
                       h->version, NATIVE_VERSION);
    if (h->arch != native_arch_self())
        return err_set(e, -EPROTONOSUPPORT, STAGE,
                       "the source is a %s machine (%u), this destination a %s one: a machine "
                       "cannot move between architectures",
                       native_arch_name(h->arch), h->arch, native_arch_name(native_arch_self()));
    return 0;
}

int native_hello_decode(const void *body, size_t len, struct native_hello *h, struct err *e)
{
    struct reader r;
    int ret;

    reader_init(&r, body, len);
    if (reader_u64(&r) != NATIVE_MAGIC)
        return err_set(e, -EPROTO, STAGE, "the peer is no migration source");
    h->version = reader_u32(&r);
    h->arch = reader_u32(&r);
    if (r.failed)
        return err_set(e, -EPROTO, STAGE, "the hello is cut short after %zu bytes", len);
    ret = judge_version(h, e);
    if (ret)
        return ret;
    h->role = reader_u32(&r);
    h->index = reader_u32(&r);
    h->page_size = reader_u32(&r);
    if (reader_u32(&r) != 0)
        return err_set(e, -EPROTO, STAGE, "the hello's reserved field is not zero");
    reader_bytes(&r, h->token, sizeof(h->token));
    if (!reader_done(&r) || h->role >= NATIVE_ROLE_COUNT || h->index >= NATIVE_LANES_MAX)
        return err_set(e, -EPROTO, STAGE, "the hello (%zu bytes, role %u, index %u) is malformed",
                       len, h->role, h->index);
    if (h->page_size != NATIVE_PAGE_SIZE)
        return err_set(e, -EPROTONOSUPPORT, STAGE,
                       "the source counts in pages of %u bytes, this destination in %u",
                       h->page_size, NATIVE_PAGE_SIZE);
    return 0;
}

int native_welcome_encode(struct buf *out)
{
    struct buf body;
    struct writer w;

    buf_init(&body, 0);
    writer_init(&w, &body);
    writer_u64(&w, NATIVE_MAGIC);
    writer_u32(&w, NATIVE_VERSION);
    return append(out, NATIVE_WELCOME, &body, &w);
}

int native_welcome_decode(const void *body, size_t len, struct err *e)
{
    struct reader r;
    uint64_t magic;
    uint32_t version;

    reader_init(&r, body, len);
    magic = reader_u64(&r);
    version = reader_u32(&r);
    if (!reader_done(&r) || magic != NATIVE_MAGIC)
        return err_set(e, -EPROTO, STAGE, "the welcome is malformed");
    if (version != NATIVE_VERSION)
        return err_set(e, -EPROTONOSUPPORT, STAGE,
                       "the destination speaks version %u of the stream, this source version %u",
                       version, NATIVE_VERSION);
    return 0;
}
