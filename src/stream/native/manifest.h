/*
 * MANIFEST: how many lanes will come, which regions will be filled, and the monitor's own text,
 * which the engine does not look into.
 */
#ifndef GODWIT_STREAM_NATIVE_MANIFEST_H
#define GODWIT_STREAM_NATIVE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"

struct native_region {
    char name[NATIVE_NAME_MAX + 1];
    uint64_t size; /* bytes; a multiple of NATIVE_PAGE_SIZE, not 0 */
};

struct native_manifest {
    uint32_t lanes;
    bool verify; /* both sides keep a digest: DIGEST follows the last page */
    uint32_t nregions;
    struct native_region regions[NATIVE_REGIONS_MAX];
    const uint8_t *text; /* a view of the decoded body */
    size_t text_len;
};

/* out's max must leave room for the text. */
int native_manifest_encode(struct buf *out, const struct native_manifest *m);
/* Checks counts, sizes (each and their sum) and names; m->text points into body. */
int native_manifest_decode(const void *body, size_t len, struct native_manifest *m, struct err *e);

#endif
