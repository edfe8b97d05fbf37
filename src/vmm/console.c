/*
 * Theory of operation.  Input is read from the host only while the serial port has room for it, so
 * that a pasted file waits in the pipe and nothing is lost; while it has none there is no watch at
 * all, since epoll would go on reporting a hang-up that nobody may act on yet.  Output goes
 * straight to the descriptor while that takes it (both are non-blocking); the rest waits in a ring
 * that the loop drains.
 *
 * A pty's other end is held open here too: its last close would be a hang-up, and people come and
 * go.
 */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

#define CONSOLE_RING 65536U

struct console {
    struct loop *loop;
    enum serial_kind kind;
    char path[VMM_PATH_MAX];
    int listen_fd;
    int in_fd, out_fd; /* -1: nobody there; may be the same */
    int pty_held;      /* the other end of a pty; -1 */
    struct loop_fd *listen_watch, *in_watch, *out_watch;
    bool tty;
    struct termios saved;
    int saved_flags[2]; /* of stdin and stdout, which we share with whoever started us; -1 */
    struct serial *serial;
    /* Guards out_fd, the ring and its counters: vCPU threads write. */
    pthread_mutex_t lock;
    uint64_t head, tail; /* bytes ever put in, taken out */
    uint64_t lost;
    atomic_bool drain_posted;
    uint8_t ring[CONSOLE_RING];
};

/* ---- output ---- */

/* What the descriptor takes of the ring; false when it takes no more now. Lock held. */
static bool console_drain(struct console *c)
{
    while (c->tail != c->head && c->out_fd >= 0) {
        uint32_t at = c->tail % CONSOLE_RING;
        size_t n = c->head - c->tail;
        ssize_t done;

        if (n > CONSOLE_RING - at)
            n = CONSOLE_RING - at;
        done = write(c->out_fd, c->ring + at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno != EAGAIN;
        c->tail += (uint64_t)done;
    }
    return true;
}

static void console_out_ready(void *opaque, uint32_t events);

/* On the loop: watches for room while something waits. */
static void console_wait_for_room(void *opaque)
{
    struct console *c = opaque;
    bool waits;

    atomic_store(&c->drain_posted, false);
    pthread_mutex_lock(&c->lock);
    waits = !console_drain(c);
    pthread_mutex_unlock(&c->lock);
    if (waits && !c->out_watch && c->out_fd >= 0)
        c->out_watch = loop_fd_add(c->loop, c->out_fd, EPOLLOUT, console_out_ready, c);
}

static void console_out_ready(void *opaque, uint32_t events)
{
    struct console *c = opaque;
    bool empty;

    pthread_mutex_lock(&c->lock);
    empty = console_drain(c);
    pthread_mutex_unlock(&c->lock);
    if (empty && c->out_watch) {
        loop_fd_del(c->out_watch);
        c->out_watch = NULL;
    }
}

static void console_write(void *opaque, const uint8_t *data, size_t len)
{
    struct console *c = opaque;
    bool waits;

    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < len; i++)
        c->ring[c->head++ % CONSOLE_RING] = data[i];
    if (c->head - c->tail > CONSOLE_RING) {
        c->lost += c->head - c->tail - CONSOLE_RING;
        c->tail = c->head - CONSOLE_RING;
    }
    waits = c->out_fd >= 0 && !console_drain(c);
    pthread_mutex_unlock(&c->lock);
    if (waits && !atomic_exchange(&c->drain_posted, true))
        loop_post(c->loop, console_wait_for_room, c);
}

/* ---- input ---- */

static void console_unwatch(struct loop_fd **w)
{
    if (*w)
        loop_fd_del(*w);
    *w = NULL;
}

/* The client went; a listener waits for the next, other ends just fall silent. */
static void console_hang_up(struct console *c)
{
    console_unwatch(&c->in_watch);
    if (c->kind == SERIAL_UNIX) {
        console_unwatch(&c->out_watch);
        pthread_mutex_lock(&c->lock);
        close(c->in_fd);
        c->out_fd = -1;
        pthread_mutex_unlock(&c->lock);
    }
    c->in_fd = -1;
}

static void console_in_ready(void *opaque, uint32_t events)
{
    struct console *c = opaque;
    size_t room = c->serial ? serial_can_receive(c->serial) : 0;
    uint8_t data[256];
    ssize_t n;

    if (room == 0) { /* the port is full: look again when it says so */
        console_unwatch(&c->in_watch);
        return;
    }
    n = read(c->in_fd, data, room < sizeof(data) ? room : sizeof(data));
    if (n > 0)
        serial_receive(c->serial, data, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        console_hang_up(c);
}

static void console_watch_input(void *opaque)
{
    struct console *c = opaque;

    if (c->in_fd < 0 || c->in_watch || !c->serial)
        return;
    c->in_watch = loop_fd_add(c->loop, c->in_fd, EPOLLIN, console_in_ready, c);
    if (!c->in_watch)
        c->in_fd = -1; /* epoll refuses regular files and /dev/null: nobody types into them */
}

/* From the serial port, on a vCPU's thread. */
static void console_room(void *opaque)
{
    struct console *c = opaque;

    loop_post(c->loop, console_watch_input, c);
}

/* ---- the host's ends ---- */

static int console_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static void console_connect_fds(struct console *c, int in_fd, int out_fd)
{
    pthread_mutex_lock(&c->lock);
    c->in_fd = in_fd;
    c->out_fd = out_fd;
    pthread_mutex_unlock(&c->lock);
    console_watch_input(c);
    console_wait_for_room(c);
}

/* What a client sent before it went waits for the port; it keeps nobody else out. */
static bool console_client_gone(const struct console *c)
{
    struct pollfd p = {.fd = c->in_fd};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void console_client(void *opaque, uint32_t events)
{
    struct console *c = opaque;
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (c->in_fd >= 0 && console_client_gone(c))
        console_hang_up(c);
    if (c->in_fd >= 0) {
        static const char busy[] = "another client has this console\r\n";

        if (write(fd, busy, sizeof(busy) - 1) < 0)
            log_debug("console", "a second client left at once");
        close(fd);
        return;
    }
    console_connect_fds(c, fd, fd);
}

static int console_open_stdio(struct console *c, struct err *e)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &c->saved) == 0) {
        c->tty = true;
        raw = c->saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
        raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw); /* Ctrl-C still ends the monitor */
    }
    c->saved_flags[0] = fcntl(STDIN_FILENO, F_GETFL);
    c->saved_flags[1] = fcntl(STDOUT_FILENO, F_GETFL);
    if (console_nonblock(STDIN_FILENO) != 0 || console_nonblock(STDOUT_FILENO) != 0)
        return err_set(e, -EBADF, "serial", "-serial stdio: stdin or stdout is closed");
    console_connect_fds(c, STDIN_FILENO, STDOUT_FILENO);
    return 0;
}

static int console_open_file(struct console *c, struct err *e)
{
    int fd = open(c->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);

    if (fd < 0)
        return err_set_errno(e, -errno, "serial", "-serial file:%s: cannot open", c->path);
    console_connect_fds(c, -1, fd);
    return 0;
}

/* A socket that nobody answers any more is in the way; anything else at the path is not ours. */
static void console_remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;
    int probe;

    if (lstat(sa->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0 && connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) != 0 &&
        errno == ECONNREFUSED)
        unlink(sa->sun_path);
    if (probe >= 0)
        close(probe);
}

static int console_open_unix(struct console *c, struct err *e)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (strlen(c->path) >= sizeof(sa.sun_path))
        return err_set(e, -ENAMETOOLONG, "serial", "-serial unix:%s: the path is longer than %zu",
                       c->path, sizeof(sa.sun_path) - 1);
    memcpy(sa.sun_path, c->path, strlen(c->path));
    console_remove_stale(&sa);
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->listen_fd < 0 || bind(c->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        listen(c->listen_fd, 4) != 0)
        return err_set_errno(e, -errno, "serial", "-serial unix:%s: cannot listen", c->path);
    c->listen_watch = loop_fd_add(c->loop, c->listen_fd, EPOLLIN, console_client, c);
    return c->listen_watch ? 0 : err_set(e, -ENOMEM, "serial", "no memory for the console");
}

/* error_fd: whoever gave the command reads there, the log being elsewhere; or -1 */
static int console_open_pty(struct console *c, int error_fd, struct err *e)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    struct termios raw;
    char name[64];

    if (fd < 0)
        return err_set_errno(e, -errno, "serial", "-serial pty: cannot make a pty");
    console_connect_fds(c, fd, fd);
    if (grantpt(fd) != 0 || unlockpt(fd) != 0 || ptsname_r(fd, name, sizeof(name)) != 0)
        return err_set_errno(e, -errno, "serial", "-serial pty: cannot make a pty");
    c->pty_held = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->pty_held < 0 || tcgetattr(c->pty_held, &raw) != 0)
        return err_set_errno(e, -errno, "serial", "-serial pty: cannot open %s", name);
    cfmakeraw(&raw); /* or what the guest prints would be echoed into its input */
    tcsetattr(c->pty_held, TCSANOW, &raw);
    log_info("console", "serial port on %s", name);
    if (error_fd >= 0)
        dprintf(error_fd, "serial port on %s\n", name);
    return 0;
}

static int console_open(struct console *c, int error_fd, struct err *e)
{
    switch (c->kind) {
    case SERIAL_NONE:
        return 0;
    case SERIAL_STDIO:
        return console_open_stdio(c, e);
    case SERIAL_FILE:
        return console_open_file(c, e);
    case SERIAL_UNIX:
        return console_open_unix(c, e);
    case SERIAL_PTY:
        return console_open_pty(c, error_fd, e);
    }
    return -EINVAL;
}

/* ---- life ---- */

int console_new(struct loop *loop, const struct vmm_options *o, struct console **out, struct err *e)
{
    struct console *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return err_set(e, -ENOMEM, "serial", "no memory for the console");
    c->loop = loop;
    c->kind = o->serial;
    c->listen_fd = c->in_fd = c->out_fd = c->pty_held = -1;
    c->saved_flags[0] = c->saved_flags[1] = -1;
    snprintf(c->path, sizeof(c->path), "%s", o->serial_path);
    pthread_mutex_init(&c->lock, NULL);
    rc = console_open(c, o->error_fd, e);
    if (rc != 0) {
        console_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void console_attach(struct console *c, struct serial *s)
{
    struct serial_backend b = {.opaque = c, .write = console_write, .can_receive = console_room};

    c->serial = s;
    serial_set_backend(s, &b);
    console_watch_input(c);
}

void console_detach(struct console *c)
{
    c->serial = NULL; /* the port itself ends with its board */
    console_unwatch(&c->in_watch);
}

static void console_close_ends(struct console *c)
{
    if (c->kind == SERIAL_STDIO) {
        for (int fd = 0; fd < 2; fd++)
            if (c->saved_flags[fd] >= 0)
                fcntl(fd, F_SETFL, c->saved_flags[fd]);
        return;
    }
    if (c->out_fd >= 0) /* where there is an input, it is the same */
        close(c->out_fd);
    if (c->pty_held >= 0)
        close(c->pty_held);
}

void console_free(struct console *c)
{
    if (!c)
        return;
    console_unwatch(&c->in_watch);
    console_unwatch(&c->out_watch);
    console_unwatch(&c->listen_watch);
    if (c->tty)
        tcsetattr(STDIN_FILENO, TCSANOW, &c->saved);
    console_close_ends(c);
    if (c->listen_fd >= 0) {
        close(c->listen_fd);
        unlink(c->path);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}
