/* The source: life and death of its thread, and what other threads may ask of it. */
#include "migrate/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/scribe.h"
#include "migrate/story.h"
#include "migrate/thread.h"

#define STAGE "setup"

static void *source_main(void *arg)
{
    struct godwit_source *s = arg;
    struct err e = ERR_INIT;
    int ret;

    stats_log(&s->stats, "begins", s->uri);
    stats_tell_begun(&s->stats);
    ret = source_setup(s, &e);
    if (!ret)
        ret = source_precopy(s, &e);
    if (!ret)
        ret = source_switch(s, &e);
    if (ret)
        source_keep(s, ret, &e);
    else
        source_await(s);
    link_drop(&s->link);
    dialer_fini(&s->dialer); /* whoever carried an fd: connection learns that it is over */
    stats_log(&s->stats, "ended", s->uri);
    return NULL;
}

/* ---- starting ------------------------------------------------------------------------------- */

static int check_regions(const struct godwit_source_config *c, uint64_t *total, struct err *e)
{
    if (c->nregions == 0 || c->nregions > GODWIT_REGIONS_MAX)
        return err_set(e, -EINVAL, STAGE, "%u regions, 1 to %u are allowed", c->nregions,
                       GODWIT_REGIONS_MAX);
    for (uint32_t i = 0; i < c->nregions; i++) {
        const struct godwit_region *r = &c->regions[i];

        if (r->id != i || !r->host || r->size == 0 || r->size % GODWIT_PAGE_SIZE ||
            r->size > NATIVE_REGION_MAX - *total || !memchr(r->name, 0, sizeof(r->name)))
            return err_set(e, -EINVAL, STAGE, "region %u (%.31s) is malformed", i, r->name);
        *total += r->size;
    }
    return 0;
}

static int check_params(const struct godwit_params *p, struct err *e)
{
    if (p->on_timeout == GODWIT_TIMEOUT_POSTCOPY)
        return err_set(e, -EOPNOTSUPP, STAGE,
                       "on-timeout postcopy is not there yet: continue, suspend or cancel");
    return 0;
}

static int init_parts(struct godwit_source *s, struct err *e)
{
    int ret = bell_init(&s->bell);

    if (!ret)
        ret = pace_init(&s->pace, s->params.max_bandwidth);
    if (!ret)
        ret = stats_init(&s->stats, s->config.ops->event, s->config.opaque);
    if (!ret && getrandom(s->token, sizeof(s->token), 0) != (ssize_t)sizeof(s->token))
        ret = -EIO;
    pthread_mutex_init(&s->lock, NULL);
    link_init(&s->link, &s->bell, &s->stop, &s->stats.transferred, true);
    return ret ? err_set_errno(e, ret, STAGE, "preparing the migration") : 0;
}

static void fini(struct godwit_source *s)
{
    link_fini(&s->link);
    dialer_fini(&s->dialer);
    if (s->digest)
        digest_fini(s->digest);
    scribe_free(s->scribe);
    pthread_mutex_destroy(&s->lock);
    stats_fini(&s->stats);
    pace_fini(&s->pace);
    bell_fini(&s->bell);
    free(s);
}

/* A file's scribe is a destination like any other, at the other end of a socket. */
static int open_file(struct godwit_source *s, struct address *a, struct err *e)
{
    int fds[2], ret;

    if (s->config.tls)
        return err_set(e, -EINVAL, STAGE,
                       "a file is not encrypted by TLS: set tls-creds to \"\", and keep the file "
                       "where it is safe");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return err_set_errno(e, -errno, STAGE, "a socket");
    ret = scribe_start(a->path, a->offset, fds[1], &s->scribe, e);
    if (ret) {
        close(fds[0]);
        return ret;
    }
    a->kind = ADDRESS_FD;
    a->fd = fds[0];
    s->params.verify = false; /* a file hashes nothing */
    return 0;
}

int godwit_source_start(const struct godwit_source_config *config, struct godwit_source **out,
                        struct err *e)
{
    struct godwit_source *s = calloc(1, sizeof(*s));
    struct address address;
    int ret;

    if (!s)
        return err_set(e, -ENOMEM, STAGE, "no memory for a migration");
    s->config = *config;
    s->params = config->params;
    ret = address_parse(config->uri, &address, e);
    if (!ret && address.kind == ADDRESS_FILE)
        ret = open_file(s, &address, e);
    if (!ret) /* first: it owns the descriptor of an fd: address */
        ret = dialer_init(&s->dialer, &address, config->tls, config->tls_hostname, e);
    if (!ret)
        ret = check_params(&config->params, e);
    if (!ret)
        ret = check_regions(config, &s->total, e);
    if (ret) {
        dialer_fini(&s->dialer);
        scribe_free(s->scribe);
        free(s);
        return ret;
    }
    memcpy(s->regions, config->regions, config->nregions * sizeof(s->regions[0]));
    s->config.regions = s->regions;
    snprintf(s->uri, sizeof(s->uri), "%s", config->uri);
    s->config.uri = s->uri;
    ret = init_parts(s, e);
    if (!ret) {
        stats_begin(&s->stats); /* whoever asks from now on hears "setup" */
        story_id(&s->stats, s->token, s->uri, true);
        ret = thread_start(&s->thread, "migrate", source_main, s);
        if (ret)
            err_set_errno(e, ret, STAGE, "starting the migrate thread");
    }
    if (ret) {
        fini(s);
        return ret;
    }
    *out = s;
    return 0;
}

void godwit_source_free(struct godwit_source *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->leaving = true;
    bell_ring(&s->bell);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    fini(s);
}

/* ---- from other threads --------------------------------------------------------------------- */

int source_end(struct godwit_source *s, enum godwit_status status, const struct err *why)
{
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    if (s->over || s->asked)
        ret = -EALREADY;
    else if (s->committed)
        ret = -EBUSY;
    if (!ret) {
        s->asked = true;
        s->asked_status = status;
        s->asked_error = *why;
        atomic_store(&s->stop, true);
        if (s->sender)
            sender_stop(s->sender);
        bell_ring(&s->bell);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}

int godwit_source_cancel(struct godwit_source *s)
{
    struct err why = ERR_INIT;

    err_set(&why, -ECANCELED, "", "canceled");
    return source_end(s, GODWIT_CANCELED, &why);
}

int godwit_source_fail(struct godwit_source *s, int code, const char *why)
{
    struct err e = ERR_INIT;

    err_set(&e, code < 0 ? code : -ECANCELED, "", "%s", why);
    return source_end(s, GODWIT_FAILED, &e);
}

void godwit_source_set_params(struct godwit_source *s, const struct godwit_params *p)
{
    pthread_mutex_lock(&s->lock);
    s->params = *p;
    pthread_mutex_unlock(&s->lock);
    pace_set_rate(&s->pace, p->max_bandwidth);
    bell_ring(&s->bell);
}

int godwit_source_continue(struct godwit_source *s)
{
    int ret;

    pthread_mutex_lock(&s->lock);
    ret = s->holding ? 0 : -EINVAL;
    s->holding = false;
    pthread_mutex_unlock(&s->lock);
    bell_ring(&s->bell);
    return ret;
}

void godwit_source_record(struct godwit_source *s, struct godwit_record *out)
{
    story_get(&s->stats, out);
}

void godwit_source_stats(struct godwit_source *s, struct godwit_stats *out)
{
    stats_get(&s->stats, out);
}

int godwit_source_resolve(struct godwit_source *s, bool run, struct err *e)
{
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    if (s->word != WORD_NONE)
        ret = err_set(e, -EBUSY, "handover", "another word is being carried out");
    else if (!s->unresolved)
        ret = err_set(e, -EINVAL, "handover", "the migration does not wait for a person's word");
    if (!ret) {
        s->word = run ? WORD_RUN : WORD_DROP;
        atomic_store(&s->hurry, true);
        bell_ring(&s->bell);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}
