#include "base/loop.h"

#include <errno.h>
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

static int open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Every test gets a loop, and must leave no descriptor behind. */
struct fixture {
    struct loop *loop;
    int fds_before;
    int log[64]; /* what ran, in order */
    int nlog;
    struct loop_fd *watch[2];
    struct loop_timer *timer[3];
    int fd[2];
    int rounds;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->fds_before = open_fds();
    f->loop = loop_new();
    f->fd[0] = eventfd(0, EFD_NONBLOCK);
    f->fd[1] = eventfd(0, EFD_NONBLOCK);
    *state = f;
    return f->loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int leaked;

    loop_free(f->loop);
    close(f->fd[0]);
    close(f->fd[1]);
    leaked = open_fds() - f->fds_before;
    free(f);
    return leaked;
}

static void note(struct fixture *f, int what)
{
    if (f->nlog < (int)(sizeof(f->log) / sizeof(f->log[0])))
        f->log[f->nlog++] = what;
}

static void quit(void *opaque)
{
    loop_quit(((struct fixture *)opaque)->loop);
}

static void raise_fd(int fd)
{
    assert_int_equal(eventfd_write(fd, 1), 0);
}

/* Watches */

static void drain_and_quit(void *opaque, uint32_t events)
{
    struct fixture *f = opaque;
    eventfd_t v;

    assert_true(events & EPOLLIN);
    assert_int_equal(eventfd_read(f->fd[0], &v), 0);
    note(f, 1);
    loop_quit(f->loop);
}

static void a_ready_descriptor_is_handled(void **state)
{
    struct fixture *f = *state;

    f->watch[0] = loop_fd_add(f->loop, f->fd[0], EPOLLIN, drain_and_quit, f);
    assert_non_null(f->watch[0]);
    raise_fd(f->fd[0]);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
}

/* Both are ready in one round; whichever comes first removes both, and the other must not run. */
static void remove_both(void *opaque, uint32_t events)
{
    struct fixture *f = opaque;

    note(f, 1);
    loop_fd_del(f->watch[0]);
    loop_fd_del(f->watch[1]);
    loop_post(f->loop, quit, f);
}

static void a_handler_may_remove_itself_and_another(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        f->watch[i] = loop_fd_add(f->loop, f->fd[i], EPOLLIN, remove_both, f);
        raise_fd(f->fd[i]);
    }
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
}

/* A handler closes a ready descriptor and opens another, which gets the same number: the event that
 * is still queued for the old one must not reach the new one. */
static void never(void *opaque, uint32_t events)
{
    note(opaque, 99);
}

static void replace_other(void *opaque, uint32_t events)
{
    struct fixture *f = opaque;

    note(f, 1);
    for (int i = 0; i < 2; i++) {
        int old = f->fd[i];

        loop_fd_del(f->watch[i]);
        close(old);
        f->fd[i] = eventfd(0, EFD_NONBLOCK);
        assert_int_equal(f->fd[i], old);
        f->watch[i] = loop_fd_add(f->loop, f->fd[i], EPOLLIN, never, f);
    }
    loop_post(f->loop, quit, f);
}

static void a_reused_descriptor_gets_no_old_event(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        f->watch[i] = loop_fd_add(f->loop, f->fd[i], EPOLLIN, replace_other, f);
        raise_fd(f->fd[i]);
    }
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
    assert_int_equal(f->log[0], 1);
}

static void events_can_be_changed(void **state)
{
    struct fixture *f = *state;

    f->watch[0] = loop_fd_add(f->loop, f->fd[0], 0, drain_and_quit, f);
    raise_fd(f->fd[0]);
    loop_post(f->loop, quit, f);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 0);
    assert_int_equal(loop_fd_mod(f->watch[0], EPOLLIN), 0);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
}

static void a_bad_descriptor_is_refused(void **state)
{
    struct fixture *f = *state;

    errno = 0;
    assert_null(loop_fd_add(f->loop, -1, EPOLLIN, never, f));
    assert_int_equal(errno, EBADF);
    loop_fd_del(NULL);
}

/* Timers */

static void fire0(void *opaque)
{
    note(opaque, 0);
}

static void fire1(void *opaque)
{
    note(opaque, 1);
}

static void fire2_and_quit(void *opaque)
{
    note(opaque, 2);
    quit(opaque);
}

static void timers_fire_by_deadline_and_not_early(void **state)
{
    struct fixture *f = *state;
    uint64_t start = clock_now_ns();

    f->timer[2] = loop_timer_new(f->loop, fire2_and_quit, f);
    f->timer[1] = loop_timer_new(f->loop, fire1, f);
    f->timer[0] = loop_timer_new(f->loop, fire0, f);
    loop_timer_set(f->timer[2], start + 30 * NS_PER_MS);
    loop_timer_set(f->timer[1], start + 90 * NS_PER_S); /* moved below */
    loop_timer_set(f->timer[0], start + 10 * NS_PER_MS);
    loop_timer_set(f->timer[1], start + 20 * NS_PER_MS);
    assert_int_equal(loop_run(f->loop), 0);
    assert_true(clock_now_ns() - start >= 30 * NS_PER_MS);
    assert_int_equal(f->nlog, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->log[i], i);
}

/* All three are due in the same round; the first takes the second's turn away and frees the third.
 */
static void fire_and_take_others(void *opaque)
{
    struct fixture *f = opaque;

    note(f, 0);
    loop_timer_cancel(f->timer[1]);
    loop_timer_free(f->timer[2]);
    loop_timer_free(f->timer[0]);
    loop_post(f->loop, quit, f);
}

static void a_timer_may_cancel_and_free_others_and_itself(void **state)
{
    struct fixture *f = *state;

    f->timer[0] = loop_timer_new(f->loop, fire_and_take_others, f);
    f->timer[1] = loop_timer_new(f->loop, fire1, f);
    f->timer[2] = loop_timer_new(f->loop, fire1, f);
    loop_timer_set(f->timer[0], 0);
    loop_timer_set(f->timer[1], 1);
    loop_timer_set(f->timer[2], 2);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
}

/* A timer that is always due again must not keep descriptors and posts from their turn. */
static void rearm_in_the_past(void *opaque)
{
    struct fixture *f = opaque;

    f->rounds++;
    loop_timer_set(f->timer[0], 1);
}

static void a_timer_always_due_starves_nobody(void **state)
{
    struct fixture *f = *state;

    f->timer[0] = loop_timer_new(f->loop, rearm_in_the_past, f);
    loop_timer_set(f->timer[0], 1);
    f->watch[0] = loop_fd_add(f->loop, f->fd[0], EPOLLIN, drain_and_quit, f);
    raise_fd(f->fd[0]);
    assert_int_equal(loop_run(f->loop), 0);
    loop_post(f->loop, quit, f);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
}

/* The timerfd has gone off and is no longer set to what it was. */
static void set_to_the_same_deadline(void *opaque)
{
    struct fixture *f = opaque;

    if (++f->rounds == 3)
        loop_quit(f->loop);
    else
        loop_timer_set(f->timer[0], 1);
}

static void the_same_deadline_again_fires_again(void **state)
{
    struct fixture *f = *state;

    f->timer[0] = loop_timer_new(f->loop, set_to_the_same_deadline, f);
    loop_timer_set(f->timer[0], 1);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->rounds, 3);
}

static void a_cancelled_timer_stays_silent(void **state)
{
    struct fixture *f = *state;
    uint64_t now = clock_now_ns();

    f->timer[0] = loop_timer_new(f->loop, fire0, f);
    f->timer[1] = loop_timer_new(f->loop, fire2_and_quit, f);
    loop_timer_set(f->timer[0], now + NS_PER_MS);
    loop_timer_set(f->timer[1], now + 20 * NS_PER_MS);
    loop_timer_cancel(f->timer[0]);
    loop_timer_cancel(f->timer[0]);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 1);
    loop_timer_set(f->timer[0], UINT64_MAX); /* "never" is a deadline too */
    loop_timer_set(f->timer[1], clock_now_ns() + NS_PER_MS);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 2);
    loop_timer_free(NULL);
}

/* Other threads */

struct numbered {
    struct fixture *f;
    int thread, number;
};

#define POSTERS  3
#define PER_POST 2000

static int last_seen[POSTERS];
static int total_seen;

static void in_order(void *opaque)
{
    struct numbered *n = opaque;

    assert_int_equal(n->number, last_seen[n->thread] + 1);
    last_seen[n->thread] = n->number;
    if (++total_seen == POSTERS * PER_POST)
        loop_quit(n->f->loop);
    free(n);
}

static void *post_many(void *opaque)
{
    struct numbered *first = opaque;

    for (int i = 1; i <= PER_POST; i++) {
        struct numbered *n = malloc(sizeof(*n));

        *n = (struct numbered){.f = first->f, .thread = first->thread, .number = i};
        assert_int_equal(loop_post(first->f->loop, in_order, n), 0);
    }
    return NULL;
}

static void posts_of_each_thread_keep_their_order(void **state)
{
    struct numbered first[POSTERS];
    pthread_t threads[POSTERS];

    for (int i = 0; i < POSTERS; i++) {
        first[i] = (struct numbered){.f = *state, .thread = i};
        pthread_create(&threads[i], NULL, post_many, &first[i]);
    }
    assert_int_equal(loop_run(((struct fixture *)*state)->loop), 0);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total_seen, POSTERS * PER_POST);
}

static void must_be_self(void *opaque)
{
    struct fixture *f = opaque;

    note(f, loop_is_self(f->loop));
}

static void *call_and_quit(void *opaque)
{
    struct fixture *f = opaque;

    for (int i = 0; i < 20; i++) {
        assert_false(loop_is_self(f->loop));
        assert_int_equal(loop_call(f->loop, must_be_self, f), 0);
        assert_int_equal(f->nlog, i + 1); /* it has run: loop_call orders the two */
    }
    loop_quit(f->loop);
    return NULL;
}

static void a_call_waits_for_the_loop(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;

    pthread_create(&thread, NULL, call_and_quit, f);
    assert_int_equal(loop_run(f->loop), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < f->nlog; i++)
        assert_int_equal(f->log[i], 1);
}

static void a_call_on_the_own_thread_just_calls(void **state)
{
    struct fixture *f = *state;

    assert_true(loop_is_self(f->loop));
    assert_int_equal(loop_call(f->loop, must_be_self, f), 0);
    assert_int_equal(f->nlog, 1);
}

static void post_again(void *opaque)
{
    struct fixture *f = opaque;

    note(f, 1);
    loop_post(f->loop, f->nlog < 5 ? post_again : quit, f);
}

static void a_post_may_post(void **state)
{
    struct fixture *f = *state;

    loop_post(f->loop, post_again, f);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 5);
}

static void what_was_posted_before_a_quit_runs(void **state)
{
    struct fixture *f = *state;

    loop_quit(f->loop);
    loop_post(f->loop, fire0, f);
    assert_int_equal(loop_run(f->loop), 0); /* returns at once */
    assert_int_equal(f->nlog, 1);
    loop_post(f->loop, fire0, f);
    loop_post(f->loop, quit, f);
    loop_post(f->loop, fire1, f);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->nlog, 3);
}

struct late_call {
    struct loop *loop;
    atomic_bool started;
    atomic_int result;
};

static void *call_late(void *opaque)
{
    struct late_call *c = opaque;

    atomic_store(&c->started, true);
    atomic_store(&c->result, loop_call(c->loop, quit, NULL));
    return NULL;
}

/* Whoever waits for a loop that goes away is told; posts that never ran leak nothing. */
static void freeing_releases_callers_and_posts(void **state)
{
    struct fixture *f = *state;
    struct late_call c = {.loop = loop_new(), .result = 1};
    pthread_t thread;

    loop_post(c.loop, fire0, f);
    pthread_create(&thread, NULL, call_late, &c);
    while (!atomic_load(&c.started))
        clock_sleep_ns(NS_PER_MS);
    clock_sleep_ns(100 * NS_PER_MS); /* the few instructions from there into the wait */
    assert_int_equal(atomic_load(&c.result), 1);
    loop_timer_set(loop_timer_new(c.loop, fire0, f), 1);
    loop_fd_add(c.loop, f->fd[0], EPOLLIN, never, f);
    loop_free(c.loop);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&c.result), -ECANCELED);
    assert_int_equal(f->nlog, 0);
    loop_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_ready_descriptor_is_handled),
        TEST(a_handler_may_remove_itself_and_another),
        TEST(a_reused_descriptor_gets_no_old_event),
        TEST(events_can_be_changed),
        TEST(a_bad_descriptor_is_refused),
        TEST(timers_fire_by_deadline_and_not_early),
        TEST(a_timer_may_cancel_and_free_others_and_itself),
        TEST(a_timer_always_due_starves_nobody),
        TEST(the_same_deadline_again_fires_again),
        TEST(a_cancelled_timer_stays_silent),
        TEST(posts_of_each_thread_keep_their_order),
        TEST(a_call_waits_for_the_loop),
        TEST(a_call_on_the_own_thread_just_calls),
        TEST(a_post_may_post),
        TEST(what_was_posted_before_a_quit_runs),
        TEST(freeing_releases_callers_and_posts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
