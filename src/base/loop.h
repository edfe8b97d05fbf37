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

struct loop *loop_new(void);
void loop_free(struct loop *l);

/* Runs until loop_quit; returns 0 or -errno of epoll itself. */
int loop_run(struct loop *l);
/* Any thread. */
void loop_quit(struct loop *l);
/* True on the thread that is inside loop_run (before loop_run: the thread that made the loop). */
bool loop_is_self(const struct loop *l);

/* Watches fd (not owned) for epoll events (level-triggered EPOLLIN, EPOLLOUT ...).  A handler may
 * remove itself or any other watch: removal is deferred until the current round is over. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *opaque);
int loop_fd_mod(struct loop_fd *f, uint32_t events);
void loop_fd_del(struct loop_fd *f);

/* One-shot timers on CLOCK_MONOTONIC. */
struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *opaque);
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns);
void loop_timer_cancel(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* Runs fn(opaque) on the loop's thread soon; calls from one thread keep their order. 0 or -ENOMEM. */
int loop_post(struct loop *l, loop_fn fn, void *opaque);
/* As loop_post, and waits until it has run; on the loop's own thread it just calls. */
int loop_call(struct loop *l, loop_fn fn, void *opaque);

#endif
