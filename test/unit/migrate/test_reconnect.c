/*
 * A cut link suspends the migration, not the guest: wherever it is cut during precopy, the two find
 * each other and the machine moves; where they do not, the guest runs on and the reason is said.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "proxy.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"
#include "transport/address.h"
#include "wire/record.h"

static void setup(struct pair *p)
{
    pair_init(p, 4 * MIB);
    fake_fill(&p->from, 0, 1024, 2);
    p->params.lanes = 2;
    p->params.network_timeout_ms = 10000;
    pair_listen(p, NULL);
}

/* ---- everywhere ----------------------------------------------------------------------------- */

static unsigned cuts, mended;

/* false: the migration has no such record before the guest stops. */
static bool one_cut(const struct proxy_rule *rule, uint32_t lanes)
{
    struct proxy *proxy;
    struct pair p;
    bool early;

    pair_init(&p, 1 * MIB);
    fake_fill(&p.from, 0, 256, 2);
    fake_source_dirty(&p.from, 20 * MIB, 64);
    p.params.lanes = lanes;
    p.params.handover_timeout_ms = 1000;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    wait_until(pair_source_stats(&p).status > GODWIT_ACTIVE);
    early = proxy_has_cut(proxy) && !p.from.slots[FAKE_STOP].calls;
    if (pair_source_stats(&p).status == GODWIT_COMPLETED) {
        pair_expect_moved(&p);
        mended += pair_source_stats(&p).reconnections > 0;
    } else if (early && proxy_cut_type(proxy) > NATIVE_MANIFEST) {
        fail_msg("lanes %u, connection %u, back %d, record %u (%s): %s", lanes, rule->connection,
                 rule->back, rule->record, native_type_name(proxy_cut_type(proxy)),
                 pair_source_stats(&p).error.text);
    }
    cuts += proxy_has_cut(proxy);
    early = proxy_has_cut(proxy);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
    return early;
}

static void test_cut_everywhere(void **state)
{
    for (uint32_t lanes = 1; lanes <= 3; lanes += 2)
        for (unsigned connection = 0; connection <= lanes; connection++)
            for (unsigned record = 0; record < 60; record++) {
                struct proxy_rule rule = {.connection = connection,
                                          .back = record % 2,
                                          .record = record / 2,
                                          .place = record % PROXY_PLACE_COUNT};

                one_cut(&rule, lanes);
                if (record > 24 && connection > 0)
                    break;
            }
    print_message("%u cuts, %u mended\n", cuts, mended);
    assert_true(cuts > 30 && mended > 15);
}

/* Again and again, at any moment, the mending included. */
static void test_cut_again_and_again(void **state)
{
    struct proxy *proxy;
    struct pair p;

    pair_init(&p, 64 * MIB);
    fake_fill(&p.from, 0, 16384, 1);
    fake_source_dirty(&p.from, 10 * MIB, 2000);
    p.params.lanes = 3;
    p.params.max_bandwidth = 64 * MIB;
    p.params.compression = GODWIT_COMPRESS_NONE;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, NULL, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    wait_until(pair_source_stats(&p).stage == GODWIT_STAGE_PRECOPY);
    for (unsigned i = 0; i < 12; i++) {
        clock_sleep_ns((3 + i * 4) * NS_PER_MS);
        if (pair_source_stats(&p).stage == GODWIT_STAGE_PRECOPY)
            proxy_cut(proxy);
    }
    p.params.max_bandwidth = 0;
    godwit_source_set_params(p.source, &p.params);
    pair_expect_moved(&p);
    assert_true(pair_source_stats(&p).reconnections > 2);
    assert_true(pair_sink_stats(&p).reconnections > 2);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

/* ---- where it stays cut --------------------------------------------------------------------- */

/* Cut in the first round, new connections are closed at once. */
static struct proxy *cut_for_good(struct pair *p, uint32_t network_timeout_ms)
{
    const struct proxy_rule rule = {.connection = 1, .type = NATIVE_MARK, .after = PROXY_DEAD};
    struct proxy *proxy;

    pair_init(p, 4 * MIB);
    fake_fill(&p->from, 0, 1024, 2);
    p->params.lanes = 2;
    p->params.compression = GODWIT_COMPRESS_NONE;
    p->params.network_timeout_ms = network_timeout_ms;
    pair_listen(p, NULL);
    proxy = proxy_new(p->uri, &rule, p->dial, sizeof(p->dial));
    pair_migrate(p);
    wait_until(proxy_has_cut(proxy));
    return proxy;
}

static void expect_reason(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("the reason is \"%s\", \"%s\" was expected", text, part);
}

static void test_network_timeout(void **state)
{
    struct proxy *proxy;
    struct pair p;

    proxy = cut_for_good(&p, 400);
    pair_expect_source(&p, GODWIT_FAILED);
    expect_reason(pair_source_stats(&p).error.text, "gone for 400 ms (network-timeout)");
    pair_expect_sink(&p, GODWIT_FAILED);
    expect_reason(pair_sink_stats(&p).error.text, "gone for 400 ms (network-timeout)");
    pair_expect_kept(&p);
    assert_int_equal(p.from.slots[FAKE_STOP].calls, 0);
    pair_end_source(&p); /* and the next one works, without the proxy */
    memset(p.from.slots, 0, sizeof(p.from.slots));
    snprintf(p.dial, sizeof(p.dial), "%s", p.uri);
    pair_migrate(&p);
    pair_expect_moved(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

static void test_cancel_while_cut(void **state)
{
    struct proxy *proxy;
    struct pair p;

    proxy = cut_for_good(&p, 60000);
    clock_sleep_ns(100 * NS_PER_MS);
    assert_int_equal(pair_source_stats(&p).status, GODWIT_ACTIVE);
    assert_true(p.from.runs);
    assert_int_equal(godwit_source_cancel(p.source), 0);
    pair_expect_source(&p, GODWIT_CANCELED);
    proxy_heal(proxy); /* then it can be told, and does not wait for its own timeout */
    pair_expect_sink(&p, GODWIT_FAILED);
    expect_reason(pair_sink_stats(&p).error.text, "called off by the source");
    pair_expect_kept(&p);
    pair_end_source(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

static void test_deadline_while_cut(void **state)
{
    struct proxy *proxy;
    struct pair p;

    proxy = cut_for_good(&p, 60000);
    p.params.deadline_s = 1;
    p.params.on_timeout = GODWIT_TIMEOUT_CANCEL;
    godwit_source_set_params(p.source, &p.params);
    pair_expect_source(&p, GODWIT_CANCELED);
    expect_reason(pair_source_stats(&p).error.text, "the deadline of 1 s is over");
    proxy_heal(proxy);
    pair_expect_sink(&p, GODWIT_FAILED);
    pair_expect_kept(&p);
    pair_end_source(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

/* ---- strangers meanwhile -------------------------------------------------------------------- */

/* Says hello and gives the error that is answered. */
static struct err ask(struct pair *p, enum native_role role, const uint8_t *token)
{
    uint8_t head[RECORD_HEADER_SIZE], body[4096];
    struct err theirs = ERR_INIT;
    struct record_header h;
    struct address a;
    struct channel *c;
    struct buf b;
    size_t len;

    assert_int_equal(address_parse(p->uri, &a, NULL), 0);
    assert_int_equal(address_connect(&a, 1000, NULL, &c, NULL), 0);
    channel_set_timeout(c, 5000);
    buf_init(&b, 0);
    assert_int_equal(native_hello_encode(&b, role, 0, token), 0);
    assert_int_equal(channel_write(c, b.data, b.len, NULL), 0);
    buf_fini(&b);
    assert_int_equal(channel_read(c, head, sizeof(head), NULL), 0);
    assert_int_equal(record_header_decode(head, sizeof(body), &h, NULL), 0);
    assert_int_equal(h.type, NATIVE_ERROR);
    assert_int_equal(channel_read(c, body, (size_t)record_padded(h.length), NULL), 0);
    assert_int_equal(record_check(&h, body, &len, NULL), 0);
    assert_int_equal(native_error_decode(body, len, &theirs, NULL), 0);
    channel_free(c);
    return theirs;
}

static void test_strangers_while_cut(void **state)
{
    static const uint8_t token[GODWIT_TOKEN_SIZE] = "not the source";
    struct proxy *proxy;
    struct pair p;

    proxy = cut_for_good(&p, 20000);
    assert_int_equal(ask(&p, NATIVE_ROLE_CONTROL, token).code, -EBUSY);
    assert_int_equal(ask(&p, NATIVE_ROLE_AGAIN, token).code, -ENOENT);
    assert_int_equal(ask(&p, NATIVE_ROLE_LANE, token).code, -EPERM);
    assert_int_equal(pair_sink_stats(&p).status, GODWIT_ACTIVE);
    proxy_heal(proxy);
    pair_expect_moved(&p);
    assert_int_equal(pair_source_stats(&p).reconnections, 1);
    assert_int_equal(pair_sink_stats(&p).reconnections, 1);
    assert_string_equal(pair_source_stats(&p).id, pair_sink_stats(&p).id);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

/* What is not the link's fault is not mended. */
static void test_callback_is_final(void **state)
{
    struct pair p;

    setup(&p);
    p.from.slots[FAKE_DIRTY_CLEAR].fail = -EPIPE;
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_int_equal(pair_source_stats(&p).reconnections, 0);
    assert_null(strstr(pair_source_stats(&p).error.text, "network-timeout"));
    pair_expect_kept(&p);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_everywhere),     cmocka_unit_test(test_cut_again_and_again),
        cmocka_unit_test(test_network_timeout),    cmocka_unit_test(test_cancel_while_cut),
        cmocka_unit_test(test_deadline_while_cut), cmocka_unit_test(test_strangers_while_cut),
        cmocka_unit_test(test_callback_is_final),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
