/* The destination: life and death of its threads, and what other threads may ask of it. */
#include "migrate/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/player.h"
#include "migrate/story.h"
#include "migrate/thread.h"

#define STAGE       "setup"
#define FAREWELL_MS 500
/* The door keeps a link alive with a fourth of the shortest timeout that makes sense. */
#define TICK_MS 500

void sink_params(struct godwit_sink *s, struct godwit_params *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->params;
    pthread_mutex_unlock(&s->lock);
    s->link.timeout_ms = out->link_timeout_ms;
}

void sink_call_begin(struct godwit_sink *s)
{
    pthread_mutex_lock(&s->lock);
    s->calling = link_up(&s->link);
    pthread_mutex_unlock(&s->lock);
}

void sink_call_end(struct godwit_sink *s)
{
    pthread_mutex_lock(&s->lock);
    s->calling = false;
    pthread_mutex_unlock(&s->lock);
    link_touch(&s->link);
}

int sink_say(struct godwit_sink *s, enum native_type type, const char *text, struct err *e)
{
    struct native_word w = {.text = ""};
    struct buf b;
    int ret;

    memcpy(w.token, s->token, sizeof(w.token));
    snprintf(w.text, sizeof(w.text), "%s", text);
    buf_init(&b, 0);
    ret = native_word_encode(&b, type, &w);
    return link_post(&s->link, &b, ret, e);
}

/* ---- a case that ends without a machine ----------------------------------------------------- */

static void say_error(struct godwit_sink *s, const struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_error_encode(&b, e);
    if (!link_post(&s->link, &b, ret, NULL))
        link_farewell(&s->link, FAREWELL_MS);
}

/* The source hears first: its guest may be paused. */
static void say_outcome(struct godwit_sink *s, bool as_word, const struct err *e)
{
    s->link.stop = NULL;
    if (as_word) {
        if (!sink_say(s, NATIVE_NEVER_RAN, e->text, NULL))
            link_farewell(&s->link, FAREWELL_MS);
    } else {
        say_error(s, e);
    }
    s->link.stop = &s->stop;
}

void sink_drop_case(struct godwit_sink *s, enum sink_event event, struct err *e)
{
    /* A source that was told READY, or that says ABORT, waits for one of the handover's words. */
    bool as_word = event == SINK_ABORT || s->state >= SINK_READY;
    enum handover_action action = handover_sink(&s->state, event);
    struct godwit_stats st;

    stats_get(&s->stats, &st);
    if (e->code >= 0)
        err_set(e, -EIO, "", "the monitor's callback failed");
    snprintf(e->stage, sizeof(e->stage), "%s", godwit_stage_name(st.stage));
    if (s->receiver)
        receiver_stop(s->receiver);
    sink_close_case(s, NATIVE_NEVER_RAN, e->text);
    if (link_up(&s->link) && event != SINK_LOST)
        say_outcome(s, as_word, e);
    link_drop(&s->link);
    receiver_free(s->receiver);
    s->receiver = NULL;
    if (action == HANDOVER_DISCARD)
        s->config.ops->discard(s->config.opaque);
    stats_status(&s->stats, GODWIT_FAILED, e);
}

/* ---- the migrate thread --------------------------------------------------------------------- */

static void serve(struct godwit_sink *s, struct channel *control)
{
    enum sink_event why = SINK_FAIL;
    struct err e = ERR_INIT;
    struct godwit_params p;
    int ret;

    s->state = SINK_EMPTY;
    s->times = (struct native_times){.own_ns = 0};
    stats_begin(&s->stats);
    story_id(&s->stats, s->token, s->peer, false);
    stats_log(&s->stats, "begins", s->peer);
    stats_tell_begun(&s->stats);
    sink_params(s, &p);
    link_attach(&s->link, control, p.link_timeout_ms);
    ret = sink_arrive(s, &why, &e);
    if (ret)
        sink_drop_case(s, why, &e);
    else
        sink_ready(s);
    sink_digest_end(s);
    stats_log(&s->stats, "ended", s->peer);
}

static void *sink_main(void *arg)
{
    struct godwit_sink *s = arg;

    while (!atomic_load(&s->stop)) {
        struct channel *control = s->state == SINK_RUNNING ? NULL : sink_take_control(s);

        if (control)
            serve(s, control);
        else
            bell_wait(&s->bell, 0);
    }
    link_drop(&s->link);
    return NULL;
}

/* ---- starting and ending -------------------------------------------------------------------- */

static int init_parts(struct godwit_sink *s, struct err *e)
{
    int ret = bell_init(&s->bell);

    if (!ret)
        ret = stats_init(&s->stats, s->config.ops->event, s->config.opaque);
    pthread_mutex_init(&s->lock, NULL);
    link_init(&s->link, &s->bell, &s->stop, &s->stats.transferred, false);
    return ret ? err_set_errno(e, ret, STAGE, "preparing to listen") : 0;
}

static int start_threads(struct godwit_sink *s, struct err *e)
{
    struct door_config config = {.listener = &s->listener,
                                 .guest = sink_guest,
                                 .tick = sink_tick,
                                 .opaque = s,
                                 .tick_ms = TICK_MS};
    int ret = thread_start(&s->thread, "migrate", sink_main, s);

    if (ret)
        return err_set_errno(e, ret, STAGE, "starting the migrate thread");
    ret = door_new(&config, &s->door, e);
    if (ret) {
        atomic_store(&s->stop, true);
        bell_ring(&s->bell);
        pthread_join(s->thread, NULL);
    }
    return ret;
}

static void fini(struct godwit_sink *s)
{
    player_free(s->player);
    sink_clear_gate(s);
    link_fini(&s->link);
    listener_close(&s->listener);
    pthread_mutex_destroy(&s->lock);
    stats_fini(&s->stats);
    bell_fini(&s->bell);
    free(s);
}

/* A file's player is a source like any other, at the other end of a socket. */
static int open_file(struct godwit_sink *s, const struct address *file, struct err *e)
{
    struct address a = {.kind = ADDRESS_FD};
    int fds[2], ret;

    if (s->config.tls)
        return err_set(e, -EINVAL, STAGE, "a file is not encrypted by TLS: set tls-creds to \"\"");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return err_set_errno(e, -errno, STAGE, "a socket");
    a.fd = fds[0];
    ret = listener_open(&s->listener, &a, e);
    if (ret) {
        close(fds[1]);
        return ret;
    }
    s->listener.address = *file;
    ret = player_start(file->path, file->offset, fds[1], &s->player, e);
    if (ret)
        listener_close(&s->listener);
    return ret;
}

int godwit_sink_start(const struct godwit_sink_config *config, struct godwit_sink **out,
                      struct err *e)
{
    struct godwit_sink *s = calloc(1, sizeof(*s));
    struct address address;
    int ret;

    if (!s)
        return err_set(e, -ENOMEM, STAGE, "no memory for a destination");
    s->config = *config;
    s->config.uri = NULL; /* the listener knows it */
    s->params = config->params;
    ret = address_parse(config->uri, &address, e);
    if (!ret && address.kind == ADDRESS_FILE)
        ret = open_file(s, &address, e);
    else if (!ret)
        ret = listener_open(&s->listener, &address, e);
    if (ret) {
        free(s);
        return ret;
    }
    s->listener.tls = config->tls;
    ret = init_parts(s, e);
    if (!ret)
        ret = start_threads(s, e);
    if (ret) {
        fini(s);
        return ret;
    }
    *out = s;
    return 0;
}

void godwit_sink_free(struct godwit_sink *s)
{
    if (!s)
        return;
    atomic_store(&s->stop, true);
    bell_ring(&s->bell);
    door_free(s->door);
    pthread_join(s->thread, NULL);
    fini(s);
}

/* ---- from other threads --------------------------------------------------------------------- */

void godwit_sink_address(struct godwit_sink *s, char *out, size_t cap)
{
    address_format(&s->listener.address, out, cap);
}

void godwit_sink_record(struct godwit_sink *s, struct godwit_record *out)
{
    story_get(&s->stats, out);
}

void godwit_sink_stats(struct godwit_sink *s, struct godwit_stats *out)
{
    stats_get(&s->stats, out);
}

void godwit_sink_set_params(struct godwit_sink *s, const struct godwit_params *p)
{
    pthread_mutex_lock(&s->lock);
    s->params = *p;
    pthread_mutex_unlock(&s->lock);
    bell_ring(&s->bell);
}

int godwit_sink_resolve(struct godwit_sink *s, bool run, struct err *e)
{
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    if (!s->unresolved)
        ret = err_set(e, -EINVAL, "handover", "the migration does not wait for a person's word");
    else if (s->word != SINK_WORD_NONE)
        ret = err_set(e, -EBUSY, "handover", "another word is being carried out");
    if (!ret) {
        s->word = run ? SINK_WORD_FOR_RUN : SINK_WORD_FOR_DROP;
        bell_ring(&s->bell);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}
