/*
 * The native stream's codecs: the input is taken as records one after the other, as `godwit stream
 * show` would read a file.  What decodes is encoded again and must give the same bytes.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "stream/native/course.h"
#include "stream/native/hello.h"
#include "stream/native/manifest.h"
#include "stream/native/pages.h"
#include "stream/native/proof.h"
#include "stream/native/view.h"
#include "stream/native/words.h"
#include "wire/record.h"

static void expect_same(const struct buf *b, const uint8_t *body, size_t len)
{
    if (b->len < RECORD_HEADER_SIZE + len || memcmp(b->data + RECORD_HEADER_SIZE, body, len))
        abort();
}

static void try_manifest(const uint8_t *body, size_t len, struct buf *b)
{
    struct native_manifest m;

    if (native_manifest_decode(body, len, &m, NULL))
        return;
    if (native_manifest_encode(b, &m))
        abort();
    expect_same(b, body, len);
}

static void try_state(const uint8_t *body, size_t len, struct buf *b)
{
    struct native_state v;

    if (native_state_decode(body, len, &v, NULL))
        return;
    if (native_state_encode(b, &v))
        abort();
    expect_same(b, body, len);
}

static void try_course(uint32_t type, const uint8_t *body, size_t len, struct buf *b)
{
    struct native_resume resume;
    struct native_rehearsal rehearsal;
    struct native_rehearsed rehearsed;
    struct native_times times;

    if (type == NATIVE_RESUME && !native_resume_decode(body, len, &resume, NULL)) {
        if (!native_resume_encode(b, &resume))
            expect_same(b, body, len);
    } else if (type == NATIVE_REHEARSAL && !native_rehearsal_decode(body, len, &rehearsal, NULL)) {
        if (!native_rehearsal_encode(b, &rehearsal))
            expect_same(b, body, len);
    } else if (type == NATIVE_REHEARSED && !native_rehearsed_decode(body, len, &rehearsed, NULL)) {
        if (!native_rehearsed_encode(b, &rehearsed))
            expect_same(b, body, len);
    } else if (type == NATIVE_TIMES) { /* its text may come out otherwise: printable */
        native_times_decode(body, len, &times, NULL);
    }
}

static void try_proof(uint32_t type, const uint8_t *body, size_t len, struct buf *b)
{
    static uint64_t sums[NATIVE_SUMS_MAX];
    struct native_digest digest;
    struct native_differs differs;

    if (type == NATIVE_DIGEST && !native_digest_decode(body, len, &digest, NULL)) {
        if (!native_digest_encode(b, &digest))
            expect_same(b, body, len);
    } else if (type == NATIVE_DIFFERS && !native_differs_decode(body, len, &differs, NULL)) {
        for (uint32_t i = 0; i < differs.span.count; i++)
            sums[i] = native_differs_sum(&differs, i);
        if (!native_differs_encode(b, &differs.span, sums))
            expect_same(b, body, len);
    }
}

static void try_view(const uint8_t *body, size_t len, struct buf *b)
{
    struct native_view v;

    if (native_view_decode(body, len, &v, NULL))
        return;
    if (native_view_encode(b, &v))
        abort();
    expect_same(b, body, len);
}

static void try_small(uint32_t type, const uint8_t *body, size_t len, struct buf *b)
{
    struct native_round round;
    struct native_mark mark;
    struct native_word word;
    struct err e;
    uint64_t stamp;

    if (type == NATIVE_ROUND && !native_round_decode(body, len, &round, NULL)) {
        if (!native_round_encode(b, &round))
            expect_same(b, body, len);
    } else if (type == NATIVE_MARK && !native_mark_decode(body, len, &mark, NULL)) {
        if (!native_mark_encode(b, &mark))
            expect_same(b, body, len);
    } else if (type == NATIVE_PING && !native_ping_decode(body, len, &stamp, NULL)) {
        if (!native_ping_encode(b, NATIVE_PING, stamp))
            expect_same(b, body, len);
    } else if (type == NATIVE_ERROR) {
        native_error_decode(body, len, &e, NULL);
    } else {
        native_word_decode(body, len, &word, NULL);
    }
}

static void try_body(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_hello hello;
    struct buf b;

    buf_init(&b, 0);
    if (type == NATIVE_HELLO)
        native_hello_decode(body, len, &hello, NULL);
    else if (type == NATIVE_WELCOME)
        native_welcome_decode(body, len, NULL);
    else if (type == NATIVE_MANIFEST)
        try_manifest(body, len, &b);
    else if (type == NATIVE_STATE)
        try_state(body, len, &b);
    else if (type == NATIVE_VIEW)
        try_view(body, len, &b);
    else if (type >= NATIVE_DIGEST)
        try_proof(type, body, len, &b);
    else if (type >= NATIVE_RESUME)
        try_course(type, body, len, &b);
    else
        try_small(type, body, len, &b);
    buf_fini(&b);
}

/* Bytes of the record that were looked at; 0: no more. */
static size_t try_pages(const struct record_header *h, const uint8_t *body, size_t left)
{
    static struct native_run runs[NATIVE_RUNS_MAX];
    static uint8_t head[NATIVE_PAGES_HEAD_MAX];
    uint32_t region, nruns;
    size_t len;

    if (left < NATIVE_PAGES_FIXED || native_pages_fixed(h, body, &region, &nruns, NULL))
        return 0;
    if (left - NATIVE_PAGES_FIXED < NATIVE_PAGES_TABLE(nruns))
        return 0;
    if (native_pages_table(h, body, body + NATIVE_PAGES_FIXED, 1U << 20, runs, NULL))
        return 0;
    if (h->type == NATIVE_SEEN)
        len = native_seen_encode(head, region, runs, nruns) - RECORD_HEADER_SIZE;
    else
        len = native_pages_encode(head, region, runs, nruns) - RECORD_HEADER_SIZE;
    if (memcmp(head + RECORD_HEADER_SIZE, body, len))
        abort();
    return h->length < left ? (size_t)h->length : left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= RECORD_HEADER_SIZE) {
        struct record_header h;
        size_t left = size - RECORD_HEADER_SIZE, used, len;

        if (record_header_decode(data, UINT32_MAX, &h, NULL))
            break;
        data += RECORD_HEADER_SIZE;
        if (h.type == NATIVE_PAGES || h.type == NATIVE_SEEN) {
            used = try_pages(&h, data, left);
        } else {
            if (h.length > native_type_max(h.type) || record_padded(h.length) > left)
                break;
            used = (size_t)record_padded(h.length);
            /* Whether the checksum is right or not: bodies behind a wrong one are of interest. */
            len = h.flags & RECORD_CRC ? (size_t)h.length - 4 : (size_t)h.length;
            record_check(&h, data, &used, NULL);
            used = (size_t)record_padded(h.length);
            try_body(h.type, data, len);
        }
        if (used == 0)
            break;
        data += used;
        size = left - used;
    }
    return 0;
}
