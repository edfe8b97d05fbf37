/*
 * VIEW and SEEN: where both ends are on one host, pages need not pass through a socket.  With VIEW
 * come descriptors of the files behind regions (SCM_RIGHTS); SEEN is PAGES without the bytes of its
 * data runs, which the destination takes from such a file.
 */
#ifndef GODWIT_STREAM_NATIVE_VIEW_H
#define GODWIT_STREAM_NATIVE_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"
#include "stream/native/pages.h"

#define NATIVE_VIEW_MAX 8U /* files of one record */

/* Of which regions the descriptors are, in their order, and where in each file its region begins.
 * The answer names those that can be used; their offsets are 0. */
struct native_view {
    uint32_t n;
    struct native_view_file {
        uint32_t region;
        uint64_t offset;
    } files[NATIVE_VIEW_MAX];
};

int native_view_encode(struct buf *out, const struct native_view *v);
int native_view_decode(const void *body, size_t len, struct native_view *v, struct err *e);

/* As native_pages_encode; native_pages_fixed and native_pages_table read both. */
size_t native_seen_encode(uint8_t out[NATIVE_PAGES_HEAD_MAX], uint32_t region,
                          const struct native_run *runs, uint32_t nruns);

#endif
