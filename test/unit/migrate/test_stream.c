/*
 * The native stream's codecs: what they write is read back, what is malformed is refused, and the
 * bytes are those of test/golden/stream-v1.bin, which no later version may stop to understand.
 *
 *   test_stream GOLDEN          runs the tests
 *   test_stream GOLDEN --write  writes the file (for a new version of the stream)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "stream/native/course.h"
#include "stream/native/hello.h"
#include "stream/native/manifest.h"
#include "stream/native/packed.h"
#include "stream/native/pages.h"
#include "stream/native/proof.h"
#include "stream/native/view.h"
#include "stream/native/words.h"
#include "wire/record.h"

static const char *golden_path;

static const uint8_t token[NATIVE_TOKEN_SIZE] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                 8, 9, 10, 11, 12, 13, 14, 15};

static const struct native_manifest manifest = {
    .lanes = 2,
    .nregions = 2,
    .regions = {{.name = "ram", .size = 1 << 20}, {.name = "vga", .size = 8192}},
    .text = (const uint8_t *)"{\"machine\":\"golden\"}",
    .text_len = 20,
};

static const struct native_run runs[] = {
    {.first = 0,   .count = 1,   .kind = NATIVE_RUN_DATA},
    {.first = 1,   .count = 100, .kind = NATIVE_RUN_ZERO},
    {.first = 255, .count = 1,   .kind = NATIVE_RUN_DATA},
};

static const struct native_state state_record = {
    .sequence = 2, .was_running = true, .data = (const uint8_t *)"the state", .len = 9};

static const struct err refusal = {
    .code = -EINVAL, .stage = "manifest", .text = "cpu: the feature avx2 is missing here"};

static const struct native_resume resume = {
    .passed = 3, .lanes = 2, .records = {7, 1ULL << 40}
};

static const struct native_rehearsal rehearsal = {.data = (const uint8_t *)"a try", .len = 5};

static const struct native_rehearsed rehearsed = {.loaded = true, .load_ns = 1234567};

static const struct native_times times = {
    .kind = NATIVE_TIMES_VERDICT,
    .own_ns = 1500000,
    .rtt_ns = 80000,
    .phase_ns = {1, 2, 3, 4, 5, 6},
    .verdict = NATIVE_VERDICT_DIFFERS,
    .differs = "ram page 0x1234"
};

static const struct native_digest digest = {
    .kind = NATIVE_DIGEST_ROOT, .sequence = 9, .root = 0x8877665544332211};

static const struct native_span span = {.region = 1, .count = 3, .first = 512, .each = 64};
static const uint64_t sums[] = {1, 0x0102030405060708, UINT64_MAX};

/* ---- the golden stream: one of each record -------------------------------------------------- */

static void add_pages(struct buf *b)
{
    uint8_t head[NATIVE_PAGES_HEAD_MAX], page[NATIVE_PAGE_SIZE];
    size_t len = native_pages_encode(head, 0, runs, 3);

    assert_int_equal(buf_append(b, head, len), 0);
    for (int i = 0; i < 2; i++) {
        memset(page, 0xa0 + i, sizeof(page));
        assert_int_equal(buf_append(b, page, sizeof(page)), 0);
    }
}

/* 16 bytes as they were, then "abc"; and a page that has not changed. */
static const uint8_t differences[] = {5, 0, 16, 3, 'a', 'b', 'c', 0, 0};

static void add_packed(struct buf *b)
{
    const struct native_packed p = {
        .region = 0, .codec = NATIVE_CODEC_DELTA, .nruns = 3, .packed = sizeof(differences)};
    uint8_t head[NATIVE_PACKED_HEAD_MAX], padding[8] = {0};
    size_t len = native_packed_encode(head, &p, runs);

    assert_int_equal(buf_append(b, head, len), 0);
    assert_int_equal(buf_append(b, differences, sizeof(differences)), 0);
    assert_int_equal(buf_append(b, padding, -sizeof(differences) & 7), 0);
}

static const struct native_view view = {.n = 2, .files = {{0, 0}, {1, 8192}}};

static void add_seen(struct buf *b)
{
    uint8_t head[NATIVE_PAGES_HEAD_MAX];

    assert_int_equal(buf_append(b, head, native_seen_encode(head, 0, runs, 3)), 0);
}

static void build_golden(struct buf *b)
{
    const struct native_round round = {.round = 2, .remaining = 123 * 4096};
    const struct native_mark mark = {.sequence = 2, .last = true};
    struct native_word w = {.text = ""};

    memcpy(w.token, token, sizeof(token));
    buf_init(b, 0);
    assert_int_equal(native_hello_encode(b, NATIVE_ROLE_LANE, 1, token), 0);
    assert_int_equal(native_welcome_encode(b), 0);
    assert_int_equal(native_error_encode(b, &refusal), 0);
    assert_int_equal(native_manifest_encode(b, &manifest), 0);
    assert_int_equal(native_word_encode(b, NATIVE_ACCEPT, &w), 0);
    assert_int_equal(native_round_encode(b, &round), 0);
    add_pages(b);
    assert_int_equal(native_mark_encode(b, &mark), 0);
    assert_int_equal(native_state_encode(b, &state_record), 0);
    for (enum native_type t = NATIVE_READY; t <= NATIVE_QUERY; t++) {
        snprintf(w.text, sizeof(w.text), "%s",
                 t == NATIVE_NEVER_RAN || t == NATIVE_ABORT ? "the reason" : "");
        assert_int_equal(native_word_encode(b, t, &w), 0);
    }
    assert_int_equal(native_ping_encode(b, NATIVE_PING, 0x1122334455667788), 0);
    assert_int_equal(native_ping_encode(b, NATIVE_PONG, 0x1122334455667788), 0);
    assert_int_equal(native_ping_encode(b, NATIVE_PASSED, 0x1122334455667788), 0);
    add_packed(b);
    assert_int_equal(native_resume_encode(b, &resume), 0);
    assert_int_equal(native_rehearsal_encode(b, &rehearsal), 0);
    assert_int_equal(native_rehearsed_encode(b, &rehearsed), 0);
    assert_int_equal(native_times_encode(b, &times), 0);
    assert_int_equal(native_digest_encode(b, &digest), 0);
    assert_int_equal(native_differs_encode(b, &span, sums), 0);
    assert_int_equal(native_view_encode(b, &view), 0);
    add_seen(b);
}

static size_t read_golden(uint8_t *data, size_t cap)
{
    FILE *f = fopen(golden_path, "rb");
    size_t n;

    assert_non_null(f);
    n = fread(data, 1, cap, f);
    assert_true(n < cap);
    fclose(f);
    return n;
}

static int write_golden(void)
{
    FILE *f = fopen(golden_path, "wb");
    struct buf b;
    int ok;

    build_golden(&b);
    ok = f && fwrite(b.data, 1, b.len, f) == b.len;
    if (f && fclose(f))
        ok = 0;
    buf_fini(&b);
    return ok ? 0 : 1;
}

static void test_golden_is_written(void **state)
{
    static uint8_t data[1 << 16];
    size_t n = read_golden(data, sizeof(data));
    struct buf b;

    build_golden(&b);
    assert_int_equal(b.len, n);
    assert_memory_equal(b.data, data, n);
    buf_fini(&b);
}

static void check_words(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_word w;

    assert_int_equal(native_word_decode(body, len, &w, NULL), 0);
    assert_memory_equal(w.token, token, sizeof(token));
    assert_string_equal(w.text,
                        type == NATIVE_NEVER_RAN || type == NATIVE_ABORT ? "the reason" : "");
}

static void check_manifest(const uint8_t *body, size_t len)
{
    struct native_manifest m;

    assert_int_equal(native_manifest_decode(body, len, &m, NULL), 0);
    assert_int_equal(m.lanes, 2);
    assert_int_equal(m.nregions, 2);
    assert_string_equal(m.regions[0].name, "ram");
    assert_int_equal(m.regions[1].size, 8192);
    assert_int_equal(m.text_len, manifest.text_len);
    assert_memory_equal(m.text, manifest.text, m.text_len);
}

static void check_course(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_resume r;
    struct native_rehearsal h;
    struct native_rehearsed d;
    struct native_times t;

    if (type == NATIVE_RESUME) {
        assert_int_equal(native_resume_decode(body, len, &r, NULL), 0);
        assert_memory_equal(&r, &resume, sizeof(r));
    } else if (type == NATIVE_REHEARSAL) {
        assert_int_equal(native_rehearsal_decode(body, len, &h, NULL), 0);
        assert_int_equal(h.len, 5);
        assert_memory_equal(h.data, "a try", 5);
    } else if (type == NATIVE_REHEARSED) {
        assert_int_equal(native_rehearsed_decode(body, len, &d, NULL), 0);
        assert_true(d.loaded && d.load_ns == 1234567);
    } else {
        assert_int_equal(native_times_decode(body, len, &t, NULL), 0);
        assert_true(t.kind == NATIVE_TIMES_VERDICT && t.verdict == NATIVE_VERDICT_DIFFERS);
        assert_true(t.own_ns == 1500000 && t.rtt_ns == 80000 && t.phase_ns[5] == 6);
        assert_string_equal(t.differs, "ram page 0x1234");
    }
}

static void check_proof(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_digest d;
    struct native_differs v;

    if (type == NATIVE_DIGEST) {
        assert_int_equal(native_digest_decode(body, len, &d, NULL), 0);
        assert_true(d.kind == NATIVE_DIGEST_ROOT && d.sequence == 9 && d.root == digest.root);
    } else {
        assert_int_equal(native_differs_decode(body, len, &v, NULL), 0);
        assert_memory_equal(&v.span, &span, sizeof(span));
        for (uint32_t i = 0; i < span.count; i++)
            assert_true(native_differs_sum(&v, i) == sums[i]);
    }
}

static void check_small(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_round round;
    struct native_mark mark;
    struct native_state s;
    struct err theirs;
    uint64_t stamp;

    if (type == NATIVE_ROUND) {
        assert_int_equal(native_round_decode(body, len, &round, NULL), 0);
        assert_int_equal(round.round, 2);
        assert_int_equal(round.remaining, 123 * 4096);
    } else if (type == NATIVE_MARK) {
        assert_int_equal(native_mark_decode(body, len, &mark, NULL), 0);
        assert_true(mark.sequence == 2 && mark.last);
    } else if (type == NATIVE_STATE) {
        assert_int_equal(native_state_decode(body, len, &s, NULL), 0);
        assert_true(s.sequence == 2 && s.was_running && s.len == 9);
        assert_memory_equal(s.data, "the state", 9);
    } else if (type == NATIVE_ERROR) {
        assert_int_equal(native_error_decode(body, len, &theirs, NULL), 0);
        assert_int_equal(theirs.code, -EINVAL);
        assert_string_equal(theirs.text, refusal.text);
    } else if (type == NATIVE_PING || type == NATIVE_PONG || type == NATIVE_PASSED) {
        assert_int_equal(native_ping_decode(body, len, &stamp, NULL), 0);
        assert_true(stamp == 0x1122334455667788);
    } else {
        check_words(type, body, len);
    }
}

static void check_record(uint32_t type, const uint8_t *body, size_t len)
{
    struct native_hello hello;

    if (type == NATIVE_HELLO) {
        assert_int_equal(native_hello_decode(body, len, &hello, NULL), 0);
        assert_int_equal(hello.role, NATIVE_ROLE_LANE);
        assert_int_equal(hello.index, 1);
        assert_memory_equal(hello.token, token, sizeof(token));
    } else if (type == NATIVE_WELCOME) {
        assert_int_equal(native_welcome_decode(body, len, NULL), 0);
    } else if (type == NATIVE_MANIFEST) {
        check_manifest(body, len);
    } else if (type >= NATIVE_DIGEST) {
        check_proof(type, body, len);
    } else if (type >= NATIVE_RESUME) {
        check_course(type, body, len);
    } else {
        check_small(type, body, len);
    }
}

static void check_pages(const struct record_header *h, const uint8_t *body)
{
    struct native_run got[NATIVE_RUNS_MAX];
    uint32_t region, n;

    assert_int_equal(native_pages_fixed(h, body, &region, &n, NULL), 0);
    assert_true(region == 0 && n == 3);
    assert_int_equal(native_pages_table(h, body, body + NATIVE_PAGES_FIXED, 256, got, NULL), 0);
    assert_memory_equal(got, runs, sizeof(runs));
    assert_int_equal(body[h->length - 1], 0xa1);
}

static void check_packed(const struct record_header *h, const uint8_t *body)
{
    struct native_run got[NATIVE_RUNS_MAX];
    const uint8_t *table = body + NATIVE_PACKED_FIXED, *difference;
    struct native_packed p;
    struct reader r;
    uint32_t pages;
    size_t len;

    assert_int_equal(native_packed_fixed(h, body, &p, NULL), 0);
    assert_true(p.region == 0 && p.codec == NATIVE_CODEC_DELTA && p.nruns == 3);
    assert_int_equal(native_packed_table(h, body, table, 256, got, &pages, NULL), 0);
    assert_memory_equal(got, runs, sizeof(runs));
    assert_int_equal(pages, 2);
    reader_init(&r, table + NATIVE_PACKED_TABLE(p.nruns), p.packed);
    assert_int_equal(native_packed_next(&r, &difference, &len, NULL), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(difference, differences + 2, len);
    assert_int_equal(native_packed_next(&r, &difference, &len, NULL), 0);
    assert_true(len == 0 && reader_done(&r));
    assert_int_equal(native_packed_next(&r, &difference, &len, NULL), -EPROTO);
}

static void check_seen(const struct record_header *h, const uint8_t *body)
{
    struct native_run got[NATIVE_RUNS_MAX];
    uint32_t region, n;

    assert_int_equal(native_pages_fixed(h, body, &region, &n, NULL), 0);
    assert_true(region == 0 && n == 3);
    assert_int_equal(native_pages_table(h, body, body + NATIVE_PAGES_FIXED, 1 << 20, got, NULL), 0);
    assert_memory_equal(got, runs, 3 * sizeof(got[0]));
}

static void check_view(const uint8_t *body, size_t len)
{
    struct native_view got;

    assert_int_equal(native_view_decode(body, len, &got, NULL), 0);
    assert_memory_equal(&got, &view, sizeof(got));
}

static void test_golden_is_read(void **state)
{
    static uint8_t data[1 << 16];
    size_t n = read_golden(data, sizeof(data)), at = 0, len;
    uint32_t expected = 1;

    while (at < n) {
        struct record_header h;

        assert_int_equal(record_header_decode(data + at, UINT32_MAX, &h, NULL), 0);
        assert_int_equal(h.type, expected++);
        assert_true(h.length <= native_type_max(h.type));
        at += RECORD_HEADER_SIZE;
        if (h.type == NATIVE_SEEN) {
            check_seen(&h, data + at);
        } else if (h.type == NATIVE_PAGES) {
            check_pages(&h, data + at);
        } else if (h.type == NATIVE_PACKED) {
            check_packed(&h, data + at);
        } else if (h.type == NATIVE_VIEW) {
            assert_int_equal(record_check(&h, data + at, &len, NULL), 0);
            check_view(data + at, len);
        } else {
            assert_int_equal(record_check(&h, data + at, &len, NULL), 0);
            check_record(h.type, data + at, len);
        }
        at += (size_t)record_padded(h.length);
    }
    assert_int_equal(at, n);
    assert_int_equal(expected, NATIVE_TYPE_END);
}

/* Every body cut short or one byte too long is refused, whatever it is. */
static void try_length(uint32_t type, const uint8_t *body, size_t len, size_t whole)
{
    struct native_manifest m;
    struct native_hello hello;
    struct native_round round;
    struct native_mark mark;
    struct native_state s;
    struct native_word w;
    struct native_resume resumed;
    struct native_rehearsal tried;
    struct native_rehearsed how;
    struct native_times took;
    struct native_digest root;
    struct native_differs differs;
    struct native_view seen;
    struct err theirs;
    uint64_t stamp;
    int ret;

    switch (type) {
    case NATIVE_RESUME:
        ret = native_resume_decode(body, len, &resumed, NULL);
        break;
    case NATIVE_REHEARSAL:
        ret = native_rehearsal_decode(body, len, &tried, NULL);
        break;
    case NATIVE_REHEARSED:
        ret = native_rehearsed_decode(body, len, &how, NULL);
        break;
    case NATIVE_TIMES:
        ret = native_times_decode(body, len, &took, NULL);
        break;
    case NATIVE_DIGEST:
        ret = native_digest_decode(body, len, &root, NULL);
        break;
    case NATIVE_DIFFERS:
        ret = native_differs_decode(body, len, &differs, NULL);
        break;
    case NATIVE_VIEW:
        ret = native_view_decode(body, len, &seen, NULL);
        break;
    case NATIVE_HELLO:
        ret = native_hello_decode(body, len, &hello, NULL);
        break;
    case NATIVE_WELCOME:
        ret = native_welcome_decode(body, len, NULL);
        break;
    case NATIVE_MANIFEST:
        ret = native_manifest_decode(body, len, &m, NULL);
        break;
    case NATIVE_ROUND:
        ret = native_round_decode(body, len, &round, NULL);
        break;
    case NATIVE_MARK:
        ret = native_mark_decode(body, len, &mark, NULL);
        break;
    case NATIVE_STATE:
        ret = native_state_decode(body, len, &s, NULL);
        break;
    case NATIVE_ERROR:
        ret = native_error_decode(body, len, &theirs, NULL);
        break;
    case NATIVE_PING:
    case NATIVE_PONG:
    case NATIVE_PASSED:
        ret = native_ping_decode(body, len, &stamp, NULL);
        break;
    default:
        ret = native_word_decode(body, len, &w, NULL);
    }
    assert_int_equal(ret == 0, len == whole);
}

static void test_every_length(void **state)
{
    static uint8_t data[1 << 16];
    size_t n = read_golden(data, sizeof(data)), at = 0, whole;

    while (at < n) {
        struct record_header h;

        assert_int_equal(record_header_decode(data + at, UINT32_MAX, &h, NULL), 0);
        at += RECORD_HEADER_SIZE;
        if (h.type != NATIVE_PAGES && h.type != NATIVE_PACKED && h.type != NATIVE_SEEN) {
            assert_int_equal(record_check(&h, data + at, &whole, NULL), 0);
            for (size_t len = 0; len <= whole + 1; len++)
                try_length(h.type, data + at, len, whole);
        }
        at += (size_t)record_padded(h.length);
    }
}

/* ---- what is refused ------------------------------------------------------------------------ */

static int decode_manifest(const struct native_manifest *m)
{
    struct record_header h;
    struct native_manifest got;
    struct err e = ERR_INIT;
    struct buf b;
    size_t len;
    int ret;

    buf_init(&b, 0);
    assert_int_equal(native_manifest_encode(&b, m), 0);
    assert_int_equal(record_header_decode(b.data, UINT32_MAX, &h, NULL), 0);
    assert_int_equal(record_check(&h, b.data + RECORD_HEADER_SIZE, &len, NULL), 0);
    ret = native_manifest_decode(b.data + RECORD_HEADER_SIZE, len, &got, &e);
    assert_int_equal(ret == 0, e.text[0] == '\0');
    buf_fini(&b);
    return ret;
}

static void test_manifest_limits(void **state)
{
    struct native_manifest m = manifest;

    assert_int_equal(decode_manifest(&m), 0);
    m.lanes = 0;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m.lanes = NATIVE_LANES_MAX + 1;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m = manifest;
    m.nregions = 0;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m = manifest;
    m.regions[0].size = 0;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m.regions[0].size = 4097;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m.regions[0].size = NATIVE_REGION_MAX; /* alone it would do, together it is too much */
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m.regions[0].size = UINT64_MAX - 4095;
    assert_int_equal(decode_manifest(&m), -EPROTO);
    m = manifest;
    snprintf(m.regions[1].name, sizeof(m.regions[1].name), "a\nb");
    assert_int_equal(decode_manifest(&m), -EPROTO);
}

/* The body of the one record in b. */
static const uint8_t *body_of(const struct buf *b, size_t *len)
{
    struct record_header h;

    assert_int_equal(record_header_decode(b->data, UINT32_MAX, &h, NULL), 0);
    assert_int_equal(record_check(&h, b->data + RECORD_HEADER_SIZE, len, NULL), 0);
    return b->data + RECORD_HEADER_SIZE;
}

static void try_ask(struct native_span ask, int wanted)
{
    struct native_digest d = {.kind = NATIVE_DIGEST_ASK, .ask = ask}, got;
    const uint8_t *body;
    struct buf b;
    size_t len;

    buf_init(&b, 0);
    assert_int_equal(native_digest_encode(&b, &d), 0);
    body = body_of(&b, &len);
    assert_int_equal(native_digest_decode(body, len, &got, NULL), wanted);
    if (!wanted)
        assert_memory_equal(&got.ask, &ask, sizeof(ask));
    buf_fini(&b);
}

static void test_ask_limits(void **state)
{
    try_ask(span, 0);
    try_ask((struct native_span){.count = NATIVE_SUMS_MAX, .each = 1}, 0);
    try_ask((struct native_span){.count = NATIVE_SUMS_MAX + 1, .each = 1}, -EPROTO);
    try_ask((struct native_span){.count = 0, .each = 1}, -EPROTO);
    try_ask((struct native_span){.count = 1, .each = 0}, -EPROTO);
    try_ask((struct native_span){.count = 1, .each = UINT64_MAX}, -EPROTO);
    try_ask((struct native_span){.count = 1, .each = 1, .first = UINT64_MAX}, -EPROTO);
    try_ask((struct native_span){.count = 1, .each = 1, .region = NATIVE_REGIONS_MAX}, -EPROTO);
}

static void test_resume_limits(void **state)
{
    struct native_resume r = resume, got;
    uint8_t bytes[2048];
    struct buf b;
    size_t len;

    r.lanes = NATIVE_LANES_MAX;
    buf_init(&b, 0);
    assert_int_equal(native_resume_encode(&b, &r), 0);
    memcpy(bytes, body_of(&b, &len), b.len - RECORD_HEADER_SIZE);
    buf_fini(&b);
    assert_int_equal(native_resume_decode(bytes, len, &got, NULL), 0);
    for (int lanes = 0; lanes < 256; lanes++) {
        bytes[8] = (uint8_t)lanes;
        assert_int_equal(native_resume_decode(bytes, len, &got, NULL),
                         lanes == NATIVE_LANES_MAX ? 0 : -EPROTO);
    }
}

/* A manifest of before there were flags is one without them. */
static void test_manifest_flags(void **state)
{
    struct native_manifest m = manifest, got;
    uint8_t bytes[256];
    struct buf b;
    size_t len;

    m.verify = true;
    buf_init(&b, 0);
    assert_int_equal(native_manifest_encode(&b, &m), 0);
    memcpy(bytes, body_of(&b, &len), b.len - RECORD_HEADER_SIZE);
    buf_fini(&b);
    assert_int_equal(native_manifest_decode(bytes, len, &got, NULL), 0);
    assert_true(got.verify && got.lanes == 2);
    bytes[2] = 0;
    assert_int_equal(native_manifest_decode(bytes, len, &got, NULL), 0);
    assert_false(got.verify);
    bytes[2] = 2;
    assert_int_equal(native_manifest_decode(bytes, len, &got, NULL), -EPROTO);
}

static int decode_pages(const struct native_run *r, uint32_t n, uint64_t npages, int spoil)
{
    static uint8_t head[NATIVE_PAGES_HEAD_MAX];
    static struct native_run got[NATIVE_RUNS_MAX];
    const uint8_t *fixed = head + RECORD_HEADER_SIZE;
    struct record_header h;
    uint32_t region, nruns;

    native_pages_encode(head, 3, r, n);
    if (spoil >= 0)
        head[spoil] ^= 1;
    if (record_header_decode(head, UINT64_MAX, &h, NULL) ||
        native_pages_fixed(&h, fixed, &region, &nruns, NULL) || nruns != n)
        return -EPROTO;
    return native_pages_table(&h, fixed, fixed + NATIVE_PAGES_FIXED, npages, got, NULL);
}

static void test_pages_limits(void **state)
{
    struct native_run r[2] = {
        {.first = 4, .count = 2, .kind = NATIVE_RUN_DATA},
        {.first = 8, .count = 8, .kind = NATIVE_RUN_ZERO}
    };

    assert_int_equal(decode_pages(r, 2, 16, -1), 0);
    assert_int_not_equal(decode_pages(r, 2, 15, -1), 0); /* past the region */
    for (int i = 0; i < RECORD_HEADER_SIZE + NATIVE_PAGES_FIXED + 2 * NATIVE_RUN_SIZE + 4; i++)
        assert_int_not_equal(decode_pages(r, 2, 16, i), 0); /* any bit of the table */
    r[1].first = 5;                                         /* overlaps */
    assert_int_equal(decode_pages(r, 2, 16, -1), -EPROTO);
    r[1].first = 0; /* goes back */
    assert_int_equal(decode_pages(r, 2, 16, -1), -EPROTO);
    r[1] = (struct native_run){.first = UINT64_MAX, .count = 2, .kind = NATIVE_RUN_ZERO};
    assert_int_equal(decode_pages(r, 2, 16, -1), -EPROTO);
    r[1] = (struct native_run){.first = 8, .count = 0, .kind = NATIVE_RUN_ZERO};
    assert_int_equal(decode_pages(r, 2, 16, -1), -EPROTO);
    r[1] = (struct native_run){.first = 8, .count = 1, .kind = NATIVE_RUN_KIND_COUNT};
    assert_int_equal(decode_pages(r, 2, 16, -1), -EPROTO);
    r[1] = (struct native_run){.first = 8, .count = NATIVE_PAGES_DATA_MAX, .kind = NATIVE_RUN_DATA};
    assert_int_equal(decode_pages(r, 2, 1 << 20, -1), -EPROTO);
    r[1] = (struct native_run){.first = 8, .count = UINT32_MAX, .kind = NATIVE_RUN_ZERO};
    assert_int_equal(decode_pages(r, 2, 1ULL << 35, -1), 0); /* zeros cost nothing */
}

static int decode_packed(const struct native_packed *p, const struct native_run *r, uint64_t npages,
                         int spoil)
{
    static uint8_t head[NATIVE_PACKED_HEAD_MAX];
    static struct native_run got[NATIVE_RUNS_MAX];
    const uint8_t *fixed = head + RECORD_HEADER_SIZE;
    struct record_header h;
    struct native_packed q;
    uint32_t pages;

    native_packed_encode(head, p, r);
    if (spoil >= 0)
        head[spoil] ^= 1;
    if (record_header_decode(head, UINT64_MAX, &h, NULL) ||
        native_packed_fixed(&h, fixed, &q, NULL) || q.nruns != p->nruns)
        return -EPROTO;
    return native_packed_table(&h, fixed, fixed + NATIVE_PACKED_FIXED, npages, got, &pages, NULL);
}

static void test_packed_limits(void **state)
{
    struct native_run r[2] = {
        {.first = 4, .count = 2, .kind = NATIVE_RUN_DATA},
        {.first = 8, .count = 8, .kind = NATIVE_RUN_ZERO}
    };
    struct native_packed p = {.codec = NATIVE_CODEC_ZSTD, .nruns = 2, .packed = 1000};
    const int head = RECORD_HEADER_SIZE + NATIVE_PACKED_FIXED + 2 * NATIVE_RUN_SIZE + 8;

    assert_int_equal(decode_packed(&p, r, 16, -1), 0);
    assert_int_not_equal(decode_packed(&p, r, 15, -1), 0); /* past the region */
    for (int i = 0; i < head; i++)
        assert_int_not_equal(decode_packed(&p, r, 16, i), 0); /* any byte of the head */
    for (p.codec = 0; p.codec <= NATIVE_CODEC_END; p.codec++)
        assert_int_equal(decode_packed(&p, r, 16, -1) == 0,
                         p.codec > 0 && p.codec < NATIVE_CODEC_END);
    p.codec = NATIVE_CODEC_LZ4;
    p.packed = 0; /* of two pages */
    assert_int_equal(decode_packed(&p, r, 16, -1), -EPROTO);
    p.packed = 2 * NATIVE_PAGE_SIZE; /* no less than plain */
    assert_int_equal(decode_packed(&p, r, 16, -1), 0);
    p.packed++;
    assert_int_equal(decode_packed(&p, r, 16, -1), -EPROTO);
    p.codec = NATIVE_CODEC_DELTA;
    p.packed = 4; /* two lengths */
    assert_int_equal(decode_packed(&p, r, 16, -1), 0);
    p.packed = 3;
    assert_int_equal(decode_packed(&p, r, 16, -1), -EPROTO);
    p.packed = 1000;
    r[0].count = NATIVE_PACKED_DATA_MAX;
    p.nruns = 1;
    assert_int_equal(decode_packed(&p, r, 1000, -1), 0);
    r[0].count++;
    assert_int_equal(decode_packed(&p, r, 1000, -1), -EPROTO);
    r[0].kind = NATIVE_RUN_ZERO; /* nothing packed: that is PAGES */
    assert_int_equal(decode_packed(&p, r, 1000, -1), -EPROTO);
}

static void test_texts_are_printable(void **state)
{
    struct err bad = {.code = -EIO, .stage = "x", .text = "a\033[31mred\nline\x7f"}, got;
    struct record_header h;
    struct buf b;
    size_t len;

    buf_init(&b, 0);
    assert_int_equal(native_error_encode(&b, &bad), 0);
    assert_int_equal(record_header_decode(b.data, UINT32_MAX, &h, NULL), 0);
    assert_int_equal(record_check(&h, b.data + RECORD_HEADER_SIZE, &len, NULL), 0);
    assert_int_equal(native_error_decode(b.data + RECORD_HEADER_SIZE, len, &got, NULL), 0);
    assert_string_equal(got.text, "a?[31mred\nline?");
    buf_fini(&b);
}

static void test_names(void **state)
{
    for (uint32_t t = 1; t < NATIVE_TYPE_END; t++)
        assert_string_not_equal(native_type_name(t), "unknown");
    assert_string_equal(native_type_name(0), "unknown");
    assert_string_equal(native_type_name(NATIVE_TYPE_END), "unknown");
    assert_string_equal(native_type_name(NATIVE_NEVER_RAN), "never-ran");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_is_written),
        cmocka_unit_test(test_golden_is_read),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_manifest_limits),
        cmocka_unit_test(test_manifest_flags),
        cmocka_unit_test(test_ask_limits),
        cmocka_unit_test(test_resume_limits),
        cmocka_unit_test(test_pages_limits),
        cmocka_unit_test(test_packed_limits),
        cmocka_unit_test(test_texts_are_printable),
        cmocka_unit_test(test_names),
    };

    if (argc < 2)
        return 2;
    golden_path = argv[1];
    if (argc > 2 && !strcmp(argv[2], "--write"))
        return write_golden();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
