/*
 * Compression of pages, one packer a lane (and one a receiving lane): lz4 or zstd, and the choice
 * between them and none.  Pages are copied before they are compressed: the guest writes to them
 * meanwhile, and what is hashed must be what is sent.
 *
 * Theory of the choice (GODWIT_COMPRESS_AUTO).  All costs are nanoseconds a byte of pages.  Plain,
 * a byte costs l, what the link takes for one (max-bandwidth included).  Packed, at the ratio r =
 * packed/pages, it costs c in the codec and r*l on the link: max(c, r*l) where socket buffers keep
 * the link busy while the lane packs, c + r*l where the lane itself is the link (loopback), and the
 * share s between the two is measured: max + s*min.  The cheapest wins.
 *
 *  - c and r are averages over what was packed lately; c is what packing takes with a CPU of its
 *    own, and a surcharge for others having it meanwhile is kept apart, for all codecs.  A codec
 *    that is not in use is tried for one batch now and then, so seldom that the trials cost less
 *    than 1 %: where it would lose clearly, or the link is fast, hardly ever; and zstd never where
 *    even lz4 is too slow.
 *  - l lies between (time blocked in the channel)/sent and (all time)/sent.  While pages go plain
 *    the two are the same; while the link is what limits, nearly so.  Where the codec limits, l is
 *    only known to be in there; it stays what it was, and once in a while pages go plain until
 *    the socket's buffer no longer hides how fast the link really is.  What that cost decides when
 *    it is done again.
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
    double link;   /* l; 0: not known yet */
    double serial; /* s */
    double stolen; /* time others have the CPU while a lane packs, as a share of c */
    struct pack_codec {
        double cost, ratio;        /* c with a CPU of its own, r; cost 0: never tried */
        double recent[3];          /* c of the last times */
        uint64_t tried;            /* `bytes` when it was in use last */
        uint64_t trial;            /* bytes of its last trial, or use if that was short */
    } codec[GODWIT_COMPRESS_AUTO]; /* NONE: tried only */
    struct pack_window {
        uint64_t pages, sent; /* bytes */
        uint64_t pack_ns, send_ns;
    } window, batch;             /* over which l and s are measured; this batch */
    double recent[3];            /* l of the last windows */
    uint64_t bytes;              /* of pages so far */
    uint64_t since;              /* `bytes` when `best` changed last */
    bool probing;                /* pages go plain to see how fast the link is */
    double known;                /* l before the probe */
    uint64_t patience;           /* bytes from one such probe to the next */
    enum godwit_compression now; /* what this batch is for: a trial when not `best` */
    enum godwit_compression best;
};

void pack_choice_init(struct pack_choice *c);
/* What to use for the next batch: NONE, LZ4 or ZSTD.  A batch is what goes to the channel together:
 * any number of pack_packed (none for NONE), then one pack_sent.  Short batches (a record or a few,
 * while packing) make trials cheap. */
enum godwit_compression pack_choose(struct pack_choice *c, enum godwit_compression wanted);
/* It took ns to pack `bytes` into `packed` (== bytes when given up).  Copying the pages first is
 * part of it. */
void pack_packed(struct pack_choice *c, enum godwit_compression codec, size_t bytes, size_t packed,
                 uint64_t ns);
/* The channel took `bytes` and kept the lane for ns (waiting for max-bandwidth included). */
void pack_sent(struct pack_choice *c, size_t bytes, uint64_t ns);

#endif
