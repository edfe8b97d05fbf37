#include "migrate/player.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/bell.h"
#include "migrate/link.h"
#include "migrate/tape.h"
#include "migrate/thread.h"
#include "stream/native/hello.h"
#include "stream/native/words.h"
#include "transport/mux.h"
#include "wire/record.h"

#define STAGE           "file"
#define CONTROL         0
#define CHANNELS        2
#define PING_NS         NS_PER_S
#define FAREWELL_MS     5000
#define LINK_TIMEOUT_MS 10000

struct player {
    struct tape tape;
    struct mux *mux;
    struct bell bell;
    struct link link;     /* the control channel */
    struct channel *lane; /* NULL: not open yet */
    struct tape_frame *frame;
    pthread_t thread;
    atomic_bool stop;
    bool open[CHANNELS], welcomed;
    uint64_t pinged_ns;
    uint8_t token[NATIVE_TOKEN_SIZE];
    uint32_t heard; /* bit per native_type */
};

/* ---- the destination's words ---------------------------------------------------------------- */

static int hear(struct player *p, const struct link_record *rec, struct err *e)
{
    struct err theirs = ERR_INIT;
    struct native_word w;

    if (rec->type == NATIVE_ERROR && !native_error_decode(rec->body, rec->len, &theirs, e)) {
        *e = theirs;
        return theirs.code;
    }
    if (rec->type == NATIVE_NEVER_RAN && !native_word_decode(rec->body, rec->len, &w, e))
        return err_set(e, -ECANCELED, STAGE, "%s", w.text);
    p->heard |= 1U << rec->type;
    return 0;
}

/* What has come by now; and tells that somebody is here. */
static int look(struct player *p, struct err *e)
{
    struct link_record rec;
    int ret;

    if (clock_now_ns() >= p->pinged_ns + PING_NS) {
        p->pinged_ns = clock_now_ns();
        ret = link_ping(&p->link, e);
        if (ret)
            return ret;
    }
    ret = link_wait(&p->link, 1, &rec, e);
    if (ret > 0)
        return hear(p, &rec, e);
    return ret == -ETIME ? 0 : ret;
}

static int await(struct player *p, enum native_type type, struct err *e)
{
    struct link_record rec;
    int ret = 0;

    while (!ret && !(p->heard & 1U << type)) {
        ret = link_wait(&p->link, 0, &rec, e);
        if (ret > 0)
            ret = hear(p, &rec, e);
    }
    return ret;
}

/* ---- the file ------------------------------------------------------------------------------- */

static int malformed(const struct player *p, const char *what, struct err *e)
{
    return err_set(e, -EPROTO, STAGE, "'%s': %s", p->tape.path, what);
}

static int open_channel(struct player *p, struct err *e)
{
    unsigned n = p->frame->channel;
    struct channel *c;
    int ret = 0;

    if (n >= CHANNELS || p->open[n] || (n > 0 && !p->open[n - 1]))
        return malformed(p, "a channel that cannot be", e);
    if (n > CONTROL)
        ret = await(p, NATIVE_ACCEPT, e); /* nobody expects a lane before */
    if (!ret)
        ret = mux_open(p->mux, &c, e);
    if (ret)
        return ret;
    p->open[n] = true;
    if (n == CONTROL)
        link_attach(&p->link, c, LINK_TIMEOUT_MS);
    else
        p->lane = c;
    channel_set_timeout(c, LINK_TIMEOUT_MS);
    return 0;
}

/* The first frame of the control channel is its HELLO: it names the migration. */
static int learn_token(struct player *p, struct err *e)
{
    struct record_header h;
    struct native_hello hello;
    size_t len;
    int ret;

    if (p->frame->len < RECORD_HEADER_SIZE)
        return malformed(p, "it does not begin with a hello", e);
    ret = record_header_decode(p->frame->data, p->frame->len, &h, e);
    if (!ret &&
        (h.type != NATIVE_HELLO || RECORD_HEADER_SIZE + record_padded(h.length) != p->frame->len))
        return malformed(p, "it does not begin with a hello", e);
    if (!ret)
        ret = record_check(&h, p->frame->data + RECORD_HEADER_SIZE, &len, e);
    if (!ret)
        ret = native_hello_decode(p->frame->data + RECORD_HEADER_SIZE, len, &hello, e);
    if (!ret)
        memcpy(p->token, hello.token, sizeof(p->token));
    return ret;
}

/* The destination takes rounds only when its lanes are there. */
static int await_lane(struct player *p, struct err *e)
{
    uint8_t head[RECORD_HEADER_SIZE], body[64];
    struct record_header h;
    int ret = channel_read(p->lane, head, sizeof(head), e);

    if (!ret)
        ret = record_header_decode(head, sizeof(body), &h, e);
    if (!ret)
        ret = channel_read(p->lane, body, (size_t)record_padded(h.length), e);
    p->welcomed = !ret;
    return ret;
}

static int play_data(struct player *p, bool *first, struct err *e)
{
    struct buf b = {.data = p->frame->data, .len = p->frame->len};
    unsigned n = p->frame->channel;
    int ret = 0;

    if (n >= CHANNELS || !p->open[n])
        return malformed(p, "bytes of a channel that is not open", e);
    if (n > CONTROL)
        return channel_write(p->lane, b.data, b.len, e);
    if (*first)
        ret = learn_token(p, e);
    else if (p->lane && !p->welcomed)
        ret = await_lane(p, e);
    *first = false;
    return ret ? ret : link_send(&p->link, &b, e);
}

/* Up to END of the control channel, which is written last. */
static int play(struct player *p, struct err *e)
{
    bool first = true, whole = false;
    int ret = 0;

    while (!ret && !whole) {
        ret = tape_read(&p->tape, p->frame, e);
        if (ret <= 0)
            return ret ? ret : malformed(p, "it is cut short", e);
        ret = 0;
        if (p->frame->kind == MUX_OPEN)
            ret = open_channel(p, e);
        else if (p->frame->kind == MUX_DATA)
            ret = play_data(p, &first, e);
        else
            whole = p->frame->channel == CONTROL && p->open[CONTROL];
        if (!ret && !first) /* nothing comes before the hello */
            ret = look(p, e);
    }
    return ret;
}

static int say(struct player *p, enum native_type type, const char *text, struct err *e)
{
    struct native_word w;
    struct buf b;
    int ret;

    memcpy(w.token, p->token, sizeof(w.token));
    snprintf(w.text, sizeof(w.text), "%s", text);
    buf_init(&b, 0);
    ret = native_word_encode(&b, type, &w);
    return link_post(&p->link, &b, ret, e);
}

static void *player_main(void *arg)
{
    struct player *p = arg;
    struct err e = ERR_INIT;
    int ret = play(p, &e);

    if (!ret)
        ret = await(p, NATIVE_READY, &e);
    if (!ret)
        ret = say(p, NATIVE_COMMIT, "", &e);
    if (!ret)
        ret = await(p, NATIVE_RUNNING, &e);
    if (ret && ret != -ECANCELED)
        log_error("migrate", "the machine in '%s' does not run: %s", p->tape.path, e.text);
    /* The destination's own reason is its own; ours it must be told. */
    if (ret && link_up(&p->link) && !strcmp(e.stage, STAGE))
        say(p, NATIVE_ABORT, e.text, NULL);
    if (link_up(&p->link) && !atomic_load(&p->stop))
        link_farewell(&p->link, FAREWELL_MS);
    channel_free(p->lane);
    p->lane = NULL;
    link_drop(&p->link);
    return NULL;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static int start(struct player *p, int fd, struct err *e)
{
    int ret = mux_new(fd, fd, MUX_OPENS, p->tape.path, &p->mux, e);

    if (ret)
        return ret;
    ret = bell_init(&p->bell);
    if (!ret)
        ret = thread_start(&p->thread, "player", player_main, p);
    return ret ? err_set_errno(e, ret, STAGE, "starting to read '%s'", p->tape.path) : 0;
}

static void destroy(struct player *p)
{
    link_fini(&p->link);
    mux_free(p->mux);
    tape_close(&p->tape);
    bell_fini(&p->bell);
    free(p->frame);
    free(p);
}

int player_start(const char *path, uint64_t offset, int fd, struct player **out, struct err *e)
{
    struct player *p = calloc(1, sizeof(*p));
    int ret = p ? tape_open(&p->tape, path, offset, e)
                : err_set(e, -ENOMEM, STAGE, "no memory to read '%s'", path);

    if (ret) {
        free(p);
        close(fd);
        return ret;
    }
    p->bell.fd = -1;
    link_init(&p->link, &p->bell, &p->stop, NULL, true);
    p->frame = malloc(sizeof(*p->frame));
    if (p->frame) {
        ret = start(p, fd, e);
    } else {
        close(fd);
        ret = err_set(e, -ENOMEM, STAGE, "no memory to read '%s'", path);
    }
    if (ret) {
        destroy(p);
        return ret;
    }
    *out = p;
    return 0;
}

void player_free(struct player *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    bell_ring(&p->bell);
    pthread_join(p->thread, NULL);
    destroy(p);
}
