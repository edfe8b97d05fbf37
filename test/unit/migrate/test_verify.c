/*
 * Memory proven: what a wire changes is named before READY and the source goes on; what was never
 * sent, because nobody called it dirty, is named after the handover; both sides remember it.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proxy.h"
#include "stream/native/native.h"

static struct godwit_record *record_of(struct pair *p, bool source)
{
    struct godwit_record *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    if (source)
        godwit_source_record(p->source, r);
    else
        godwit_sink_record(p->sink, r);
    return r;
}

static void expect_verdict(struct pair *p, enum godwit_verified v, const char *page)
{
    for (int source = 0; source < 2; source++) {
        struct godwit_record *r;

        wait_until((source ? pair_source_stats(p) : pair_sink_stats(p)).verified == v);
        r = record_of(p, source);
        assert_string_equal(r->differs, page);
        free(r);
    }
}

static void test_identical(void **state)
{
    struct godwit_record *from, *to;
    struct pair p;

    pair_init(&p, 64 * MIB);
    fake_fill(&p.from, 0, 16384, 3);
    fake_source_dirty(&p.from, 100 * MIB, 3000);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    expect_verdict(&p, GODWIT_VERIFIED_IDENTICAL, "");
    from = record_of(&p, true);
    to = record_of(&p, false);
    assert_string_equal(from->stats.id, to->stats.id);
    assert_int_equal(strlen(from->stats.id), GODWIT_ID_SIZE - 1);
    assert_true(from->verify_ns > 0);
    /* Both know the blackout, and its parts. */
    assert_true(from->stats.blackout_ns > 0);
    assert_true(from->stats.blackout_ns == to->stats.blackout_ns);
    assert_true(from->phase_ns[GODWIT_PHASE_RESUME] > 0);
    for (int i = 0; i < GODWIT_PHASE_COUNT; i++)
        assert_true(from->phase_ns[i] == to->phase_ns[i]);
    free(from);
    free(to);
    pair_fini(&p);
}

static void test_off(void **state)
{
    struct pair p;

    pair_init(&p, 8 * MIB);
    fake_fill(&p.from, 0, 2048, 2);
    p.params.verify = false;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    expect_verdict(&p, GODWIT_VERIFIED_OFF, "");
    pair_fini(&p);
}

/* Where the fault is: "... page 0x1f". */
static uint64_t page_in(const char *text)
{
    const char *at = strstr(text, "memory differs after transport: ");

    assert_non_null(at);
    at = strstr(at, "ram");
    assert_non_null(at);
    at = strstr(at, " page 0x");
    assert_non_null(at);
    return strtoull(at + strlen(" page 0x"), NULL, 16);
}

/* One bit of one page turns over on the wire. */
static void test_wire_corrupts(void **state)
{
    const struct proxy_rule rule = {
        .connection = 1, .type = NATIVE_PAGES, .place = PROXY_MIDDLE, .after = PROXY_FLIPS};
    struct proxy *proxy;
    struct pair p;
    uint64_t page;

    pair_init(&p, 16 * MIB);
    fake_fill(&p.from, 0, 4096, 3);
    p.params.lanes = 1;
    p.params.compression = GODWIT_COMPRESS_NONE;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, &rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_true(proxy_has_cut(proxy));
    pair_expect_sink(&p, GODWIT_FAILED);
    page = page_in(pair_source_stats(&p).error.text);
    assert_true(page == page_in(pair_sink_stats(&p).error.text));
    assert_int_equal(page % 3, 0); /* one that was filled */
    pair_expect_kept(&p);
    assert_int_equal(p.from.resumes, 1);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

static void test_untracked_page(void **state)
{
    char page[64];
    const char *difference;
    struct pair p;

    pair_init(&p, 32 * MIB);
    fake_fill(&p.from, 0, 8192, 1);
    fake_source_dirty(&p.from, 100 * MIB, 4000);
    p.from.drop_dirty_page = true;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_COMPLETED);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    wait_until(p.from.finishes == 1);
    assert_false(p.from.drop_dirty_page); /* it was done */
    difference = fake_compare(&p.from, &p.to);
    assert_non_null(difference);
    snprintf(page, sizeof(page), "ram0 page 0x%llx",
             strtoull(strstr(difference, "page ") + 5, NULL, 10));
    expect_verdict(&p, GODWIT_VERIFIED_DIFFERS, page);
    pair_fini(&p);
}

/* Who leaves does not wait for the second look. */
static void test_left_while_looking(void **state)
{
    struct pair p;

    pair_init(&p, 256 * MIB);
    fake_fill(&p.from, 0, 65536, 64);
    pair_listen(&p, NULL);
    pair_migrate(&p);
    wait_until(p.from.given);
    p.from.slots[FAKE_NEXT_DATA].delay_ms = 50; /* a thousand times */
    pair_expect_source(&p, GODWIT_COMPLETED);
    assert_int_equal(pair_source_stats(&p).verified, GODWIT_VERIFIED_PENDING);
    pair_end_source(&p);
    assert_int_equal(p.from.finishes, 1);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    wait_until(pair_sink_stats(&p).verified != GODWIT_VERIFIED_PENDING);
    assert_int_equal(pair_sink_stats(&p).verified, GODWIT_VERIFIED_UNKNOWN);
    pair_fini(&p);
}

/* A state that the destination cannot load ends the migration before the guest is ever stopped. */
static void test_rehearsal_decides(void **state)
{
    struct pair p;

    pair_init(&p, 8 * MIB);
    fake_fill(&p.from, 0, 2048, 2);
    pair_listen(&p, NULL);
    p.to.slots[FAKE_REHEARSE].fail = -ENODEV;
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_non_null(strstr(pair_source_stats(&p).error.text, "told to fail"));
    assert_int_equal(pair_source_stats(&p).reconnections, 0);
    assert_int_equal(p.from.slots[FAKE_STOP].calls, 0);
    pair_expect_kept(&p);
    pair_end_source(&p);
    p.to.slots[FAKE_REHEARSE].fail = 0;
    memset(p.from.slots, 0, sizeof(p.from.slots));
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_true(p.to.slots[FAKE_REHEARSE].calls > 1);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identical),          cmocka_unit_test(test_off),
        cmocka_unit_test(test_wire_corrupts),      cmocka_unit_test(test_untracked_page),
        cmocka_unit_test(test_left_while_looking), cmocka_unit_test(test_rehearsal_decides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
