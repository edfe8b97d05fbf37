#include "vmm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAGE       "exec"
#define COMMAND_MAX 4096
#define PATIENCE_MS 2000
#define SPAWN_FD    3 /* the helper's socket, there */

struct spawner {
    int fd;
    pid_t pid;
    unsigned owed; /* answers that have not been heard yet: they come in order */
};

/* ---- the helper ----------------------------------------------------------------------------- */

static void become(int fd, const char *command)
{
    char *const argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGTERM, SIG_DFL); /* who is at the terminal cannot end it, an administrator can */
    if (dup2(fd, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0)
        execv("/bin/sh", argv);
    _exit(127);
}

/* 0: *ours is the other end of what the command has. */
static int start(const char *command, int *ours)
{
    int fds[2], ret = 0;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return -errno;
    pid = fork();
    if (pid == 0)
        become(fds[1], command);
    if (pid < 0)
        ret = -errno;
    close(fds[1]);
    if (ret)
        close(fds[0]);
    else
        *ours = fds[0];
    return ret;
}

static void answer(int rc, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov = {.iov_base = &rc, .iov_len = sizeof(rc)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
    }
    sendmsg(SPAWN_FD, &msg, MSG_NOSIGNAL);
}

static void serve(void)
{
    char command[COMMAND_MAX + 1];
    ssize_t n;

    for (;;) {
        int ours = -1, rc;

        n = recv(SPAWN_FD, command, COMMAND_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(0);
        command[n] = '\0';
        rc = start(command, &ours);
        answer(rc, ours);
        if (ours >= 0)
            close(ours);
    }
}

static void helper(int fd)
{
    prctl(PR_SET_NAME, "godwit-spawn");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
    signal(SIGINT, SIG_IGN);  /* the monitor decides when it ends */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    /* No command inherits it. */
    if ((fd != SPAWN_FD && dup3(fd, SPAWN_FD, O_CLOEXEC) < 0) || close_range(SPAWN_FD + 1, ~0U, 0))
        _exit(1);
    serve();
}

/* ---- the monitor ---------------------------------------------------------------------------- */

int spawner_start(struct spawner **out, struct err *e)
{
    struct spawner *s = calloc(1, sizeof(*s));
    int fds[2];

    if (!s)
        return err_set(e, -ENOMEM, STAGE, "no memory for the helper that starts commands");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
        free(s);
        return err_set_errno(e, -errno, STAGE, "the helper that starts commands");
    }
    s->pid = fork();
    if (s->pid == 0)
        helper(fds[1]);
    close(fds[1]);
    if (s->pid < 0) {
        close(fds[0]);
        free(s);
        return err_set_errno(e, -errno, STAGE, "the helper that starts commands");
    }
    s->fd = fds[0];
    *out = s;
    return 0;
}

/* The helper's word, and the descriptor with it. */
static int hear(int from, int *fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    int rc = 0;
    struct iovec iov = {.iov_base = &rc, .iov_len = sizeof(rc)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct pollfd p = {.fd = from, .events = POLLIN};
    struct cmsghdr *c;

    if (poll(&p, 1, PATIENCE_MS) != 1)
        return -ETIMEDOUT;
    if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(rc))
        return -EPIPE;
    c = CMSG_FIRSTHDR(&msg);
    if (rc == 0 && c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    else if (rc == 0)
        rc = -EPIPE;
    return rc;
}

/* The answer to the last command, after those that came too late for theirs. */
static int hear_last(struct spawner *s, int *fd)
{
    int rc;

    for (;;) {
        *fd = -1;
        rc = hear(s->fd, fd);
        if (rc == -ETIMEDOUT)
            return rc;
        if (--s->owed == 0 || rc == -EPIPE)
            return rc;
        if (*fd >= 0)
            close(*fd); /* that command learns that nobody is there */
    }
}

int spawner_run(struct spawner *s, const char *command, int *fd, struct err *e)
{
    size_t len = strlen(command);
    int rc;

    if (len == 0 || len > COMMAND_MAX)
        return err_set(e, -EINVAL, STAGE, "exec: needs a command of 1 to %d bytes", COMMAND_MAX);
    if (send(s->fd, command, len, MSG_NOSIGNAL) != (ssize_t)len)
        return err_set_errno(e, -errno, STAGE, "starting '%.100s'", command);
    s->owed++;
    rc = hear_last(s, fd);
    return rc == 0 ? 0 : err_set_errno(e, rc, STAGE, "starting '%.100s'", command);
}

void spawner_free(struct spawner *s)
{
    if (!s)
        return;
    close(s->fd);
    waitpid(s->pid, NULL, 0);
    free(s);
}
