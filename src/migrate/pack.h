/*
 * Compression of pages, one packer a lane (and one a receiving lane): lz4 or zstd, and the choice
 * between them and none.  Pages are copied before they are compressed: the guest writes to them
 * meanwhile, and what is hashed must be what is sent.
 *
 * Theory of the choice (GODWIT_COMPRESS_AUTO).  A lane's link takes L bytes/s (measured over what it
 * was blocked for, max-bandwidth included), a codec C bytes/s of pages at a ratio r = packed/pages.
 * A byte of pages costs 1/L plain and max(1/C, r/L) .. 1/C + r/L packed; the cheapest wins.  Every
 * codec is tried again now and then, seldom where it lost clearly.
 */
#ifndef GODWIT_MIGRATE_PACK_H
#define GODWIT_MIGRATE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"

#define PACK_PAGES_MAX 64U /* of one packed record: 256 KiB, where ratios stop growing */
#define PACK_BOUND     (PACK_PAGES_MAX * GODWIT_PAGE_SIZE)

struct packer;

int packer_new(struct packer **out, struct err *e);
void packer_free(struct packer *p); /* NULL is fine */

/* len bytes (at most PACK_BOUND) into out.  Returns the packed bytes, or 0 when they would be more
 * than `cap`: then they go plain.  level: zstd's. */
size_t pack(struct packer *p, enum godwit_compression codec, uint32_t level, const void *in,
            size_t len, void *out, size_t cap);
/* Hostile bytes; exactly len bytes come out or -EPROTO. */
int unpack(struct packer *p, enum godwit_compression codec, const void *in, size_t packed,
           void *out, size_t len, struct err *e);

/* ---- the choice: pure arithmetic, no clock of its own ---- */

struct pack_choice {
    double link;       /* bytes/s; 0: not known */
    uint64_t link_bytes, link_ns; /* of the window under way */
    struct pack_codec {
        double speed, ratio;
        uint64_t tried;     /* batch number of the last trial */
        uint64_t patience;  /* batches until the next */
    } codec[GODWIT_COMPRESS_AUTO];
    uint64_t batches;
    enum godwit_compression best;
};

void pack_choice_init(struct pack_choice *c);
/* What to use for the next batch: NONE, LZ4 or ZSTD. */
enum godwit_compression pack_choose(struct pack_choice *c, enum godwit_compression wanted);
/* It took ns to pack `bytes` into `packed` (== bytes when given up). */
void pack_packed(struct pack_choice *c, enum godwit_compression codec, size_t bytes, size_t packed,
                 uint64_t ns);
/* The channel took `bytes` and kept the lane for ns (waiting for max-bandwidth included). */
void pack_sent(struct pack_choice *c, size_t bytes, uint64_t ns);

#endif
