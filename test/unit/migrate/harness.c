#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define PATIENCE_NS (20 * NS_PER_S)

unsigned count_dir(const char *path)
{
    DIR *d = opendir(path);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void *nothing(void *arg)
{
    return arg;
}

/* A sanitizer starts a thread of its own with the first one, and keeps it. */
static void warm_up(void)
{
    pthread_t t;

    unsigned n;

    assert_int_equal(pthread_create(&t, NULL, nothing, NULL), 0);
    pthread_join(t, NULL);
    do { /* until the kernel has forgotten it too */
        n = count_dir("/proc/self/task");
        clock_sleep_ns(2 * NS_PER_MS);
    } while (n != count_dir("/proc/self/task"));
}

void pair_init_regions(struct pair *p, const uint64_t *sizes, uint32_t n)
{
    log_set_level(LOG_LEVEL_ERROR);
    memset(p, 0, sizeof(*p));
    warm_up();
    p->fds = count_dir("/proc/self/fd");
    p->threads = count_dir("/proc/self/task");
    p->params = (struct godwit_params)GODWIT_PARAMS_DEFAULT;
    p->params.link_timeout_ms = 3000;
    p->params.handover_timeout_ms = 3000;
    fake_source_init(&p->from, &p->world, sizes, n);
    fake_sink_init(&p->to, &p->world);
}

void pair_init(struct pair *p, uint64_t size)
{
    pair_init_regions(p, &size, 1);
}

void pair_listen(struct pair *p, const char *uri)
{
    static unsigned serial;
    struct godwit_sink_config c = {.ops = &fake_sink_ops,
                                   .opaque = &p->to,
                                   .uri = uri,
                                   .tls = p->sink_tls,
                                   .params = p->params};
    struct err e = ERR_INIT;

    if (!uri) {
        snprintf(p->uri, sizeof(p->uri), "unix:/tmp/godwit-test-%d-%u", (int)getpid(), serial++);
        c.uri = p->uri;
    }
    if (godwit_sink_start(&c, &p->sink, &e))
        fail_msg("sink: %s", e.text);
    godwit_sink_address(p->sink, p->uri, sizeof(p->uri));
    snprintf(p->dial, sizeof(p->dial), "%s", p->uri);
}

void pair_migrate(struct pair *p)
{
    struct godwit_source_config c = {.ops = &fake_source_ops,
                                     .opaque = &p->from,
                                     .uri = p->dial,
                                     .tls = p->source_tls,
                                     .tls_hostname = p->tls_hostname,
                                     .regions = p->from.memory.regions,
                                     .nregions = p->from.memory.n,
                                     .nvcpus = 2,
                                     .params = p->params,
                                     .state_cost_ns = 500 * NS_PER_US};
    struct err e = ERR_INIT;

    if (godwit_source_start(&c, &p->source, &e))
        fail_msg("source: %s", e.text);
    assert_int_not_equal(pair_source_stats(p).status, GODWIT_NONE);
}

struct godwit_stats pair_source_stats(struct pair *p)
{
    struct godwit_stats st;

    godwit_source_stats(p->source, &st);
    return st;
}

struct godwit_stats pair_sink_stats(struct pair *p)
{
    struct godwit_stats st;

    godwit_sink_stats(p->sink, &st);
    return st;
}

void pair_expect_source(struct pair *p, enum godwit_status s)
{
    uint64_t end = clock_now_ns() + PATIENCE_NS;
    struct godwit_stats st = pair_source_stats(p);

    while (st.status != s && clock_now_ns() < end) {
        clock_sleep_ns(NS_PER_MS);
        st = pair_source_stats(p);
    }
    if (st.status != s)
        fail_msg("source is %s in stage %s (%s: %s), %s was expected",
                 godwit_status_name(st.status), godwit_stage_name(st.stage), st.error.stage,
                 st.error.text, godwit_status_name(s));
}

void pair_expect_sink(struct pair *p, enum godwit_status s)
{
    uint64_t end = clock_now_ns() + PATIENCE_NS;
    struct godwit_stats st = pair_sink_stats(p);

    while (st.status != s && clock_now_ns() < end) {
        clock_sleep_ns(NS_PER_MS);
        st = pair_sink_stats(p);
    }
    if (st.status != s)
        fail_msg("sink is %s in stage %s (%s: %s), %s was expected", godwit_status_name(st.status),
                 godwit_stage_name(st.stage), st.error.stage, st.error.text, godwit_status_name(s));
}

void pair_expect_moved(struct pair *p)
{
    const char *difference;

    pair_expect_source(p, GODWIT_COMPLETED);
    pair_expect_sink(p, GODWIT_COMPLETED);
    assert_false(p->world.broken);
    assert_int_equal(p->to.runs_count, 1);
    assert_int_equal(p->from.resumes, 0);
    wait_until(p->from.finishes == 1); /* after the second look at the memory */
    assert_int_equal(p->from.slots[FAKE_STOP].calls, 1);
    assert_int_equal(p->from.slots[FAKE_COMMIT].calls, 1);
    assert_int_equal(p->from.slots[FAKE_DIRTY_STOP].calls, 1);
    assert_int_equal(p->to.runs, !p->from.started_paused);
    difference = fake_compare(&p->from, &p->to);
    if (difference)
        fail_msg("%s", difference);
}

static bool sink_is_busy(struct pair *p)
{
    enum godwit_status s = p->sink ? pair_sink_stats(p).status : GODWIT_NONE;

    return s == GODWIT_SETUP || s == GODWIT_ACTIVE;
}

void pair_expect_kept(struct pair *p)
{
    wait_until(!sink_is_busy(p));
    wait_until(!p->to.built);
    assert_false(p->world.broken);
    assert_int_equal(p->to.runs_count, 0);
    assert_int_equal(p->from.finishes, 0);
    assert_int_equal(p->from.runs, !p->from.started_paused);
    assert_false(p->from.tracking);
    assert_int_equal(p->from.resumes,
                     p->from.slots[FAKE_STOP].calls && !p->from.slots[FAKE_STOP].fail);
}

void pair_end_source(struct pair *p)
{
    godwit_source_free(p->source);
    p->source = NULL;
}

void pair_end_sink(struct pair *p)
{
    godwit_sink_free(p->sink);
    p->sink = NULL;
}

void pair_fini(struct pair *p)
{
    pair_end_source(p);
    pair_end_sink(p);
    fake_source_fini(&p->from);
    fake_sink_fini(&p->to);
    if (!strncmp(p->uri, "unix:", 5))
        assert_int_equal(access(p->uri + 5, F_OK), -1);
    assert_int_equal(count_dir("/proc/self/fd"), p->fds);
    wait_until(count_dir("/proc/self/task") == p->threads); /* a joined one may linger in there */
}
