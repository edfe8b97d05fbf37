/*
 * One epoll set holds everything: the watched descriptors, an eventfd that other threads write when
 * they post or quit, and one timerfd armed for the earliest timer (nanoseconds, where epoll's own
 * timeout would round to milliseconds).  A round is: wait; handlers of ready descriptors; due
 * timers; posted calls; then the watches that were removed meanwhile are freed, since events of
 * this round may still point at them.
 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS_PER_ROUND 64

struct loop_fd {
    struct loop *loop;
    int fd;
    loop_fd_fn fn; /* NULL: removed, waits for the round's end */
    void *opaque;
    LIST_ENTRY(loop_fd) link;
};

struct loop_timer {
    struct loop *loop;
    loop_fn fn;
    void *opaque;
    uint64_t deadline_ns;
    bool armed; /* is on `armed` or `due` */
    LIST_ENTRY(loop_timer) link;
    LIST_ENTRY(loop_timer) all_link;
};

/* Someone who waits in loop_call; lives on the waiter's stack. */
struct waiter {
    pthread_mutex_t lock; /* guards done and result */
    pthread_cond_t cond;
    bool done;
    int result;
};

struct post {
    loop_fn fn;
    void *opaque;
    struct waiter *waiter; /* NULL: the post is on the heap */
    STAILQ_ENTRY(post) link;
};

STAILQ_HEAD(post_list, post);
LIST_HEAD(timer_list, loop_timer);
LIST_HEAD(fd_list, loop_fd);

struct loop {
    int epoll_fd, event_fd, timer_fd;
    _Atomic(pthread_t) owner;
    atomic_bool quit;

    pthread_mutex_t posts_lock; /* guards posts */
    struct post_list posts;

    struct fd_list fds, removed;
    struct timer_list timers;   /* all */
    struct timer_list armed;    /* by deadline */
    struct timer_list due;      /* taken out of `armed` by the round in progress */
    uint64_t timer_fd_deadline; /* what timer_fd is set to; 0: nothing */
};

static int watch(struct loop *l, int op, int fd, uint32_t events, void *tag)
{
    struct epoll_event ev = {.events = events, .data.ptr = tag};

    return epoll_ctl(l->epoll_fd, op, fd, &ev) ? -errno : 0;
}

static void close_all(struct loop *l)
{
    int fds[] = {l->epoll_fd, l->event_fd, l->timer_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->event_fd < 0 || l->timer_fd < 0 ||
        watch(l, EPOLL_CTL_ADD, l->event_fd, EPOLLIN, &l->event_fd) ||
        watch(l, EPOLL_CTL_ADD, l->timer_fd, EPOLLIN, &l->timer_fd)) {
        close_all(l);
        free(l);
        return NULL;
    }
    atomic_store(&l->owner, pthread_self());
    pthread_mutex_init(&l->posts_lock, NULL);
    STAILQ_INIT(&l->posts);
    LIST_INIT(&l->fds);
    LIST_INIT(&l->removed);
    LIST_INIT(&l->timers);
    LIST_INIT(&l->armed);
    LIST_INIT(&l->due);
    return l;
}

/* Watches */

struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *opaque)
{
    struct loop_fd *f = malloc(sizeof(*f));
    int ret;

    if (!f)
        return NULL;
    *f = (struct loop_fd){.loop = l, .fd = fd, .fn = fn, .opaque = opaque};
    ret = watch(l, EPOLL_CTL_ADD, fd, events, f);
    if (ret) {
        free(f);
        errno = -ret;
        return NULL;
    }
    LIST_INSERT_HEAD(&l->fds, f, link);
    return f;
}

int loop_fd_mod(struct loop_fd *f, uint32_t events)
{
    return watch(f->loop, EPOLL_CTL_MOD, f->fd, events, f);
}

void loop_fd_del(struct loop_fd *f)
{
    if (!f || !f->fn)
        return;
    watch(f->loop, EPOLL_CTL_DEL, f->fd, 0, NULL);
    f->fn = NULL;
    LIST_REMOVE(f, link);
    LIST_INSERT_HEAD(&f->loop->removed, f, link);
}

static void free_watches(struct fd_list *list)
{
    struct loop_fd *f;

    while ((f = LIST_FIRST(list))) {
        LIST_REMOVE(f, link);
        free(f);
    }
}

/* Timers */

/* Sets timer_fd to the earliest deadline; no system call while that has not moved. */
static void arm_timer_fd(struct loop *l)
{
    struct loop_timer *first = LIST_FIRST(&l->armed);
    uint64_t deadline = first ? first->deadline_ns : 0;
    struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(deadline / NS_PER_S),
                     .tv_nsec = (long)(deadline % NS_PER_S)}
    };

    if (deadline == l->timer_fd_deadline)
        return;
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    l->timer_fd_deadline = deadline;
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *opaque)
{
    struct loop_timer *t = malloc(sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct loop_timer){.loop = l, .fn = fn, .opaque = opaque};
    LIST_INSERT_HEAD(&l->timers, t, all_link);
    return t;
}

static void insert_by_deadline(struct timer_list *list, struct loop_timer *t)
{
    struct loop_timer *pos, *last = NULL;

    LIST_FOREACH(pos, list, link)
    {
        if (pos->deadline_ns > t->deadline_ns)
            break;
        last = pos;
    }
    if (last)
        LIST_INSERT_AFTER(last, t, link);
    else
        LIST_INSERT_HEAD(list, t, link);
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
    if (t->armed)
        LIST_REMOVE(t, link);
    /* Zero would disarm the timerfd; times past what it can hold never come anyway. */
    t->deadline_ns = deadline_ns == 0 ? 1 : deadline_ns > INT64_MAX ? INT64_MAX : deadline_ns;
    t->armed = true;
    insert_by_deadline(&t->loop->armed, t);
    arm_timer_fd(t->loop);
}

void loop_timer_cancel(struct loop_timer *t)
{
    if (!t->armed)
        return;
    LIST_REMOVE(t, link);
    t->armed = false;
    arm_timer_fd(t->loop);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    loop_timer_cancel(t);
    LIST_REMOVE(t, all_link);
    free(t);
}

/* The due ones are set apart first, so that a handler that arms a timer in the past runs it in the
 * next round and not for ever in this one. */
static void run_timers(struct loop *l)
{
    uint64_t now = clock_now_ns(), expirations;
    struct loop_timer *t;

    if (read(l->timer_fd, &expirations, sizeof(expirations)) == sizeof(expirations))
        l->timer_fd_deadline = 0;
    while ((t = LIST_FIRST(&l->armed)) && t->deadline_ns <= now) {
        LIST_REMOVE(t, link);
        insert_by_deadline(&l->due, t);
    }
    while ((t = LIST_FIRST(&l->due))) {
        LIST_REMOVE(t, link);
        t->armed = false;
        t->fn(t->opaque);
    }
    arm_timer_fd(l);
}

/* Calls from other threads */

static void wake(struct loop *l)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the loop wakes without it. */
    while (write(l->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void enqueue(struct loop *l, struct post *p)
{
    pthread_mutex_lock(&l->posts_lock);
    STAILQ_INSERT_TAIL(&l->posts, p, link);
    /* Inside the lock: once the loop has taken a call's post its thread may end, and with it the
     * last reason for the loop to exist. */
    wake(l);
    pthread_mutex_unlock(&l->posts_lock);
}

/* After this neither the post nor its waiter may be touched. */
static void finish(struct post *p, int result)
{
    struct waiter *w = p->waiter;

    if (!w) {
        free(p);
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->result = result;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void take_posts(struct loop *l, struct post_list *out)
{
    STAILQ_INIT(out);
    pthread_mutex_lock(&l->posts_lock);
    STAILQ_CONCAT(out, &l->posts);
    pthread_mutex_unlock(&l->posts_lock);
}

static void run_posts(struct loop *l)
{
    struct post_list batch;
    struct post *p;
    uint64_t count;

    while (read(l->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    take_posts(l, &batch);
    while ((p = STAILQ_FIRST(&batch))) {
        STAILQ_REMOVE_HEAD(&batch, link);
        p->fn(p->opaque);
        finish(p, 0);
    }
}

int loop_post(struct loop *l, loop_fn fn, void *opaque)
{
    struct post *p = malloc(sizeof(*p));

    if (!p)
        return -ENOMEM;
    *p = (struct post){.fn = fn, .opaque = opaque};
    enqueue(l, p);
    return 0;
}

int loop_call(struct loop *l, loop_fn fn, void *opaque)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct post p = {.fn = fn, .opaque = opaque, .waiter = &w};

    if (loop_is_self(l)) {
        fn(opaque);
        return 0;
    }
    enqueue(l, &p);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    return w.result;
}

/* Running */

static void dispatch(struct loop *l, const struct epoll_event *events, int n)
{
    bool timers = false, posts = false;

    for (int i = 0; i < n; i++) {
        struct loop_fd *f = events[i].data.ptr;

        if (events[i].data.ptr == &l->event_fd)
            posts = true;
        else if (events[i].data.ptr == &l->timer_fd)
            timers = true;
        else if (f->fn)
            f->fn(f->opaque, events[i].events);
    }
    if (timers)
        run_timers(l);
    if (posts)
        run_posts(l);
    free_watches(&l->removed);
}

int loop_run(struct loop *l)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int n;

    atomic_store(&l->owner, pthread_self());
    while (!atomic_exchange(&l->quit, false)) {
        n = epoll_wait(l->epoll_fd, events, EVENTS_PER_ROUND, -1);
        if (n < 0 && errno != EINTR)
            return -errno;
        dispatch(l, events, n);
    }
    run_posts(l); /* a quit may have overtaken posts made before it */
    return 0;
}

void loop_quit(struct loop *l)
{
    atomic_store(&l->quit, true);
    wake(l);
}

bool loop_is_self(const struct loop *l)
{
    return pthread_equal(atomic_load(&l->owner), pthread_self());
}

void loop_free(struct loop *l)
{
    struct loop_timer *t;
    struct post_list left;
    struct post *p;

    if (!l)
        return;
    take_posts(l, &left);
    while ((p = STAILQ_FIRST(&left))) {
        STAILQ_REMOVE_HEAD(&left, link);
        finish(p, -ECANCELED);
    }
    free_watches(&l->fds);
    free_watches(&l->removed);
    while ((t = LIST_FIRST(&l->timers))) {
        LIST_REMOVE(t, all_link);
        free(t);
    }
    close_all(l);
    pthread_mutex_destroy(&l->posts_lock);
    free(l);
}
