/*
 * Where nobody knows for a while: a side is killed, a link comes back late, somebody asks twice.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"
#include "transport/address.h"
#include "wire/record.h"

static void setup(struct pair *p)
{
    pair_init(p, 16 * MIB);
    fake_fill(&p->from, 0, 4096, 2);
    p->params.handover_timeout_ms = 400;
}

/* ---- kill -9 -------------------------------------------------------------------------------- */

static void die(void *arg)
{
    kill(getpid(), SIGKILL);
}

/* A sink in a process of its own, which dies in one of its callbacks. */
static pid_t fork_sink(struct pair *p, enum fake_call where)
{
    int ready[2];
    char byte;
    pid_t pid;

    snprintf(p->uri, sizeof(p->uri), "unix:/tmp/godwit-kill-%d", (int)getpid());
    snprintf(p->dial, sizeof(p->dial), "%s", p->uri);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        p->to.slots[where].hook = die;
        pair_listen(p, p->uri);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void bury(struct pair *p, pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    unlink(p->uri + 5);
}

static void test_sink_killed_before_commit(void **state)
{
    const enum fake_call calls[] = {FAKE_MANIFEST, FAKE_LOAD_STATE, FAKE_READY};

    for (int i = 0; i < 3; i++) {
        struct pair p;
        pid_t pid;

        setup(&p);
        pid = fork_sink(&p, calls[i]);
        pair_migrate(&p);
        pair_expect_source(&p, GODWIT_FAILED);
        assert_true(p.from.runs);
        assert_int_equal(p.from.resumes, calls[i] != FAKE_MANIFEST);
        assert_false(p.from.tracking);
        pair_end_source(&p);
        bury(&p, pid);
        pair_fini(&p);
    }
}

/* It died with the machine, maybe after it ran: only a person can know. */
static void test_sink_killed_after_commit(void **state)
{
    struct err e = ERR_INIT;
    struct pair p;
    pid_t pid;

    setup(&p);
    pid = fork_sink(&p, FAKE_RUN);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_UNRESOLVED);
    bury(&p, pid);
    assert_false(p.from.runs);
    assert_int_equal(godwit_source_cancel(p.source), -EBUSY);
    clock_sleep_ns(300 * NS_PER_MS);
    assert_false(p.from.runs);
    p.from.slots[FAKE_RECLAIM].fail = -EAGAIN; /* the locks are held by somebody */
    assert_int_equal(godwit_source_resolve(p.source, true, &e), 0);
    wait_until(p.from.slots[FAKE_RECLAIM].calls == 1);
    wait_until(pair_source_stats(&p).error.code == -EAGAIN);
    assert_false(p.from.runs);
    assert_int_equal(pair_source_stats(&p).status, GODWIT_UNRESOLVED);
    p.from.slots[FAKE_RECLAIM].fail = 0;
    while (godwit_source_resolve(p.source, true, &e) == -EBUSY)
        clock_sleep_ns(NS_PER_MS);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_true(p.from.runs);
    assert_int_equal(p.from.resumes, 1);
    assert_int_equal(godwit_source_resolve(p.source, true, &e), -EINVAL);
    pair_expect_source(&p, GODWIT_FAILED);
    pair_fini(&p);
}

/* A monitor that ends while nobody knows leaves the machine as it is. */
static void test_free_undecided_source(void **state)
{
    struct pair p;
    pid_t pid;

    setup(&p);
    pid = fork_sink(&p, FAKE_RUN);
    pair_migrate(&p);
    wait_until(p.from.given);
    pair_end_source(&p);
    assert_false(p.from.runs);
    assert_int_equal(p.from.resumes, 0);
    assert_int_equal(p.from.finishes, 0);
    assert_false(p.from.tracking);
    bury(&p, pid);
    pair_fini(&p);
}

static void kill_source(struct pair *p, enum fake_call where, void (*hook)(void *), void *arg)
{
    int status;
    pid_t pid;

    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        p->from.slots[where].hook = hook;
        p->from.slots[where].arg = arg;
        pair_migrate(p);
        for (;;)
            pause();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    p->from.runs = false; /* that machine died with its process */
    p->world.running--;
}

static void test_source_killed_before_ready(void **state)
{
    const enum fake_call calls[] = {FAKE_DIRTY_START, FAKE_DIRTY_SYNC, FAKE_STOP, FAKE_SAVE_STATE};

    for (int i = 0; i < 4; i++) {
        struct pair p;

        setup(&p);
        p.params.network_timeout_ms = 300; /* it may come back */
        pair_listen(&p, NULL);
        kill_source(&p, calls[i], die, NULL);
        pair_expect_sink(&p, GODWIT_FAILED);
        assert_int_equal(p.to.discards, 1);
        assert_int_equal(p.to.runs_count, 0);
        pair_fini(&p);
    }
}

static void test_source_killed_after_ready(void **state)
{
    for (int run = 0; run < 2; run++) {
        struct err e = ERR_INIT;
        struct pair p;

        setup(&p);
        pair_listen(&p, NULL);
        kill_source(&p, FAKE_COMMIT, die, NULL);
        pair_expect_sink(&p, GODWIT_UNRESOLVED);
        assert_int_equal(p.to.runs_count, 0);
        assert_true(p.to.built);
        if (run) { /* the disk is not there: it stays what it was, and the next try works */
            p.to.slots[FAKE_RUN].fail = -ENOENT;
            assert_int_equal(godwit_sink_resolve(p.sink, true, &e), 0);
            wait_until(pair_sink_stats(&p).error.code == -ENOENT);
            assert_int_equal(pair_sink_stats(&p).status, GODWIT_UNRESOLVED);
            assert_true(p.to.built);
            p.to.slots[FAKE_RUN].fail = 0;
        }
        while (godwit_sink_resolve(p.sink, run, &e) == -EBUSY)
            clock_sleep_ns(NS_PER_MS);
        pair_expect_sink(&p, run ? GODWIT_COMPLETED : GODWIT_FAILED);
        assert_int_equal(p.to.runs_count, run);
        assert_int_equal(p.to.discards, !run);
        assert_int_equal(godwit_sink_resolve(p.sink, run, &e), -EINVAL);
        pair_fini(&p);
    }
}

/* ---- who asks again ------------------------------------------------------------------------- */

/* Comes back as the source of `token` would and says a word. Gives the first answer's type, and the
 * answer to the word when there was a welcome. */
static uint32_t ask(struct pair *p, const uint8_t *token, enum native_type word)
{
    uint8_t head[RECORD_HEADER_SIZE], body[4096];
    struct native_word w = {.text = "as a test"};
    struct record_header h = {.type = 0};
    struct address a;
    struct channel *c;
    struct buf b;

    memcpy(w.token, token, sizeof(w.token));
    assert_int_equal(address_parse(p->uri, &a, NULL), 0);
    assert_int_equal(address_connect(&a, 1000, NULL, &c, NULL), 0);
    channel_set_timeout(c, 3000);
    buf_init(&b, 0);
    assert_int_equal(native_hello_encode(&b, NATIVE_ROLE_AGAIN, 0, token), 0);
    assert_int_equal(channel_write(c, b.data, b.len, NULL), 0);
    b.len = 0;
    assert_int_equal(native_word_encode(&b, word, &w), 0);
    do {
        assert_int_equal(channel_read(c, head, sizeof(head), NULL), 0);
        assert_int_equal(record_header_decode(head, sizeof(body), &h, NULL), 0);
        assert_int_equal(channel_read(c, body, (size_t)record_padded(h.length), NULL), 0);
        if (h.type == NATIVE_WELCOME)
            assert_int_equal(channel_write(c, b.data, b.len, NULL), 0);
    } while (h.type == NATIVE_WELCOME || h.flags & RECORD_OPTIONAL);
    buf_fini(&b);
    channel_free(c);
    return h.type;
}

static void become_unresolved(struct pair *p)
{
    setup(p);
    pair_listen(p, NULL);
    kill_source(p, FAKE_COMMIT, die, NULL);
    pair_expect_sink(p, GODWIT_UNRESOLVED);
}

static void test_late_commit(void **state)
{
    struct pair p;

    become_unresolved(&p);
    assert_int_equal(ask(&p, p.to.token, NATIVE_QUERY), NATIVE_READY);
    assert_int_equal(pair_sink_stats(&p).status, GODWIT_UNRESOLVED);
    assert_int_equal(ask(&p, p.to.token, NATIVE_COMMIT), NATIVE_RUNNING);
    pair_expect_sink(&p, GODWIT_COMPLETED);
    assert_int_equal(p.to.runs_count, 1);
    /* Whoever says it again hears it again; an ABORT comes too late; nothing else happens. */
    assert_int_equal(ask(&p, p.to.token, NATIVE_COMMIT), NATIVE_RUNNING);
    assert_int_equal(ask(&p, p.to.token, NATIVE_ABORT), NATIVE_RUNNING);
    assert_int_equal(p.to.runs_count, 1);
    assert_int_equal(p.to.discards, 0);
    pair_fini(&p);
}

static void test_late_abort(void **state)
{
    uint8_t token[GODWIT_TOKEN_SIZE];
    struct pair p;

    become_unresolved(&p);
    memcpy(token, p.to.token, sizeof(token));
    token[3] ^= 1; /* another migration's word counts for nothing */
    assert_int_equal(ask(&p, token, NATIVE_ABORT), NATIVE_ERROR);
    assert_int_equal(ask(&p, p.to.token, NATIVE_ABORT), NATIVE_NEVER_RAN);
    pair_expect_sink(&p, GODWIT_FAILED);
    assert_int_equal(p.to.discards, 1);
    assert_int_equal(ask(&p, p.to.token, NATIVE_COMMIT), NATIVE_NEVER_RAN);
    assert_int_equal(p.to.runs_count, 0);
    pair_fini(&p);
}

static enum godwit_answer answer_of(struct pair *p, const uint8_t *token)
{
    enum godwit_answer answer = (enum godwit_answer)-1;
    struct err e = ERR_INIT;

    if (godwit_ask(p->uri, token, NULL, NULL, 3000, &answer, &e))
        fail_msg("%s", e.text);
    return answer;
}

/* A source's process that was started anew asks, and moves nothing by that. */
static void test_restarted_source_asks(void **state)
{
    uint8_t token[GODWIT_TOKEN_SIZE], other[GODWIT_TOKEN_SIZE];
    enum godwit_answer answer;
    struct err e = ERR_INIT;

    for (int run = 0; run < 2; run++) {
        struct pair p;

        become_unresolved(&p);
        memcpy(token, p.to.token, sizeof(token));
        memcpy(other, token, sizeof(other));
        other[5] ^= 1;
        assert_int_equal(answer_of(&p, other), GODWIT_ANSWER_UNKNOWN);
        assert_int_equal(answer_of(&p, token), GODWIT_ANSWER_READY);
        pair_expect_sink(&p, GODWIT_UNRESOLVED);
        assert_true(p.to.built);
        assert_int_equal(godwit_sink_resolve(p.sink, run, &e), 0);
        pair_expect_sink(&p, run ? GODWIT_COMPLETED : GODWIT_FAILED);
        assert_int_equal(answer_of(&p, token),
                         run ? GODWIT_ANSWER_RUNNING : GODWIT_ANSWER_NEVER_RAN);
        pair_end_sink(&p);
        assert_true(godwit_ask(p.uri, token, NULL, NULL, 500, &answer, &e) < 0);
        pair_fini(&p);
    }
}

/* While a machine waits for its word, another cannot take its place. */
static void test_unresolved_is_not_overrun(void **state)
{
    struct pair p;

    become_unresolved(&p);
    p.from.given = false;
    p.from.tracking = false;
    p.from.runs = true;
    p.world.running++;
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_int_equal(pair_source_stats(&p).error.code, -EBUSY);
    assert_int_equal(ask(&p, p.to.token, NATIVE_ABORT), NATIVE_NEVER_RAN);
    pair_end_source(&p);
    pair_expect_sink(&p, GODWIT_FAILED);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_COMPLETED);
    pair_fini(&p);
}

/* sink_free leaves a machine that is READY to the monitor: it neither runs nor is discarded. */
static void test_free_while_unresolved(void **state)
{
    struct pair p;

    become_unresolved(&p);
    pair_end_sink(&p);
    assert_int_equal(p.to.runs_count, 0);
    assert_int_equal(p.to.discards, 0);
    assert_true(p.to.built);
    pair_fini(&p);
}

/* ---- the link comes back, late -------------------------------------------------------------- */

static void heal_after(enum native_type type, bool back, enum proxy_place place)
{
    struct proxy_rule rule = {.back = back, .type = type, .place = place, .after = PROXY_DEAD};
    struct proxy *proxy;
    struct pair p;

    setup(&p);
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, &rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_UNRESOLVED);
    assert_false(p.from.runs);
    assert_true(proxy_has_cut(proxy));
    proxy_heal(proxy);
    pair_expect_moved(&p);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

static void test_commit_is_repeated(void **state)
{
    heal_after(NATIVE_COMMIT, false, PROXY_BEFORE);
    heal_after(NATIVE_COMMIT, false, PROXY_LAST);
}

static void test_running_is_repeated(void **state)
{
    heal_after(NATIVE_RUNNING, true, PROXY_BEFORE);
    heal_after(NATIVE_RUNNING, true, PROXY_MIDDLE);
}

/* READY was lost: the guest goes on at the source at once, and the sink is told in the end. */
static void test_abort_is_repeated(void **state)
{
    struct proxy_rule rule = {.back = true, .type = NATIVE_READY, .after = PROXY_DEAD};
    struct proxy *proxy;
    struct pair p;

    setup(&p);
    p.params.handover_timeout_ms = 8000;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, &rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_true(p.from.runs);
    clock_sleep_ns(500 * NS_PER_MS);
    assert_true(p.to.built);
    assert_int_equal(pair_sink_stats(&p).stage, GODWIT_STAGE_READY);
    proxy_heal(proxy);
    pair_expect_sink(&p, GODWIT_FAILED);
    pair_expect_kept(&p);
    assert_int_equal(p.to.discards, 1);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

static void move_path(const struct pair *p, bool away)
{
    char other[400];

    snprintf(other, sizeof(other), "%s.away", p->dial + 5);
    assert_int_equal(rename(away ? p->dial + 5 : other, away ? other : p->dial + 5), 0);
}

static void lose_path(void *arg)
{
    move_path(arg, true);
}

/* No socket is there for a moment: nobody has said that the machine is unknown. */
static void test_path_is_gone_for_a_while(void **state)
{
    struct proxy_rule rule = {.back = true, .type = NATIVE_READY, .after = PROXY_HEALS};
    struct proxy *proxy;
    struct pair p;

    setup(&p);
    p.params.handover_timeout_ms = 8000;
    p.to.slots[FAKE_READY].hook = lose_path;
    p.to.slots[FAKE_READY].arg = &p;
    pair_listen(&p, NULL);
    proxy = proxy_new(p.uri, &rule, p.dial, sizeof(p.dial));
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    clock_sleep_ns(300 * NS_PER_MS);
    assert_true(p.to.built);
    move_path(&p, false);
    pair_expect_sink(&p, GODWIT_FAILED);
    pair_expect_kept(&p);
    pair_end_source(&p);
    pair_end_sink(&p);
    proxy_free(proxy);
    pair_fini(&p);
}

/* ---- a word that comes too late ------------------------------------------------------------- */

struct late_word {
    struct pair *pair;
    int ret;
};

static void say_late(void *arg)
{
    struct late_word *w = arg;

    w->ret = godwit_source_resolve(w->pair->source, false, NULL);
}

/* The destination's answer is being carried out: whoever decides now is told so. */
static void test_word_during_reclaim(void **state)
{
    struct late_word w = {.ret = 1};
    struct pair p;

    setup(&p);
    w.pair = &p;
    p.to.slots[FAKE_RUN].delay_ms = 1000;
    p.to.slots[FAKE_RUN].fail = -ENOENT;
    p.from.slots[FAKE_RECLAIM].hook = say_late;
    p.from.slots[FAKE_RECLAIM].arg = &w;
    pair_listen(&p, NULL);
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_UNRESOLVED);
    pair_expect_source(&p, GODWIT_FAILED);
    assert_int_equal(w.ret, -EINVAL);
    assert_true(p.from.runs);
    assert_int_equal(p.from.resumes, 1);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink_killed_before_commit),
        cmocka_unit_test(test_sink_killed_after_commit),
        cmocka_unit_test(test_free_undecided_source),
        cmocka_unit_test(test_source_killed_before_ready),
        cmocka_unit_test(test_source_killed_after_ready),
        cmocka_unit_test(test_late_commit),
        cmocka_unit_test(test_late_abort),
        cmocka_unit_test(test_restarted_source_asks),
        cmocka_unit_test(test_unresolved_is_not_overrun),
        cmocka_unit_test(test_free_while_unresolved),
        cmocka_unit_test(test_commit_is_repeated),
        cmocka_unit_test(test_running_is_repeated),
        cmocka_unit_test(test_abort_is_repeated),
        cmocka_unit_test(test_path_is_gone_for_a_while),
        cmocka_unit_test(test_word_during_reclaim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
