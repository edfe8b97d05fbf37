#include "vmm/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define N(list) (sizeof(list) / sizeof((list)[0]))

/* What every thread needs to live: memory, time, locks, descriptors it already has, its end. */
static const int calls_everyone[] = {
    SCMP_SYS(brk),           SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(close),         SCMP_SYS(exit),          SCMP_SYS(exit_group),
    SCMP_SYS(fcntl),         SCMP_SYS(fstat),         SCMP_SYS(futex),
    SCMP_SYS(getpid),        SCMP_SYS(getrandom),     SCMP_SYS(gettid),
    SCMP_SYS(gettimeofday),  SCMP_SYS(ioctl),         SCMP_SYS(lseek),
    SCMP_SYS(madvise),       SCMP_SYS(mmap),          SCMP_SYS(mprotect),
    SCMP_SYS(mremap),        SCMP_SYS(munmap),        SCMP_SYS(nanosleep),
    SCMP_SYS(poll),          SCMP_SYS(ppoll),         SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),      SCMP_SYS(read),          SCMP_SYS(readv),
    SCMP_SYS(restart_syscall), SCMP_SYS(rseq),        SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),   SCMP_SYS(set_robust_list), SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),        SCMP_SYS(timer_settime), SCMP_SYS(timerfd_settime), SCMP_SYS(write),
    SCMP_SYS(writev),        SCMP_SYS(epoll_ctl),
};

/* The main loop and the threads it starts: QMP, migration, disks, the building of a machine that
 * arrives.  Nothing here executes, mounts, traces, loads or changes who the process is. */
static const int calls_main[] = {
    SCMP_SYS(accept),        SCMP_SYS(accept4),       SCMP_SYS(access),
    SCMP_SYS(bind),          SCMP_SYS(clone),         SCMP_SYS(clone3),
    SCMP_SYS(connect),       SCMP_SYS(dup),           SCMP_SYS(dup2),
    SCMP_SYS(dup3),          SCMP_SYS(epoll_create1), SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_wait),    SCMP_SYS(eventfd2),      SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),    SCMP_SYS(fadvise64),     SCMP_SYS(fallocate),
    SCMP_SYS(fdatasync),     SCMP_SYS(flock),
    SCMP_SYS(fstatfs),       SCMP_SYS(fsync),         SCMP_SYS(ftruncate),
    SCMP_SYS(getdents64),    SCMP_SYS(getegid),       SCMP_SYS(geteuid),
    SCMP_SYS(getgid),        SCMP_SYS(getpeername),   SCMP_SYS(getpriority),
    SCMP_SYS(getrusage),     SCMP_SYS(getsockname),   SCMP_SYS(getsockopt),
    SCMP_SYS(getuid),        SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    SCMP_SYS(io_uring_setup), SCMP_SYS(listen),       SCMP_SYS(lstat),
    SCMP_SYS(membarrier),    SCMP_SYS(memfd_create),  SCMP_SYS(mincore),
    SCMP_SYS(mkdir),         SCMP_SYS(mkdirat),       SCMP_SYS(mlock),
    SCMP_SYS(munlock),       SCMP_SYS(newfstatat),    SCMP_SYS(open),
    SCMP_SYS(openat),        SCMP_SYS(pipe2),         SCMP_SYS(prctl),
    SCMP_SYS(preadv),        SCMP_SYS(prlimit64),     SCMP_SYS(pselect6),
    SCMP_SYS(pwritev),       SCMP_SYS(readlink),      SCMP_SYS(readlinkat),
    SCMP_SYS(rename),        SCMP_SYS(recvfrom),      SCMP_SYS(recvmmsg),      SCMP_SYS(recvmsg),
    SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_setaffinity),
    SCMP_SYS(seccomp),       SCMP_SYS(sendmmsg),      SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),        SCMP_SYS(setpriority),   SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),      SCMP_SYS(signalfd4),     SCMP_SYS(socket),
    SCMP_SYS(socketpair),    SCMP_SYS(stat),          SCMP_SYS(statfs),
    SCMP_SYS(statx),         SCMP_SYS(sysinfo),       SCMP_SYS(timer_create),
    SCMP_SYS(timer_delete),  SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_gettime), SCMP_SYS(uname),       SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
};

static int sandbox_allow(scmp_filter_ctx ctx, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);

        if (rc != 0 && rc != -EEXIST)
            return rc;
    }
    return 0;
}

int sandbox_enter(enum sandbox_role role, struct err *e)
{
    /* Not the end of the process: a call that a library's new version makes in some corner must not
     * cost a running guest. */
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = ctx ? 0 : -ENOMEM;

    if (rc == 0)
        rc = sandbox_allow(ctx, calls_everyone, N(calls_everyone));
    if (rc == 0 && role == SANDBOX_MAIN)
        rc = sandbox_allow(ctx, calls_main, N(calls_main));
    if (rc == 0)
        rc = seccomp_load(ctx);
    if (ctx)
        seccomp_release(ctx);
    if (rc != 0)
        return err_set_errno(e, rc, "sandbox", "cannot filter system calls (-sandbox off does "
                                               "without)");
    return 0;
}

int sandbox_start(bool keep_net_admin, struct err *e)
{
    capng_get_caps_process();
    keep_net_admin = keep_net_admin && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);
    capng_clear(CAPNG_SELECT_BOTH);
    if (keep_net_admin)
        capng_update(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_NET_ADMIN);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0)
        return err_set(e, -EPERM, "sandbox", "cannot drop capabilities (-sandbox off does without)");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set_errno(e, -errno, "sandbox", "cannot give up new privileges");
    return sandbox_enter(SANDBOX_MAIN, e);
}
