#include "transport/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define STAGE "resolve"

/* Shared by the caller and the thread; whoever lets go last frees it. */
struct lookup {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t done_cond;
    bool done, abandoned;
    int status; /* of getaddrinfo */
    struct addrinfo *result;
    char host[sizeof(((struct address *)0)->host)];
    char port[8];
};

static int lookup_now(const char *host, const char *port, int flags, struct addrinfo **out)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};

    *out = NULL;
    return getaddrinfo(host, port, &hints, out);
}

static void lookup_free(struct lookup *l)
{
    if (l->result)
        freeaddrinfo(l->result);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->done_cond);
    free(l);
}

static void *lookup_thread(void *opaque)
{
    struct lookup *l = opaque;
    struct addrinfo *result;
    int status = lookup_now(l->host, l->port, 0, &result);
    bool mine;

    pthread_mutex_lock(&l->lock);
    l->status = status;
    l->result = result;
    l->done = true;
    mine = l->abandoned;
    pthread_cond_signal(&l->done_cond);
    pthread_mutex_unlock(&l->lock);
    if (mine)
        lookup_free(l);
    return NULL;
}

static struct lookup *lookup_start(const char *host, const char *port)
{
    struct lookup *l = calloc(1, sizeof(*l));
    pthread_condattr_t cond_attr;
    pthread_attr_t attr;
    pthread_t thread;
    int ret;

    if (!l)
        return NULL;
    snprintf(l->host, sizeof(l->host), "%s", host);
    snprintf(l->port, sizeof(l->port), "%s", port);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&cond_attr);
    pthread_condattr_setclock(&cond_attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->done_cond, &cond_attr);
    pthread_condattr_destroy(&cond_attr);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ret = pthread_create(&thread, &attr, lookup_thread, l);
    pthread_attr_destroy(&attr);
    if (ret) {
        lookup_free(l);
        return NULL;
    }
    pthread_setname_np(thread, "resolve");
    return l;
}

/* Why to stop waiting: -ECANCELED, -ETIMEDOUT; 0: go on. */
static int reason_to_stop(uint64_t deadline_ns, const atomic_bool *cancel)
{
    if (cancel && atomic_load(cancel))
        return -ECANCELED;
    return deadline_ns && clock_now_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

/* Waits for the thread or leaves it behind. */
static int lookup_wait(struct lookup *l, uint64_t deadline_ns, const atomic_bool *cancel,
                       int *status, struct addrinfo **out)
{
    bool done;
    int why = 0;

    pthread_mutex_lock(&l->lock);
    while (!l->done && !(why = reason_to_stop(deadline_ns, cancel))) {
        uint64_t step = clock_now_ns() + CANCEL_POLL_MS * NS_PER_MS;
        uint64_t until = deadline_ns && deadline_ns < step ? deadline_ns : step;
        struct timespec ts = {.tv_sec = (time_t)(until / NS_PER_S),
                              .tv_nsec = (long)(until % NS_PER_S)};

        pthread_cond_timedwait(&l->done_cond, &l->lock, &ts);
    }
    done = l->done;
    l->abandoned = !done;
    *status = l->status;
    *out = l->result;
    if (done)
        l->result = NULL;
    pthread_mutex_unlock(&l->lock);
    if (done)
        lookup_free(l);
    return done ? 0 : why;
}

int resolve(const struct address *a, uint64_t deadline_ns, const atomic_bool *cancel,
            struct addrinfo **out, struct err *e)
{
    struct lookup *l;
    char port[8];
    int ret, status;

    snprintf(port, sizeof(port), "%u", a->port);
    status = lookup_now(a->host, port, AI_NUMERICHOST, out);
    if (status == EAI_NONAME) {
        l = lookup_start(a->host, port);
        if (!l)
            return err_set(e, -ENOMEM, STAGE, "cannot start looking up host '%s'", a->host);
        ret = lookup_wait(l, deadline_ns, cancel, &status, out);
        if (ret)
            return err_set_errno(e, ret, STAGE, "looking up host '%s'", a->host);
    }
    if (status == EAI_MEMORY)
        return err_set(e, -ENOMEM, STAGE, "looking up host '%s': out of memory", a->host);
    if (status)
        return err_set(e, -EHOSTUNREACH, STAGE,
                       "host '%s' has no address (%s): check the name, or give the address itself",
                       a->host, gai_strerror(status));
    return 0;
}
