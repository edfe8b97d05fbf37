#include "transport/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define STAGE     "mux"
#define LINGER_NS NS_PER_S

/* One channel, seen from the thread. */
struct line {
    int fd; /* our end of the pair; -1: none (any more) */
    bool known, announce;
    bool local_end, end_due; /* its user wrote no more; the peer is to be told */
    bool remote_end;         /* the peer did */
    uint32_t may_send, owed; /* of the peer's window; passed on and not yet reported */
    uint8_t *ring;           /* MUX_WINDOW: arrived, to be passed on */
    uint32_t head, held;
};

struct mux {
    int in_fd, out_fd;
    enum mux_role role;
    int accept_bell, bell; /* eventfds: something to take; something for the thread */
    char name[128];
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    struct line lines[MUX_CHANNELS];
    int waiting[MUX_CHANNELS]; /* users' ends of channels to be taken */
    unsigned opened, nwaiting;
    bool broken; /* nothing comes any more */
    bool leaving;

    /* The thread's own. */
    uint8_t header[MUX_HEADER];
    uint32_t got, left; /* of the header; of the payload */
    uint8_t credit[4];
    uint8_t out[MUX_HEADER + MUX_FRAME];
    uint32_t out_at, out_len;
};

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* ---- channels ------------------------------------------------------------------------------- */

/* With the lock held. The user's end, or -errno. */
static int start_line(struct mux *m, unsigned n)
{
    struct line *l = &m->lines[n];
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds))
        return -errno;
    *l = (struct line){.fd = fds[0], .known = true, .may_send = MUX_WINDOW};
    l->ring = malloc(MUX_WINDOW);
    if (l->ring)
        return fds[1];
    close(fds[0]);
    close(fds[1]);
    *l = (struct line){.fd = -1};
    return -ENOMEM;
}

static void drop_fd(struct line *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static int make_channel(struct mux *m, int fd, struct channel **out, struct err *e)
{
    *out = channel_from_relay(fd, m->name);
    return *out ? 0 : err_set_errno(e, -errno, STAGE, "a channel over %s", m->name);
}

int mux_open(struct mux *m, struct channel **out, struct err *e)
{
    int fd;

    pthread_mutex_lock(&m->lock);
    if (m->broken)
        fd = -ENOTCONN;
    else if (m->opened == MUX_CHANNELS)
        fd = -EMFILE;
    else
        fd = start_line(m, m->opened);
    if (fd >= 0)
        m->lines[m->opened++].announce = true;
    pthread_mutex_unlock(&m->lock);
    if (fd == -ENOTCONN)
        return err_set(e, fd, STAGE,
                       "%s has ended, and cannot be connected anew: it is the only way there",
                       m->name);
    if (fd < 0)
        return err_set_errno(e, fd, STAGE, "one more channel over %s", m->name);
    eventfd_write(m->bell, 1);
    return make_channel(m, fd, out, e);
}

int mux_fd(const struct mux *m)
{
    return m->accept_bell;
}

int mux_accept(struct mux *m, uint32_t timeout_ms, struct channel **out, struct err *e)
{
    struct pollfd p = {.fd = m->accept_bell, .events = POLLIN};
    eventfd_t n;
    int fd = -EAGAIN;

    poll(&p, 1, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);
    pthread_mutex_lock(&m->lock);
    if (m->nwaiting) {
        fd = m->waiting[0];
        memmove(m->waiting, m->waiting + 1, --m->nwaiting * sizeof(m->waiting[0]));
    }
    if (!m->nwaiting)
        eventfd_read(m->accept_bell, &n);
    pthread_mutex_unlock(&m->lock);
    if (fd < 0)
        return err_set(e, fd, STAGE, "no channel waits on %s", m->name);
    return make_channel(m, fd, out, e);
}

/* ---- in: from the stream to the channels ---------------------------------------------------- */

static ssize_t read_some(int fd, void *data, size_t len)
{
    ssize_t n;

    do
        n = read(fd, data, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* With the lock held: the header is whole. 0, or what is wrong with it. */
static int begin_frame(struct mux *m)
{
    uint8_t n = m->header[4], kind = m->header[5];
    struct line *l = &m->lines[n < MUX_CHANNELS ? n : 0];
    int fd;

    m->left = get32(m->header);
    if (n >= MUX_CHANNELS || kind >= MUX_KINDS || m->header[6] || m->header[7])
        return -EPROTO;
    if (kind == MUX_OPEN) {
        if (m->role == MUX_OPENS || l->known || m->left || n != m->opened)
            return -EPROTO;
        fd = start_line(m, n);
        if (fd < 0)
            return fd;
        m->opened++;
        m->waiting[m->nwaiting++] = fd;
        eventfd_write(m->accept_bell, 1);
        return 0;
    }
    if (!l->known || (kind == MUX_CREDIT && m->left != 4) || (kind == MUX_END && m->left))
        return -EPROTO;
    if (kind == MUX_END)
        l->remote_end = true;
    if (kind == MUX_DATA &&
        (!m->left || m->left > MUX_FRAME || m->left > MUX_WINDOW - l->held || l->remote_end))
        return -EPROTO;
    return 0;
}

/* With the lock held: where the payload's next bytes belong. */
static uint8_t *payload_at(struct mux *m, uint32_t *room)
{
    struct line *l = &m->lines[m->header[4]];
    uint32_t tail = (l->head + l->held) % MUX_WINDOW;

    if (m->header[5] == MUX_CREDIT) {
        *room = m->left;
        return m->credit + 4 - m->left;
    }
    *room = MUX_WINDOW - tail < m->left ? MUX_WINDOW - tail : m->left;
    return l->ring + tail;
}

static int take_payload(struct mux *m, uint32_t n)
{
    struct line *l = &m->lines[m->header[4]];

    m->left -= n;
    if (m->header[5] == MUX_DATA)
        l->held += n;
    else if (m->left == 0) {
        if (get32(m->credit) > MUX_WINDOW - l->may_send)
            return -EPROTO;
        l->may_send += get32(m->credit);
    }
    return 0;
}

/* With the lock held. -EAGAIN: nothing more now; 0: something came; else the end of the stream. */
static int read_in(struct mux *m)
{
    uint32_t room;
    uint8_t *at;
    ssize_t n;

    if (m->got < MUX_HEADER) {
        n = read_some(m->in_fd, m->header + m->got, MUX_HEADER - m->got);
        if (n <= 0)
            return n ? (int)n : -EPIPE;
        m->got += (uint32_t)n;
        if (m->got < MUX_HEADER)
            return 0;
        n = begin_frame(m);
        if (n)
            return (int)n;
    }
    if (m->left) {
        at = payload_at(m, &room);
        n = read_some(m->in_fd, at, room);
        if (n <= 0)
            return n ? (int)n : -EPIPE;
        n = take_payload(m, (uint32_t)n);
        if (n)
            return (int)n;
    }
    if (!m->left)
        m->got = 0;
    return 0;
}

/* With the lock held: what has arrived goes to the channel's user, as far as it takes it. */
static void pass_on(struct mux *m, struct line *l)
{
    while (l->held) {
        uint32_t part = MUX_WINDOW - l->head < l->held ? MUX_WINDOW - l->head : l->held;
        ssize_t n = l->fd < 0 ? (ssize_t)part : send(l->fd, l->ring + l->head, part, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            n = part; /* nobody reads it any more */
        l->head = (l->head + (uint32_t)n) % MUX_WINDOW;
        l->held -= (uint32_t)n;
        l->owed += (uint32_t)n;
    }
    if ((l->remote_end || m->broken) && l->fd >= 0)
        shutdown(l->fd, SHUT_WR);
}

/* ---- out: from the channels to the stream --------------------------------------------------- */

static void frame(struct mux *m, unsigned channel, enum mux_kind kind, uint32_t len)
{
    put32(m->out, len);
    m->out[4] = (uint8_t)channel;
    m->out[5] = kind;
    m->out[6] = m->out[7] = 0;
    m->out_at = 0;
    m->out_len = MUX_HEADER + len;
}

/* With the lock held. */
static bool frame_data(struct mux *m, unsigned i)
{
    struct line *l = &m->lines[i];
    uint32_t most = l->may_send < MUX_FRAME ? l->may_send : MUX_FRAME;
    ssize_t n;

    if (l->fd < 0 || l->local_end || !most)
        return false;
    n = read_some(l->fd, m->out + MUX_HEADER, most);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        l->local_end = l->end_due = true;
        return false;
    }
    l->may_send -= (uint32_t)n;
    frame(m, i, MUX_DATA, (uint32_t)n);
    return true;
}

/* With the lock held: what one channel wants said most. */
static bool frame_next(struct mux *m, unsigned i)
{
    struct line *l = &m->lines[i];

    if (l->announce) {
        l->announce = false;
        frame(m, i, MUX_OPEN, 0);
        return true;
    }
    if (l->owed >= MUX_WINDOW / 4) {
        put32(m->out + MUX_HEADER, l->owed);
        l->owed = 0;
        frame(m, i, MUX_CREDIT, 4);
        return true;
    }
    if (frame_data(m, i))
        return true;
    if (l->end_due) {
        l->end_due = false;
        frame(m, i, MUX_END, 0);
        return true;
    }
    return false;
}

/* With the lock held. -EAGAIN, 0 (nothing to say), or the stream is broken. */
static int write_out(struct mux *m)
{
    for (;;) {
        ssize_t n;

        for (unsigned i = 0; m->out_at == m->out_len && i < m->opened; i++)
            frame_next(m, i);
        if (m->out_at == m->out_len)
            return 0;
        do
            n = write(m->out_fd, m->out + m->out_at, m->out_len - m->out_at);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            return -errno;
        m->out_at += (uint32_t)n;
    }
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void break_stream(struct mux *m)
{
    m->broken = true;
    for (unsigned i = 0; i < m->opened; i++) {
        struct line *l = &m->lines[i];

        pass_on(m, l);
        if (l->fd >= 0) /* whoever writes learns of it, too */
            shutdown(l->fd, l->held ? SHUT_RD : SHUT_RDWR);
    }
}

/* With the lock held: as much as goes without waiting, and not too much at once. */
static void shuttle(struct mux *m)
{
    int in = m->broken ? -EAGAIN : 0, out = 0;

    for (int i = 0; i < 64 && !in; i++)
        in = read_in(m);
    for (unsigned i = 0; i < m->opened; i++)
        pass_on(m, &m->lines[i]);
    if (!m->broken)
        out = write_out(m);
    if ((in && in != -EAGAIN) || (out && out != -EAGAIN))
        break_stream(m);
}

/* With the lock held: what to wait for. */
static unsigned make_polls(struct mux *m, struct pollfd *p)
{
    bool full = m->out_at < m->out_len;
    unsigned n = 3;

    p[0] = (struct pollfd){.fd = m->bell, .events = POLLIN};
    p[1] = (struct pollfd){.fd = m->broken ? -1 : m->in_fd, .events = POLLIN};
    p[2] = (struct pollfd){.fd = !m->broken && full ? m->out_fd : -1, .events = POLLOUT};
    for (unsigned i = 0; i < m->opened; i++) {
        const struct line *l = &m->lines[i];
        short events = l->held ? POLLOUT : 0;

        if (!full && !l->local_end && l->may_send && !m->broken)
            events |= POLLIN;
        if (events && l->fd >= 0)
            p[n++] = (struct pollfd){.fd = l->fd, .events = events};
    }
    return n;
}

/* With the lock held: every user has freed its channel, and all they wrote is out. */
static bool is_done(const struct mux *m)
{
    if (m->broken)
        return true;
    for (unsigned i = 0; i < m->opened; i++)
        if (!m->lines[i].local_end || m->lines[i].end_due)
            return false;
    return m->out_at == m->out_len;
}

static void *mux_main(void *arg)
{
    struct mux *m = arg;
    struct pollfd p[3 + MUX_CHANNELS];
    uint64_t until = 0;
    eventfd_t rung;

    for (;;) {
        unsigned n;
        bool over;

        pthread_mutex_lock(&m->lock);
        shuttle(m);
        if (m->leaving && !until)
            until = clock_now_ns() + LINGER_NS;
        over = until && (is_done(m) || clock_now_ns() >= until);
        n = make_polls(m, p);
        pthread_mutex_unlock(&m->lock);
        if (over)
            return NULL;
        poll(p, n, until ? 10 : -1);
        if (p[0].revents)
            eventfd_read(m->bell, &rung);
    }
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static int start_thread(struct mux *m)
{
    sigset_t all, before;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = -pthread_create(&m->thread, NULL, mux_main, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ret)
        pthread_setname_np(m->thread, "mux");
    return ret;
}

static int make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)
               ? -errno
               : 0;
}

static void destroy(struct mux *m)
{
    for (unsigned i = 0; i < MUX_CHANNELS; i++) {
        drop_fd(&m->lines[i]);
        free(m->lines[i].ring);
    }
    while (m->nwaiting)
        close(m->waiting[--m->nwaiting]);
    if (m->accept_bell >= 0)
        close(m->accept_bell);
    if (m->bell >= 0)
        close(m->bell);
    if (m->out_fd != m->in_fd)
        close(m->out_fd);
    close(m->in_fd);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int mux_new(int in_fd, int out_fd, enum mux_role role, const char *name, struct mux **out,
            struct err *e)
{
    struct mux *m = calloc(1, sizeof(*m));
    int ret;

    if (!m) {
        close(in_fd);
        if (out_fd != in_fd)
            close(out_fd);
        return err_set(e, -ENOMEM, STAGE, "no memory for channels over %s", name);
    }
    m->in_fd = in_fd;
    m->out_fd = out_fd;
    m->role = role;
    snprintf(m->name, sizeof(m->name), "%s", name);
    for (unsigned i = 0; i < MUX_CHANNELS; i++)
        m->lines[i].fd = -1;
    pthread_mutex_init(&m->lock, NULL);
    m->accept_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ret = m->accept_bell < 0 || m->bell < 0 ? -errno : make_nonblocking(in_fd);
    if (!ret)
        ret = make_nonblocking(out_fd);
    if (!ret)
        ret = start_thread(m);
    if (ret) {
        destroy(m);
        return err_set_errno(e, ret, STAGE, "channels over %s", name);
    }
    *out = m;
    return 0;
}

void mux_free(struct mux *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->leaving = true;
    while (m->nwaiting) /* nobody will take them */
        close(m->waiting[--m->nwaiting]);
    pthread_mutex_unlock(&m->lock);
    eventfd_write(m->bell, 1);
    pthread_join(m->thread, NULL);
    destroy(m);
}
