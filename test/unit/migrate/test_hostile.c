/* Peers written by hand that know the protocol and mean harm, or are broken in the same way. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "migrate/link.h"
#include "stream/native/course.h"
#include "stream/native/hello.h"
#include "stream/native/manifest.h"
#include "stream/native/pages.h"
#include "stream/native/words.h"
#include "transport/address.h"
#include "transport/channel.h"
#include "wire/record.h"

#define REGION_PAGES 16U

static const uint8_t token[NATIVE_TOKEN_SIZE] = "a hostile token";

/* ---- a source ------------------------------------------------------------------------------- */

struct villain {
    struct channel *control, *lanes[2];
    uint32_t nlanes;
};

static struct channel *dial(const char *uri)
{
    struct address a;
    struct channel *c;
    struct err e = ERR_INIT;

    assert_int_equal(address_parse(uri, &a, &e), 0);
    assert_int_equal(address_connect(&a, 1000, NULL, &c, &e), 0);
    channel_set_timeout(c, 5000);
    return c;
}

/* Frees b. */
static int post(struct channel *c, struct buf *b)
{
    int ret = channel_write(c, b->data, b->len, NULL);

    buf_fini(b);
    return ret;
}

static void say_hello(struct channel *c, enum native_role role, uint32_t index)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(native_hello_encode(&b, role, index, token), 0);
    assert_int_equal(post(c, &b), 0);
}

/* The next record: its type, 0 when the connection has ended. */
static uint32_t hear_any(struct channel *c, bool *optional, struct err *theirs)
{
    uint8_t head[RECORD_HEADER_SIZE], body[8192];
    struct record_header h;
    size_t len;

    *optional = false;
    if (channel_read(c, head, sizeof(head), NULL))
        return 0;
    assert_int_equal(record_header_decode(head, sizeof(body), &h, NULL), 0);
    assert_int_equal(channel_read(c, body, (size_t)record_padded(h.length), NULL), 0);
    assert_int_equal(record_check(&h, body, &len, NULL), 0);
    *optional = h.flags & RECORD_OPTIONAL;
    if (h.type == NATIVE_ERROR)
        assert_int_equal(native_error_decode(body, len, theirs, NULL), 0);
    return h.type;
}

/* The next one that has to be understood. */
static uint32_t hear(struct channel *c, struct err *theirs)
{
    bool optional;
    uint32_t type;

    do
        type = hear_any(c, &optional, theirs);
    while (optional);
    return type;
}

static void expect(struct channel *c, enum native_type type)
{
    struct err theirs = ERR_INIT;
    uint32_t heard = hear(c, &theirs);

    if (heard != type)
        fail_msg("%s was heard (%s), %s was expected", native_type_name(heard), theirs.text,
                 native_type_name(type));
}

static void expect_error(struct channel *c, const char *part)
{
    struct err theirs = ERR_INIT;

    assert_int_equal(hear(c, &theirs), NATIVE_ERROR);
    if (!strstr(theirs.text, part))
        fail_msg("the error says \"%s\", \"%s\" was expected", theirs.text, part);
}

static void say_manifest(struct channel *c, uint32_t lanes)
{
    struct native_manifest m = {.lanes = lanes,
                                .nregions = 1,
                                .regions = {{.name = "ram", .size = REGION_PAGES * 4096}},
                                .text = (const uint8_t *)"trust me",
                                .text_len = 8};
    struct buf b;

    buf_init(&b, 65536);
    assert_int_equal(native_manifest_encode(&b, &m), 0);
    assert_int_equal(post(c, &b), 0);
}

/* hello, manifest and lanes, as they should be. */
static void villain_arrive(struct villain *v, struct pair *p, uint32_t nlanes)
{
    *v = (struct villain){.control = dial(p->uri), .nlanes = nlanes};
    say_hello(v->control, NATIVE_ROLE_CONTROL, 0);
    expect(v->control, NATIVE_WELCOME);
    say_manifest(v->control, nlanes);
    expect(v->control, NATIVE_ACCEPT);
    for (uint32_t i = 0; i < nlanes; i++) {
        v->lanes[i] = dial(p->uri);
        say_hello(v->lanes[i], NATIVE_ROLE_LANE, i);
    }
    for (uint32_t i = 0; i < nlanes; i++)
        expect(v->lanes[i], NATIVE_WELCOME);
}

static void villain_leave(struct villain *v)
{
    for (uint32_t i = 0; i < v->nlanes; i++)
        channel_free(v->lanes[i]);
    channel_free(v->control);
}

static void say_mark(struct channel *lane, uint64_t sequence, bool last)
{
    const struct native_mark mark = {.sequence = sequence, .last = last};
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(native_mark_encode(&b, &mark), 0);
    assert_int_equal(post(lane, &b), 0);
}

/* A page full of `byte`. -errno once nobody listens. */
static int say_page(struct channel *lane, uint64_t page, int byte)
{
    const struct native_run run = {.first = page, .count = 1, .kind = NATIVE_RUN_DATA};
    uint8_t head[NATIVE_PAGES_HEAD_MAX], content[4096];
    struct buf b;
    size_t len;

    memset(content, byte, sizeof(content));
    len = native_pages_encode(head, 0, &run, 1);
    buf_init(&b, 0);
    assert_int_equal(buf_append(&b, head, len), 0);
    assert_int_equal(buf_append(&b, content, sizeof(content)), 0);
    return post(lane, &b);
}

static void say_state(struct villain *v, uint64_t sequence)
{
    const struct native_state state = {
        .sequence = sequence, .data = (const uint8_t *)"state", .len = 5};
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(native_state_encode(&b, &state), 0);
    assert_int_equal(post(v->control, &b), 0);
}

static void say_word(struct villain *v, enum native_type type)
{
    struct native_word w = {.text = ""};
    struct buf b;

    memcpy(w.token, token, sizeof(token));
    buf_init(&b, 0);
    assert_int_equal(native_word_encode(&b, type, &w), 0);
    assert_int_equal(post(v->control, &b), 0);
}

static void setup(struct pair *p)
{
    pair_init(p, 4 * MIB);
    fake_fill(&p->from, 0, 1024, 1);
    pair_listen(p, NULL);
}

/* The machine did not arrive, and the next one, an honest one, does. */
static void expect_refused(struct pair *p, struct villain *v, const char *why)
{
    expect_error(v->control, why);
    villain_leave(v);
    wait_until(!p->to.built);
    assert_int_equal(p->to.slots[FAKE_LOAD_STATE].calls, 0);
    assert_int_equal(p->to.discards, 1);
    pair_migrate(p);
    pair_expect_moved(p);
    pair_fini(p);
}

/* ---- writing to regions that are no longer the engine's ------------------------------------- */

/* The state of a mark after which pages can come: the lanes would outlive the handover. */
static void test_state_before_the_last_mark(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 1);
    assert_int_equal(say_page(v.lanes[0], 0, 1), 0);
    say_mark(v.lanes[0], 1, false);
    say_state(&v, 1);
    expect_refused(&p, &v, "have not ended");
}

static void test_state_of_no_mark(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 1);
    say_state(&v, 0);
    expect_refused(&p, &v, "have not ended");
}

static void test_state_of_an_earlier_mark(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 1);
    say_mark(v.lanes[0], 1, false);
    say_mark(v.lanes[0], 2, true);
    wait_until(pair_sink_stats(&p).transferred > 0);
    clock_sleep_ns(50 * NS_PER_MS); /* most times both marks are through; refused either way */
    say_state(&v, 1);
    expect_refused(&p, &v, "the state belongs to mark 1");
}

static void test_one_lane_goes_on(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 2);
    say_mark(v.lanes[0], 1, true);
    say_mark(v.lanes[1], 1, false);
    say_state(&v, 1);
    expect_refused(&p, &v, "");
}

/* What is there when load_state begins is what is there when the machine runs. */
static void look_at_memory(void *arg)
{
    const struct godwit_region *r = &((struct fake_sink *)arg)->memory.regions[0];
    const uint8_t *host = r->host;

    for (uint64_t i = 0; i < r->size; i++)
        if (host[i] != (i < 4096 ? 1 : 0))
            fail_msg("byte %llu is 0x%x", (unsigned long long)i, host[i]);
}

static void flood(void *arg)
{
    struct villain *v = arg;

    for (uint64_t i = 0; i < REGION_PAGES; i++)
        if (say_page(v->lanes[0], i, 0xee))
            return; /* hung up on: all the better */
}

static void test_pages_after_the_state(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 1);
    p.to.slots[FAKE_LOAD_STATE].delay_ms = 50;
    assert_int_equal(say_page(v.lanes[0], 0, 1), 0);
    say_mark(v.lanes[0], 1, true);
    say_state(&v, 1);
    wait_until(p.to.slots[FAKE_LOAD_STATE].calls == 1);
    flood(&v);
    expect(v.control, NATIVE_READY);
    flood(&v);
    say_word(&v, NATIVE_COMMIT);
    flood(&v);
    expect(v.control, NATIVE_RUNNING);
    flood(&v);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    look_at_memory(&p.to);
    villain_leave(&v);
    pair_fini(&p);
}

/* ---- rehearsals ------------------------------------------------------------------------------ */

static void say_rehearsal(struct villain *v, const char *state)
{
    const struct native_rehearsal r = {.data = (const uint8_t *)state, .len = strlen(state)};
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(native_rehearsal_encode(&b, &r), 0);
    assert_int_equal(post(v->control, &b), 0);
}

/* Among the rounds, as often as it likes; then everything goes on. */
static void test_rehearsals(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 1);
    for (int i = 0; i < 3; i++) {
        say_rehearsal(&v, "a try");
        assert_int_equal(say_page(v.lanes[0], 0, 1), 0);
        expect(v.control, NATIVE_REHEARSED);
    }
    assert_int_equal(p.to.slots[FAKE_REHEARSE].calls, 3);
    assert_int_equal(p.to.slots[FAKE_LOAD_STATE].calls, 0);
    say_mark(v.lanes[0], 1, true);
    say_state(&v, 1);
    expect(v.control, NATIVE_READY);
    say_rehearsal(&v, "too late");
    assert_int_equal(hear(v.control, &(struct err){.code = 0}), 0);
    villain_leave(&v);
    wait_until(pair_sink_stats(&p).status == GODWIT_UNRESOLVED);
    assert_int_equal(godwit_sink_resolve(p.sink, false, NULL), 0);
    pair_expect_sink(&p, GODWIT_FAILED);
    pair_fini(&p);
}

/* What cannot be loaded is a verdict. */
static void test_rehearsal_is_refused(void **state)
{
    struct villain v;
    struct pair p;

    setup(&p);
    p.to.slots[FAKE_REHEARSE].fail = -ENODEV;
    villain_arrive(&v, &p, 1);
    say_rehearsal(&v, "a try");
    expect_error(v.control, "told to fail");
    pair_expect_sink(&p, GODWIT_FAILED);
    assert_int_equal(p.to.discards, 1);
    villain_leave(&v);
    pair_fini(&p);
}

/* The deadline is heeded while the destination rehearses and rehearses. */
static void test_deadline_in_rehearsal(void **state)
{
    uint64_t began = clock_now_ns();
    struct pair p;

    pair_init(&p, MIB);
    p.params.deadline_s = 1;
    p.params.on_timeout = GODWIT_TIMEOUT_CANCEL;
    p.to.slots[FAKE_REHEARSE].delay_ms = 2500;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_CANCELED);
    assert_true(clock_now_ns() - began < 2400 * NS_PER_MS); /* before it came to an end */
    pair_expect_kept(&p);
    pair_fini(&p);
}

static bool was_decided(struct pair *p, const char *what)
{
    static struct godwit_record r;

    godwit_source_record(p->source, &r);
    for (uint32_t i = 0; i < r.ndecisions; i++)
        if (!strcmp(r.decisions[i].what, what))
            return true;
    return false;
}

/* One that takes too long is done without, and its answer is no surprise. */
static void test_rehearsal_is_given_up(void **state)
{
    struct pair p;

    pair_init(&p, MIB);
    p.params.link_timeout_ms = 2000; /* the destination nudges twice a second */
    p.to.slots[FAKE_REHEARSE].delay_ms = 2400;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_moved(&p);
    assert_int_equal(p.to.slots[FAKE_REHEARSE].calls, 1);
    assert_true(was_decided(&p, "rehearsal"));
    pair_fini(&p);
}

/* ---- a source that comes and does not get on ------------------------------------------------- */

/* PINGs until it is told why not; for 10 s at most. */
static void ping_until_refused(struct channel *c, const char *why)
{
    uint64_t end = clock_now_ns() + 10 * NS_PER_S;
    struct err theirs = ERR_INIT;
    uint32_t heard;
    bool optional;

    do {
        struct buf b;

        buf_init(&b, 0);
        assert_int_equal(native_ping_encode(&b, NATIVE_PING, 1), 0);
        assert_int_equal(post(c, &b), 0);
        heard = hear_any(c, &optional, &theirs);
        clock_sleep_ns(10 * NS_PER_MS);
    } while (heard == NATIVE_PONG && clock_now_ns() < end);
    assert_int_equal(heard, NATIVE_ERROR);
    assert_non_null(strstr(theirs.text, why));
}

/* Sends a PING now and then and nothing else, before its manifest or instead of its lanes: the
 * destination is soon there for an honest source. */
static void test_stranger_leaves_the_place(void **state)
{
    for (int accepted = 0; accepted < 2; accepted++) {
        struct channel *c;
        struct pair p;

        pair_init(&p, 4 * MIB);
        fake_fill(&p.from, 0, 1024, 1);
        p.params.link_timeout_ms = 300;
        pair_listen(&p, NULL);
        p.params.link_timeout_ms = 3000;
        c = dial(p.uri);
        say_hello(c, NATIVE_ROLE_CONTROL, 0);
        expect(c, NATIVE_WELCOME);
        if (accepted) {
            say_manifest(c, 2);
            expect(c, NATIVE_ACCEPT);
        }
        ping_until_refused(c, accepted ? "lanes do not come" : "no whole manifest");
        channel_free(c);
        wait_until(pair_sink_stats(&p).status == GODWIT_FAILED);
        assert_int_equal(p.to.discards, accepted);
        pair_migrate(&p);
        pair_expect_moved(&p);
        pair_fini(&p);
    }
}

/* ---- a destination that is never quiet ------------------------------------------------------- */

enum chatter { CHATTER_PINGS, CHATTER_OPTIONAL, CHATTER_ACCEPT, CHATTER_COUNT };

struct chatterbox {
    struct listener listener;
    struct channel *control, *lane;
    struct buf noise; /* many records */
    pthread_t thread;
    atomic_bool quit;
};

static void say_welcome(struct channel *c)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(native_welcome_encode(&b), 0);
    assert_int_equal(post(c, &b), 0);
}

/* The HELLO has no token that this destination would look at, but the source's words have. */
static void hear_hello(struct channel *c, uint8_t *theirs)
{
    uint8_t head[RECORD_HEADER_SIZE], body[512];
    struct native_hello hello;
    struct record_header h;
    size_t len;

    assert_int_equal(channel_read(c, head, sizeof(head), NULL), 0);
    assert_int_equal(record_header_decode(head, sizeof(body), &h, NULL), 0);
    assert_int_equal(channel_read(c, body, (size_t)record_padded(h.length), NULL), 0);
    assert_int_equal(record_check(&h, body, &len, NULL), 0);
    assert_int_equal(native_hello_decode(body, len, &hello, NULL), 0);
    memcpy(theirs, hello.token, NATIVE_TOKEN_SIZE);
}

static void make_noise(struct chatterbox *x, enum chatter kind, const uint8_t *theirs)
{
    struct native_word w = {.text = ""};

    memcpy(w.token, theirs, NATIVE_TOKEN_SIZE);
    buf_init(&x->noise, 0);
    for (int i = 0; i < 1000; i++) {
        if (kind == CHATTER_PINGS)
            assert_int_equal(native_ping_encode(&x->noise, NATIVE_PING, 1), 0);
        else if (kind == CHATTER_OPTIONAL)
            assert_int_equal(record_append(&x->noise, 77, RECORD_OPTIONAL, "noise", 5), 0);
        else
            assert_int_equal(native_word_encode(&x->noise, NATIVE_ACCEPT, &w), 0);
    }
}

/* Takes whatever comes, and talks without a pause. */
static void *chatter_main(void *arg)
{
    static uint8_t waste[65536];
    struct chatterbox *x = arg;
    size_t at = 0;

    while (!atomic_load(&x->quit)) {
        struct iovec out = {.iov_base = x->noise.data + at, .iov_len = x->noise.len - at};
        struct iovec in = {.iov_base = waste, .iov_len = sizeof(waste)};
        ssize_t n = x->control->ops->writev(x->control, &out, 1);

        if (n > 0)
            at = (at + (size_t)n) % x->noise.len;
        x->control->ops->readv(x->control, &in, 1);
        x->lane->ops->readv(x->lane, &in, 1);
    }
    return NULL;
}

/* Everything as it should be up to the lanes. */
static void chatter_begin(struct chatterbox *x, struct pair *p, enum chatter kind)
{
    struct native_word w = {.text = ""};
    struct address a;
    uint8_t head[RECORD_HEADER_SIZE];
    struct buf b;

    *x = (struct chatterbox){.control = NULL};
    assert_int_equal(address_parse("tcp:127.0.0.1:0", &a, NULL), 0);
    assert_int_equal(listener_open(&x->listener, &a, NULL), 0);
    address_format(&x->listener.address, p->dial, sizeof(p->dial));
    pair_migrate(p);
    assert_int_equal(listener_accept(&x->listener, 5000, &x->control, NULL), 0);
    channel_set_timeout(x->control, 5000);
    hear_hello(x->control, w.token);
    say_welcome(x->control);
    assert_int_equal(channel_read(x->control, head, sizeof(head), NULL), 0); /* MANIFEST begins */
    buf_init(&b, 0);
    assert_int_equal(native_word_encode(&b, NATIVE_ACCEPT, &w), 0);
    assert_int_equal(post(x->control, &b), 0);
    assert_int_equal(listener_accept(&x->listener, 5000, &x->lane, NULL), 0);
    channel_set_timeout(x->lane, 5000);
    hear_hello(x->lane, w.token);
    make_noise(x, kind, w.token);
    buf_init(&b, 0);
    assert_int_equal(native_ping_encode(&b, NATIVE_PASSED, UINT64_MAX),
                     0); /* all rounds are over */
    assert_int_equal(post(x->control, &b), 0);
    say_welcome(x->lane);
    assert_int_equal(pthread_create(&x->thread, NULL, chatter_main, x), 0);
}

static void chatter_end(struct chatterbox *x)
{
    atomic_store(&x->quit, true);
    pthread_join(x->thread, NULL);
    buf_fini(&x->noise);
    channel_free(x->control);
    channel_free(x->lane);
    listener_close(&x->listener);
}

/* A deadline that is over ends the wait although more and more could be read. */
static void test_deadline_in_noise(void **state)
{
    for (enum chatter kind = 0; kind < CHATTER_ACCEPT; kind++) {
        struct chatterbox x = {.lane = NULL};
        struct link_record rec;
        struct bell bell;
        struct link l;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(bell_init(&bell), 0);
        make_noise(&x, kind, token);
        x.control = channel_from_fd(fds[0], "chatterbox");
        assert_int_equal(channel_write(x.control, x.noise.data, x.noise.len, NULL), 0);
        link_init(&l, &bell, NULL, NULL, true);
        link_attach(&l, channel_from_fd(fds[1], "source"), 3000);
        for (int i = 0; i < 10; i++)
            assert_int_equal(link_wait(&l, clock_now_ns() - 1, &rec, NULL), -ETIME);
        assert_true(link_has_input(&l));
        link_fini(&l);
        channel_free(x.control);
        buf_fini(&x.noise);
        bell_fini(&bell);
    }
}

/* A record that only a source sends is not waited for at the source, however it begins. */
static void test_answers_are_short(void **state)
{
    for (int asks = 0; asks < 2; asks++) {
        const struct native_rehearsal r = {.data = calloc(1, 2 * MIB), .len = 2 * MIB};
        struct link_record rec;
        struct channel *peer;
        struct bell bell;
        struct link l;
        struct buf b;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(bell_init(&bell), 0);
        peer = channel_from_fd(fds[0], "destination");
        buf_init(&b, 0);
        assert_int_equal(native_rehearsal_encode(&b, &r), 0);
        assert_int_equal(channel_write(peer, b.data, 1024, NULL), 0);
        link_init(&l, &bell, NULL, NULL, asks);
        link_attach(&l, channel_from_fd(fds[1], "source"), 3000);
        assert_int_equal(link_wait(&l, clock_now_ns() + 50 * NS_PER_MS, &rec, NULL),
                         asks ? -EPROTO : -ETIME);
        link_fini(&l);
        channel_free(peer);
        buf_fini(&b);
        bell_fini(&bell);
        free((void *)(uintptr_t)r.data);
    }
}

/* The guest is paused for no longer than it may be, and the source ends, whatever it hears. */
static void test_chatter_for_ready(void **state)
{
    for (enum chatter kind = 0; kind < CHATTER_COUNT; kind++) {
        struct chatterbox x;
        struct pair p;
        uint64_t began;

        pair_init(&p, MIB);
        p.params.lanes = 1;
        p.params.ready_timeout_ms = 200;
        p.params.handover_timeout_ms = 500;
        p.from.slots[FAKE_REHEARSE].fail = -ENOTSUP; /* nobody would answer it */
        chatter_begin(&x, &p, kind);
        pair_expect_source(&p, GODWIT_FAILED);
        pair_expect_kept(&p);
        if (kind != CHATTER_ACCEPT) {
            assert_non_null(strstr(pair_source_stats(&p).error.text, "ready-timeout"));
            assert_true(pair_source_stats(&p).downtime_ns < 2 * NS_PER_S);
        }
        began = clock_now_ns();
        pair_end_source(&p); /* it says ABORT, and does not hear an answer in the noise */
        assert_true(clock_now_ns() - began < 3 * NS_PER_S);
        chatter_end(&x);
        pair_fini(&p);
    }
}

/* ---- a source that died --------------------------------------------------------------------- */

/* Its process is started anew and asks: the machine that was still arriving is called off, with an
 * answer that lets it start. */
static void test_asked_while_arriving(void **state)
{
    enum godwit_answer answer = GODWIT_ANSWER_UNKNOWN;
    struct err e = ERR_INIT;
    struct villain v;
    struct pair p;

    setup(&p);
    villain_arrive(&v, &p, 2);
    villain_leave(&v);
    if (godwit_ask(p.uri, token, NULL, NULL, 5000, &answer, &e))
        fail_msg("%s", e.text);
    assert_int_equal(answer, GODWIT_ANSWER_NEVER_RAN);
    wait_until(!p.to.built);
    assert_int_equal(p.to.discards, 1);
    pair_migrate(&p);
    pair_expect_moved(&p);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_before_the_last_mark),
        cmocka_unit_test(test_state_of_no_mark),
        cmocka_unit_test(test_state_of_an_earlier_mark),
        cmocka_unit_test(test_one_lane_goes_on),
        cmocka_unit_test(test_pages_after_the_state),
        cmocka_unit_test(test_chatter_for_ready),
        cmocka_unit_test(test_deadline_in_noise),
        cmocka_unit_test(test_answers_are_short),
        cmocka_unit_test(test_rehearsals),
        cmocka_unit_test(test_rehearsal_is_refused),
        cmocka_unit_test(test_asked_while_arriving),
        cmocka_unit_test(test_deadline_in_rehearsal),
        cmocka_unit_test(test_rehearsal_is_given_up),
        cmocka_unit_test(test_stranger_leaves_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
