#include "migrate/pace.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

#define SLICES_PER_S 50         /* 20 ms each */
#define SLICE_MIN    1024U      /* at very low rates: no system call for every few bytes */
#define SLICE_FREE   (1U << 20) /* without a limit: what may be under way when one is set */
#define NAP_MAX_NS   (20 * NS_PER_MS)

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

void pace_set_rate(struct pace *p, uint64_t rate)
{
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->rate) != rate) {
        atomic_store(&p->rate, rate);
        p->tokens = 0;
        p->filled_ns = clock_now_ns();
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
}

void pace_stop(struct pace *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Tokens that came since the last look; no more are saved up than one slice. */
static void fill(struct pace *p, double rate, double slice)
{
    uint64_t now = clock_now_ns();

    p->tokens += rate * (double)(now - p->filled_ns) / (double)NS_PER_S;
    p->filled_ns = now;
    if (p->tokens > slice)
        p->tokens = slice;
}

static void nap(struct pace *p, double rate)
{
    double wait = (1.0 - p->tokens) / rate * (double)NS_PER_S;
    uint64_t at = clock_now_ns() + (wait < (double)NAP_MAX_NS ? (uint64_t)wait : NAP_MAX_NS);
    struct timespec ts = {.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)};

    pthread_cond_timedwait(&p->changed, &p->lock, &ts);
}

ssize_t pace_take(struct pace *p, size_t want)
{
    ssize_t got = -ECANCELED;

    if (atomic_load_explicit(&p->rate, memory_order_relaxed) == 0)
        return (ssize_t)(want < SLICE_FREE ? want : SLICE_FREE);
    pthread_mutex_lock(&p->lock);
    while (!p->stopped) {
        double rate = (double)atomic_load(&p->rate);
        double slice = rate / SLICES_PER_S > SLICE_MIN ? rate / SLICES_PER_S : SLICE_MIN;

        if (rate == 0) {
            got = (ssize_t)(want < SLICE_FREE ? want : SLICE_FREE);
            break;
        }
        fill(p, rate, slice);
        if (p->tokens >= 1) {
            got = (double)want < slice ? (ssize_t)want : (ssize_t)slice;
            p->tokens -= (double)got;
            break;
        }
        nap(p, rate);
    }
    pthread_mutex_unlock(&p->lock);
    return got;
}
