#include "migrate/pace.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

#define SLICE_S    0.010
#define SAVED_S    0.030
#define SLICE_FREE (1U << 20) /* without a limit: what may be under way when one is set */
#define NAP_MAX_NS (20 * NS_PER_MS)

int pace_init(struct pace *p, uint64_t rate)
{
    pthread_condattr_t attr;
    int ret;

    *p = (struct pace){.filled_ns = clock_now_ns()};
    atomic_init(&p->rate, rate);
    ret = pthread_mutex_init(&p->lock, NULL);
    if (ret)
        return -ret;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    ret = pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (ret)
        pthread_mutex_destroy(&p->lock);
    return -ret;
}

void pace_fini(struct pace *p)
{
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}

/* ---- the arithmetic ------------------------------------------------------------------------- */

/* What was owed, or saved, was so at the old rate: it is the same time at the new one, not the same
 * bytes. */
void pace_change(struct pace *p, uint64_t rate, uint64_t now_ns)
{
    double before = (double)atomic_load(&p->rate);

    if (before > 0 && rate > 0)
        p->tokens *= (double)rate / before;
    else
        p->tokens = 0;
    atomic_store(&p->rate, rate);
    p->filled_ns = now_ns;
}

size_t pace_ask(struct pace *p, size_t want, uint64_t now_ns, uint64_t *wait_ns)
{
    double rate = (double)atomic_load(&p->rate), slice = rate * SLICE_S;
    size_t got;

    if (rate == 0)
        return want < SLICE_FREE ? want : SLICE_FREE;
    p->tokens += rate * (double)(now_ns - p->filled_ns) / (double)NS_PER_S;
    p->filled_ns = now_ns;
    if (p->tokens > rate * SAVED_S)
        p->tokens = rate * SAVED_S > 1 ? rate * SAVED_S : 1;
    if (p->tokens < 1) {
        *wait_ns = (uint64_t)((1.0 - p->tokens) / rate * (double)NS_PER_S) + 1;
        return 0;
    }
    got = (double)want < slice ? want : (size_t)slice;
    got = got < 1 ? 1 : got;
    p->tokens -= (double)got;
    return got;
}

/* ---- its users ------------------------------------------------------------------------------ */

void pace_set_rate(struct pace *p, uint64_t rate)
{
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->rate) != rate) {
        pace_change(p, rate, clock_now_ns());
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
}

static void set_stopped(struct pace *p, bool stopped)
{
    pthread_mutex_lock(&p->lock);
    p->stopped = stopped;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void pace_stop(struct pace *p)
{
    set_stopped(p, true);
}

void pace_restart(struct pace *p)
{
    set_stopped(p, false);
}

static void nap(struct pace *p, uint64_t now, uint64_t wait)
{
    uint64_t at = now + (wait < NAP_MAX_NS ? wait : NAP_MAX_NS);
    struct timespec ts = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)};

    pthread_cond_timedwait(&p->changed, &p->lock, &ts);
}

ssize_t pace_take(struct pace *p, size_t want)
{
    size_t got = 0;

    if (atomic_load_explicit(&p->rate, memory_order_relaxed) == 0)
        return (ssize_t)(want < SLICE_FREE ? want : SLICE_FREE);
    pthread_mutex_lock(&p->lock);
    while (!p->stopped) {
        uint64_t now = clock_now_ns(), wait;

        got = pace_ask(p, want, now, &wait);
        if (got)
            break;
        nap(p, now, wait);
    }
    pthread_mutex_unlock(&p->lock);
    return got ? (ssize_t)got : -ECANCELED;
}
