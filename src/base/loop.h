/*
 * The event loop: epoll, timers, and calls posted from other threads.  One thread runs it; handlers
 * run on that thread and never block.  loop_post and loop_call may be used from any thread; all the
 * rest only from the loop's own thread (or before it runs).
 */
#ifndef GODWIT_BASE_LOOP_H
#define GODWIT_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

typedef void (*loop_fd_fn)(void *opaque, uint32_t epoll_events);
typedef void (*loop_fn)(void *opaque);

struct loop *loop_new(void); /* NULL: errno */
/* Frees the watches and timers still in it.  Posts that never ran are dropped (what their opaque
 * owns stays the poster's); callers waiting in loop_call get -ECANCELED.  NULL is fine. */
void loop_free(struct loop *l);

/* Runs until loop_quit; returns 0 or -errno of epoll itself.  Everything posted before the
 * loop_quit has run by then.  May be called again afterwards. */
int loop_run(struct loop *l);
/* Any thread, also before loop_run, which then returns at once. */
void loop_quit(struct loop *l);
/* True on the thread that is inside loop_run (before loop_run: the thread that made the loop). */
bool loop_is_self(const struct loop *l);

/* Watches fd (not owned) for epoll events (level-triggered EPOLLIN, EPOLLOUT ...).  A handler may
 * remove itself or any other watch: it is not called again, its memory goes when the round is over.
 * Remove a watch before closing its descriptor.  NULL: errno. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *opaque);
int loop_fd_mod(struct loop_fd *f, uint32_t events);
void loop_fd_del(struct loop_fd *f); /* NULL is fine */

/* One-shot timers on CLOCK_MONOTONIC (clock_now_ns).  A deadline in the past fires in the next
 * round; setting an armed timer moves it; a handler may set, cancel or free any timer, also its
 * own. */
struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *opaque);
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns);
void loop_timer_cancel(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* Runs fn(opaque) on the loop's thread soon; posts of one thread keep their order. 0 or -ENOMEM. */
int loop_post(struct loop *l, loop_fn fn, void *opaque);
/* As loop_post, and waits until it has run; on the loop's own thread it just calls.  0, or
 * -ECANCELED when the loop was freed first. */
int loop_call(struct loop *l, loop_fn fn, void *opaque);

#endif
