/*
 * The native stream: which records exist, on which channel and how long they may be.  The bytes are
 * described in doc/spec/stream.md; the frame around every record is wire/record.h.  The codecs in
 * this folder do no I/O: encoders append whole records to a buffer, decoders take one body.
 */
#ifndef GODWIT_STREAM_NATIVE_H
#define GODWIT_STREAM_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#define NATIVE_MAGIC       0x544957444f470a0dULL /* "\r\nGODWIT", as it reads on the wire */
#define NATIVE_VERSION     1
#define NATIVE_PAGE_SIZE   4096U
#define NATIVE_TOKEN_SIZE  16
#define NATIVE_REGIONS_MAX 64
#define NATIVE_LANES_MAX   64
#define NATIVE_NAME_MAX    31           /* bytes of a region's name */
#define NATIVE_REGION_MAX  (1ULL << 47) /* bytes of a region, and of all regions together */

/* ELF's e_machine, so that everybody already has a table of names. */
#define NATIVE_ARCH_X86_64  62
#define NATIVE_ARCH_AARCH64 183

enum native_type {
    NATIVE_HELLO = 1, /* either end of a channel's first exchange: who connects, and why */
    NATIVE_WELCOME,   /* the answer: go on */
    NATIVE_ERROR,     /* the answer when not, and the last word of a side that gives up */
    NATIVE_MANIFEST,
    NATIVE_ACCEPT,
    NATIVE_ROUND, /* optional: progress for the reader's statistics */
    NATIVE_PAGES, /* lanes */
    NATIVE_MARK,  /* lanes: the round barrier */
    NATIVE_STATE,
    NATIVE_READY,
    NATIVE_COMMIT,
    NATIVE_RUNNING,
    NATIVE_NEVER_RAN,
    NATIVE_ABORT,
    NATIVE_QUERY,
    NATIVE_PING,
    NATIVE_PONG,
    NATIVE_PASSED, /* optional: the destination has all pages up to a mark */
    NATIVE_PACKED,    /* lanes: pages, compressed or as differences */
    NATIVE_RESUME,    /* the destination's answer to AGAIN during precopy: what it has */
    NATIVE_REHEARSAL, /* a state to try; REHEARSED: how it went */
    NATIVE_REHEARSED,
    NATIVE_TIMES,     /* optional: how long a side took, for the other's record */
    NATIVE_DIGEST,    /* the source's root, and its answers while a difference is looked for */
    NATIVE_DIFFERS,   /* the destination's, and its questions */
    NATIVE_VIEW,      /* lanes: descriptors of the regions' files come with it; and the answer */
    NATIVE_SEEN,      /* lanes: pages that the destination takes from such a file itself */
    NATIVE_TYPE_END
};

/* "hello", "manifest", ...; "unknown" for anything else. */
const char *native_type_name(uint32_t type);
/* The most bytes (checksum included) a record of this type may have; for types of no known name the
 * most that is skipped when they are optional.  PAGES counts its payload. */
uint64_t native_type_max(uint32_t type);
bool native_type_known(uint32_t type);
/* "x86_64", "aarch64", "unknown". */
const char *native_arch_name(uint32_t arch);
/* What this program was built for. */
uint32_t native_arch_self(void);

#endif
