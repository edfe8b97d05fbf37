#include "migrate/scribe.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "migrate/bell.h"
#include "migrate/link.h"
#include "migrate/tape.h"
#include "migrate/thread.h"
#include "stream/native/course.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"
#include "transport/mux.h"
#include "wire/record.h"

#define STAGE       "file"
#define ACCEPT_MS   100
#define FAREWELL_MS 1000
#define CONTROL     0 /* the channels, in the order in which a source opens them */
#define LANE        1
#define MARK_MAX    64

struct scribe {
    struct mux *mux;
    struct tape tape;
    struct bell bell;
    struct link link;
    pthread_t thread, lane_thread;
    bool has_lane; /* lane_thread was started */
    atomic_bool quit;
    uint8_t token[NATIVE_TOKEN_SIZE];
    bool has_state, ready, done;

    pthread_mutex_t lock; /* guards what follows, the lane thread's news */
    bool lane_ended;
    struct err lane_error;
};

/* ---- the lane ------------------------------------------------------------------------------- */

struct lane_reader {
    struct scribe *s;
    struct channel *c;
    struct record_header h;
    uint8_t piece[MUX_FRAME]; /* the record's first bytes, or its next */
};

/* One record, from the lane to the tape. A short one is in piece, whole, afterwards. */
static int copy_record(struct lane_reader *r, struct err *e)
{
    uint64_t left;
    int ret = channel_read(r->c, r->piece, RECORD_HEADER_SIZE, e);

    if (!ret)
        ret = record_header_decode(r->piece, UINT32_MAX, &r->h, e);
    if (!ret)
        ret = tape_write(&r->s->tape, LANE, MUX_DATA, r->piece, RECORD_HEADER_SIZE, e);
    for (left = ret ? 0 : record_padded(r->h.length); !ret && left > 0;) {
        size_t part = left < sizeof(r->piece) ? (size_t)left : sizeof(r->piece);

        ret = channel_read(r->c, r->piece, part, e);
        if (!ret)
            ret = tape_write(&r->s->tape, LANE, MUX_DATA, r->piece, part, e);
        left -= part;
    }
    return ret;
}

static int say_welcome(struct channel *c, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_welcome_encode(&b);
    ret = ret ? err_set_errno(e, ret, STAGE, "a welcome") : channel_write(c, b.data, b.len, e);
    buf_fini(&b);
    return ret;
}

/* What was sent before a mark is on the disk when the source hears that it passed: the bandwidth
 * that it measures is the disk's, and little is left for the end. */
static int hear_mark(struct lane_reader *r, bool *last, struct err *e)
{
    struct native_mark mark;
    struct buf b;
    size_t len;
    int ret;

    if (r->h.length > MARK_MAX)
        return err_set(e, -EPROTO, STAGE, "a mark that is too long");
    ret = record_check(&r->h, r->piece, &len, e);
    if (!ret)
        ret = native_mark_decode(r->piece, len, &mark, e);
    if (!ret)
        ret = tape_sync(&r->s->tape, e);
    if (ret)
        return ret;
    *last = mark.last;
    buf_init(&b, 0);
    ret = native_ping_encode(&b, NATIVE_PASSED, mark.sequence);
    return link_post(&r->s->link, &b, ret, e);
}

static int take_lane(struct scribe *s, struct channel **out)
{
    int ret = -EAGAIN;

    while (ret == -EAGAIN && !atomic_load(&s->quit))
        ret = mux_accept(s->mux, ACCEPT_MS, out, NULL);
    return ret;
}

static int follow_lane(struct lane_reader *r, struct err *e)
{
    bool last = false;
    int ret = tape_write(&r->s->tape, LANE, MUX_OPEN, NULL, 0, e);

    while (!ret && !last) {
        ret = copy_record(r, e);
        if (!ret && r->h.type == NATIVE_HELLO)
            ret = say_welcome(r->c, e);
        else if (!ret && r->h.type == NATIVE_MARK)
            ret = hear_mark(r, &last, e);
    }
    return ret;
}

static void *lane_main(void *arg)
{
    struct scribe *s = arg;
    struct lane_reader *r = calloc(1, sizeof(*r));
    struct err e = ERR_INIT;
    int ret = r ? take_lane(s, &r->c) : err_set(&e, -ENOMEM, STAGE, "no memory");

    if (!ret) {
        r->s = s;
        ret = follow_lane(r, &e);
    }
    pthread_mutex_lock(&s->lock);
    s->lane_ended = !ret;
    s->lane_error = e;
    pthread_mutex_unlock(&s->lock);
    bell_ring(&s->bell);
    if (r)
        channel_free(r->c);
    free(r);
    return NULL;
}

/* ---- the control channel -------------------------------------------------------------------- */

static int say(struct scribe *s, enum native_type type, struct err *e)
{
    struct native_word w = {.text = ""};
    struct buf b;
    int ret;

    memcpy(w.token, s->token, sizeof(w.token));
    buf_init(&b, 0);
    ret = native_word_encode(&b, type, &w);
    return link_post(&s->link, &b, ret, e);
}

static int say_not_here(struct scribe *s, struct err *e)
{
    const struct native_rehearsed v = {.loaded = false};
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_rehearsed_encode(&b, &v);
    return link_post(&s->link, &b, ret, e);
}

/* The record as it came: the link keeps it so. */
static int write_down(struct scribe *s, struct err *e)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = buf_append(&b, s->link.head, RECORD_HEADER_SIZE);
    if (!ret)
        ret = buf_append(&b, s->link.body.data, (size_t)record_padded(s->link.header.length));
    if (ret)
        err_set_errno(e, ret, STAGE, "no memory for a record");
    else
        ret = tape_write(&s->tape, CONTROL, MUX_DATA, b.data, b.len, e);
    buf_fini(&b);
    return ret;
}

static int hear_hello(struct scribe *s, const struct link_record *rec, struct err *e)
{
    struct native_hello h;
    int ret = native_hello_decode(rec->body, rec->len, &h, e);

    if (ret)
        return ret;
    memcpy(s->token, h.token, sizeof(s->token));
    return say_welcome(s->link.channel, e);
}

static int hear_manifest(struct scribe *s, struct err *e)
{
    int ret;

    if (s->has_lane)
        return err_set(e, -EPROTO, STAGE, "a second manifest");
    ret = thread_start(&s->lane_thread, "lane-0", lane_main, s);
    if (ret)
        return err_set_errno(e, ret, STAGE, "starting a thread");
    s->has_lane = true;
    return say(s, NATIVE_ACCEPT, e);
}

static int hear_commit(struct scribe *s, struct err *e)
{
    int ret;

    if (!s->ready)
        return err_set(e, -EPROTO, STAGE, "a COMMIT before READY");
    ret = tape_finish(&s->tape, e);
    if (!ret)
        ret = say(s, NATIVE_RUNNING, e);
    s->done = true;
    return ret;
}

static int hear(struct scribe *s, const struct link_record *rec, struct err *e)
{
    int ret = 0;

    if (rec->type == NATIVE_HELLO || rec->type == NATIVE_MANIFEST || rec->type == NATIVE_ROUND ||
        rec->type == NATIVE_STATE)
        ret = write_down(s, e);
    if (ret)
        return ret;
    switch (rec->type) {
    case NATIVE_HELLO:
        return hear_hello(s, rec, e);
    case NATIVE_MANIFEST:
        return hear_manifest(s, e);
    case NATIVE_REHEARSAL:
        return say_not_here(s, e);
    case NATIVE_STATE:
        s->has_state = true;
        return 0;
    case NATIVE_COMMIT:
        return hear_commit(s, e);
    case NATIVE_ABORT:
        return err_set(e, -ECANCELED, STAGE, "called off");
    default:
        return 0;
    }
}

/* Both parts are here: it is whole. */
static int get_ready(struct scribe *s, struct err *e)
{
    bool ended;
    int ret;

    pthread_mutex_lock(&s->lock);
    ended = s->lane_ended;
    ret = s->lane_error.code;
    if (ret)
        *e = s->lane_error;
    pthread_mutex_unlock(&s->lock);
    if (ret || s->ready || !ended || !s->has_state)
        return ret;
    ret = tape_write(&s->tape, CONTROL, MUX_END, NULL, 0, e);
    if (!ret)
        ret = tape_sync(&s->tape, e);
    s->ready = !ret;
    return ret ? ret : say(s, NATIVE_READY, e);
}

static int follow(struct scribe *s, struct err *e)
{
    struct link_record rec;
    int ret = tape_write(&s->tape, CONTROL, MUX_OPEN, NULL, 0, e);

    while (!ret && !s->done) {
        ret = link_wait(&s->link, 0, &rec, e);
        if (ret > 0)
            ret = hear(s, &rec, e);
        if (!ret && !s->done)
            ret = get_ready(s, e);
    }
    return ret;
}

static void say_error(struct scribe *s, const struct err *why)
{
    struct buf b;
    int ret;

    buf_init(&b, 0);
    ret = native_error_encode(&b, why);
    link_post(&s->link, &b, ret, NULL);
}

static void *scribe_main(void *arg)
{
    struct scribe *s = arg;
    struct err e = ERR_INIT;
    struct channel *control;
    int ret = -EAGAIN;

    while (ret == -EAGAIN && !atomic_load(&s->quit))
        ret = mux_accept(s->mux, ACCEPT_MS, &control, NULL);
    if (ret)
        return NULL;
    link_attach(&s->link, control, 0);
    ret = follow(s, &e);
    if (ret)
        tape_discard(&s->tape); /* it is gone before anybody hears */
    if (ret && ret != -EPIPE && ret != -ECANCELED)
        say_error(s, &e);
    link_farewell(&s->link, FAREWELL_MS);
    return NULL;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static int start(struct scribe *s, int fd, struct err *e)
{
    int ret = mux_new(fd, fd, MUX_TAKES, s->tape.path, &s->mux, e);

    if (ret)
        return ret;
    ret = bell_init(&s->bell);
    if (!ret)
        ret = thread_start(&s->thread, "scribe", scribe_main, s);
    return ret ? err_set_errno(e, ret, STAGE, "starting to write '%s'", s->tape.path) : 0;
}

static void destroy(struct scribe *s)
{
    link_fini(&s->link);
    mux_free(s->mux);
    tape_close(&s->tape);
    bell_fini(&s->bell);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int scribe_start(const char *path, uint64_t offset, int fd, struct scribe **out, struct err *e)
{
    struct scribe *s = calloc(1, sizeof(*s));
    int ret = s ? tape_create(&s->tape, path, offset, e)
                : err_set(e, -ENOMEM, STAGE, "no memory to write '%s'", path);

    if (ret) {
        free(s);
        close(fd);
        return ret;
    }
    s->bell.fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    link_init(&s->link, &s->bell, NULL, NULL, false);
    ret = start(s, fd, e);
    if (ret) {
        destroy(s);
        return ret;
    }
    *out = s;
    return 0;
}

void scribe_free(struct scribe *s)
{
    if (!s)
        return;
    atomic_store(&s->quit, true);
    bell_ring(&s->bell);
    pthread_join(s->thread, NULL);
    if (s->has_lane) /* it may be saying something on the link */
        pthread_join(s->lane_thread, NULL);
    destroy(s);
}
