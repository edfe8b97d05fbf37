#include "migrate/pack.h"

#include <errno.h>
#include <stdlib.h>

#include <lz4.h>
#include <zstd.h>

#define STAGE "pack"

/* All contexts are made once; zstd's grow to what the level needs when it is first used. */
struct packer {
    void *lz4;
    ZSTD_CCtx *zstd;
    ZSTD_DCtx *unzstd;
};

int packer_new(struct packer **out, struct err *e)
{
    struct packer *p = calloc(1, sizeof(*p));

    *out = NULL;
    if (!p)
        return err_set_errno(e, -ENOMEM, STAGE, "a packer");
    p->lz4 = malloc((size_t)LZ4_sizeofState());
    p->zstd = ZSTD_createCCtx();
    p->unzstd = ZSTD_createDCtx();
    if (!p->lz4 || !p->zstd || !p->unzstd) {
        packer_free(p);
        return err_set_errno(e, -ENOMEM, STAGE, "the contexts of lz4 and zstd");
    }
    *out = p;
    return 0;
}

void packer_free(struct packer *p)
{
    if (!p)
        return;
    free(p->lz4);
    ZSTD_freeCCtx(p->zstd);
    ZSTD_freeDCtx(p->unzstd);
    free(p);
}

static size_t pack_lz4(struct packer *p, const void *in, size_t len, void *out, size_t cap)
{
    int n = LZ4_compress_fast_extState(p->lz4, in, out, (int)len, (int)cap, 1);

    return n > 0 ? (size_t)n : 0;
}

static size_t pack_zstd(struct packer *p, uint32_t level, const void *in, size_t len, void *out,
                        size_t cap)
{
    size_t n = ZSTD_compressCCtx(p->zstd, out, cap, in, len, level ? (int)level : 1);

    return ZSTD_isError(n) ? 0 : n;
}

size_t pack(struct packer *p, enum godwit_compression codec, uint32_t level, const void *in,
            size_t len, void *out, size_t cap)
{
    if (len > PACK_BOUND)
        return 0;
    if (cap > PACK_BOUND)
        cap = PACK_BOUND;
    if (codec == GODWIT_COMPRESS_LZ4)
        return pack_lz4(p, in, len, out, cap);
    if (codec == GODWIT_COMPRESS_ZSTD)
        return pack_zstd(p, level, in, len, out, cap);
    return 0;
}

/* Into a buffer of the whole length at once: neither library allocates by what the bytes claim. */
int unpack(struct packer *p, enum godwit_compression codec, const void *in, size_t packed,
           void *out, size_t len, struct err *e)
{
    size_t got = 0;
    int n;

    if (len > PACK_BOUND || packed > PACK_BOUND)
        return err_set(e, -EPROTO, STAGE, "%zu bytes packed into %zu are more than %u", len, packed,
                       PACK_BOUND);
    if (codec == GODWIT_COMPRESS_LZ4) {
        n = LZ4_decompress_safe(in, out, (int)packed, (int)len);
        got = n > 0 ? (size_t)n : 0;
    } else if (codec == GODWIT_COMPRESS_ZSTD) {
        got = ZSTD_decompressDCtx(p->unzstd, out, len, in, packed);
        if (ZSTD_isError(got))
            return err_set(e, -EPROTO, STAGE, "zstd: %s", ZSTD_getErrorName(got));
    }
    if (got != len || len == 0)
        return err_set(e, -EPROTO, STAGE, "%s: %zu packed bytes do not give %zu",
                       godwit_compression_name(codec), packed, len);
    return 0;
}
