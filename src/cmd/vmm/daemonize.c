#include "cmd/vmm/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STAGE "start"

struct pipes {
    int ready[2], messages[2];
};

static int open_pipes(struct pipes *p)
{
    int ret;

    if (pipe2(p->ready, O_CLOEXEC))
        return -errno;
    if (!pipe2(p->messages, O_CLOEXEC))
        return 0;
    ret = -errno;
    close(p->ready[0]);
    close(p->ready[1]);
    return ret;
}

/* Passes on what there is, setting *said; false when the other end is closed. */
static bool relay(int fd, bool *said)
{
    char buf[4096];
    ssize_t n = read(fd, buf, sizeof(buf)), done = 0, put;

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    while (done < n) {
        put = write(STDERR_FILENO, buf + done, (size_t)(n - done));
        if (put < 0 && errno != EINTR)
            break;
        done += put > 0 ? put : 0;
    }
    *said |= n > 0;
    return n > 0;
}

/* What was written before the end must not be lost to it. */
static void drain(int fd, bool *said)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (poll(&p, 1, 0) > 0 && relay(fd, said))
        ;
}

static _Noreturn void wait_for_daemon(const struct pipes *p)
{
    struct pollfd fds[2] = {
        {.fd = p->ready[0],    .events = POLLIN},
        {.fd = p->messages[0], .events = POLLIN}
    };
    bool said = false;
    ssize_t n = 0;
    char byte;

    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents && !relay(p->messages[0], &said))
            fds[1].fd = -1;
        if (!fds[0].revents)
            continue;
        n = read(p->ready[0], &byte, 1);
        if (n >= 0 || errno != EINTR)
            break;
    }
    drain(p->messages[0], &said);
    /* A daemon that fails says why; one that crashes may have had no time to. */
    if (n != 1 && !said)
        dprintf(STDERR_FILENO, "godwit-vmm: the machine did not start\n");
    /* Not exit(): what stdio has buffered is the daemon's to write. */
    _exit(n == 1 ? 0 : 1);
}

static int become_daemon(const struct pipes *p)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return -errno;
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(p->messages[1], STDERR_FILENO) < 0)
        return -errno;
    if (null > STDERR_FILENO)
        close(null);
    close(p->messages[1]);
    close(p->messages[0]);
    close(p->ready[0]);
    /* Later words on stderr meet a closed pipe: an error nobody minds, and no signal. */
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

int daemonize(int *ready_fd, struct err *e)
{
    struct pipes p;
    pid_t pid;
    int ret = open_pipes(&p);

    if (ret)
        return err_set_errno(e, ret, STAGE, "cannot go to the background");
    pid = fork();
    if (pid < 0)
        return err_set_errno(e, -errno, STAGE, "cannot go to the background");
    if (pid > 0) {
        close(p.ready[1]);
        close(p.messages[1]);
        wait_for_daemon(&p);
    }
    /* The second fork keeps a terminal from ever becoming the daemon's. */
    if (setsid() < 0 || (pid = fork()) < 0)
        _exit(1);
    if (pid > 0)
        _exit(0);
    ret = become_daemon(&p);
    if (ret)
        _exit(1);
    *ready_fd = p.ready[1];
    return 0;
}
