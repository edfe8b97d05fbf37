/*
 * System calls that fail: the engine is linked with --wrap, and the k-th call of one kind, from
 * either side of a migration, fails with an error that it may have, is interrupted, or does a part
 * of what it was asked for; for every k of a whole migration.  After each case: one winner, who has
 * the memory; nobody is left in doubt, for the link is there; nothing is left behind; and the next
 * migration succeeds.  What is merely interrupted or shortened is not noticed at all.
 *
 * The fake guest and the harness are compiled so that they call the real ones.
 */
#include "judge.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool.h"

#define PAGES     64U
#define SWEPT     16U
#define EVERY     40U /* calls of a kind; of those beyond, */
#define STRIDE    7U  /* one in so many */
#define CALLS_MAX 4000U
#define CASES_MAX 20000U

/* ---- what fails ----------------------------------------------------------------------------- */

#define A_PART 10000 /* no errno: part of it is done */

enum call {
    CALL_MALLOC,
    CALL_CALLOC,
    CALL_REALLOC,
    CALL_MMAP,
    CALL_RECVMSG,
    CALL_SENDMSG,
    CALL_POLL,
    CALL_PPOLL,
    CALL_PREAD,
    CALL_PTHREAD_CREATE,
    CALL_EVENTFD,
    CALL_TIMERFD,
    CALL_EPOLL_CREATE,
    CALL_EPOLL_CTL,
    CALL_EPOLL_WAIT,
    CALL_SOCKET,
    CALL_CONNECT,
    CALL_BIND,
    CALL_LISTEN,
    CALL_ACCEPT,
    CALL_GETRANDOM,
    CALL_COUNT
};

static const struct {
    const char *name;
    int errors[4]; /* 0: no more */
} calls[] = {
    [CALL_MALLOC] = {"malloc",         {ENOMEM}                           },
    [CALL_CALLOC] = {"calloc",         {ENOMEM}                           },
    [CALL_REALLOC] = {"realloc",        {ENOMEM}                           },
    [CALL_MMAP] = {"mmap",           {ENOMEM}                           },
    [CALL_RECVMSG] = {"recvmsg",        {EINTR, A_PART, ECONNRESET, ENOMEM}},
    [CALL_SENDMSG] = {"sendmsg",        {EINTR, A_PART, EPIPE, ENOBUFS}    },
    [CALL_POLL] = {"poll",           {EINTR, ENOMEM}                    },
    [CALL_PPOLL] = {"ppoll",          {EINTR, ENOMEM}                    },
    [CALL_PREAD] = {"pread",          {EINTR, A_PART, EIO}               },
    [CALL_PTHREAD_CREATE] = {"pthread_create", {EAGAIN}                           },
    [CALL_EVENTFD] = {"eventfd",        {EMFILE}                           },
    [CALL_TIMERFD] = {"timerfd_create", {EMFILE}                           },
    [CALL_EPOLL_CREATE] = {"epoll_create1",  {EMFILE}                           },
    [CALL_EPOLL_CTL] = {"epoll_ctl",      {ENOMEM, ENOSPC}                   },
    [CALL_EPOLL_WAIT] = {"epoll_wait",     {EINTR}                            },
    [CALL_SOCKET] = {"socket",         {EMFILE, ENOBUFS}                  },
    [CALL_CONNECT] = {"connect",        {EINTR, ECONNREFUSED, EAGAIN}      },
    [CALL_BIND] = {"bind",           {EADDRINUSE}                       },
    [CALL_LISTEN] = {"listen",         {EADDRINUSE}                       },
    [CALL_ACCEPT] = {"accept4",        {EINTR, EMFILE, ECONNABORTED}      },
    [CALL_GETRANDOM] = {"getrandom",      {ENOSYS}                           },
};

_Static_assert(sizeof(calls) / sizeof(calls[0]) == CALL_COUNT, "a row for every call");

static struct {
    atomic_bool armed, struck;
    enum call call; /* CALL_COUNT: none */
    int error;
    unsigned k;
    atomic_uint counts[CALL_COUNT];
} fault;

/* 0: as ever. */
static int strikes(enum call call)
{
    unsigned n;

    if (!atomic_load(&fault.armed))
        return 0;
    n = atomic_fetch_add(&fault.counts[call], 1) + 1;
    if (call != fault.call || n != fault.k)
        return 0;
    atomic_store(&fault.struck, true);
    return fault.error;
}

static int fails(enum call call)
{
    int error = strikes(call);

    if (error)
        errno = error;
    return error;
}

/* ---- the calls ------------------------------------------------------------------------------ */

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t n)
{
    return fails(CALL_MALLOC) ? NULL : __real_malloc(n);
}

WRAP(void *, calloc, size_t n, size_t size)
{
    return fails(CALL_CALLOC) ? NULL : __real_calloc(n, size);
}

WRAP(void *, realloc, void *p, size_t n)
{
    return fails(CALL_REALLOC) ? NULL : __real_realloc(p, n);
}

WRAP(void *, mmap64, void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    return fails(CALL_MMAP) ? MAP_FAILED : __real_mmap64(at, len, prot, flags, fd, offset);
}

/* The first half of the first piece that has any. */
static struct msghdr part_of(const struct msghdr *m, struct iovec *piece)
{
    struct msghdr part = *m;

    *piece = m->msg_iov[0];
    for (size_t i = 1; i < m->msg_iovlen && piece->iov_len == 0; i++)
        *piece = m->msg_iov[i];
    piece->iov_len = (piece->iov_len + 1) / 2;
    part.msg_iov = piece;
    part.msg_iovlen = 1;
    return part;
}

WRAP(ssize_t, recvmsg, int fd, struct msghdr *m, int flags)
{
    struct iovec piece;
    struct msghdr part;
    int error = fails(CALL_RECVMSG);
    ssize_t n;

    if (!error)
        return __real_recvmsg(fd, m, flags);
    if (error != A_PART)
        return -1;
    part = part_of(m, &piece);
    n = __real_recvmsg(fd, &part, flags);
    m->msg_flags = part.msg_flags;
    m->msg_controllen = part.msg_controllen;
    return n;
}

WRAP(ssize_t, sendmsg, int fd, const struct msghdr *m, int flags)
{
    struct iovec piece;
    struct msghdr part;
    int error = fails(CALL_SENDMSG);

    if (!error)
        return __real_sendmsg(fd, m, flags);
    if (error != A_PART)
        return -1;
    part = part_of(m, &piece);
    return __real_sendmsg(fd, &part, flags);
}

WRAP(int, poll, struct pollfd *p, nfds_t n, int timeout)
{
    return fails(CALL_POLL) ? -1 : __real_poll(p, n, timeout);
}

WRAP(int, ppoll, struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    return fails(CALL_PPOLL) ? -1 : __real_ppoll(p, n, timeout, mask);
}

WRAP(ssize_t, pread64, int fd, void *data, size_t n, off_t at)
{
    int error = fails(CALL_PREAD);

    if (error && error != A_PART)
        return -1;
    return __real_pread64(fd, data, error ? (n + 1) / 2 : n, at);
}

WRAP(int, pthread_create, pthread_t *t, const pthread_attr_t *attr, void *(*start)(void *),
     void *arg)
{
    int error = strikes(CALL_PTHREAD_CREATE);

    return error ? error : __real_pthread_create(t, attr, start, arg);
}

WRAP(int, eventfd, unsigned n, int flags)
{
    return fails(CALL_EVENTFD) ? -1 : __real_eventfd(n, flags);
}

WRAP(int, timerfd_create, clockid_t clock, int flags)
{
    return fails(CALL_TIMERFD) ? -1 : __real_timerfd_create(clock, flags);
}

WRAP(int, epoll_create1, int flags)
{
    return fails(CALL_EPOLL_CREATE) ? -1 : __real_epoll_create1(flags);
}

WRAP(int, epoll_ctl, int fd, int op, int target, struct epoll_event *event)
{
    /* Taking one out cannot fail for want of anything. */
    if (op == EPOLL_CTL_ADD && fails(CALL_EPOLL_CTL))
        return -1;
    return __real_epoll_ctl(fd, op, target, event);
}

WRAP(int, epoll_wait, int fd, struct epoll_event *events, int n, int timeout)
{
    return fails(CALL_EPOLL_WAIT) ? -1 : __real_epoll_wait(fd, events, n, timeout);
}

WRAP(int, socket, int domain, int type, int protocol)
{
    return fails(CALL_SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

WRAP(int, connect, int fd, const struct sockaddr *address, socklen_t len)
{
    int error = strikes(CALL_CONNECT), ret;

    if (error && (error != EINTR || address->sa_family == AF_UNIX)) {
        errno = error;
        return -1;
    }
    ret = __real_connect(fd, address, len);
    if (!error)
        return ret;
    errno = EINTR; /* TCP goes on connecting */
    return -1;
}

WRAP(int, bind, int fd, const struct sockaddr *address, socklen_t len)
{
    return fails(CALL_BIND) ? -1 : __real_bind(fd, address, len);
}

WRAP(int, listen, int fd, int backlog)
{
    return fails(CALL_LISTEN) ? -1 : __real_listen(fd, backlog);
}

WRAP(int, accept4, int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return fails(CALL_ACCEPT) ? -1 : __real_accept4(fd, address, len, flags);
}

WRAP(ssize_t, getrandom, void *data, size_t n, unsigned flags)
{
    return fails(CALL_GETRANDOM) ? -1 : __real_getrandom(data, n, flags);
}

/* ---- one migration -------------------------------------------------------------------------- */

enum way { WAY_UNIX, WAY_SEEN, WAY_TCP, WAY_COUNT };

static const char *const way_names[] = {"unix, lz4", "unix, seen memory", "tcp, delta"};

static void set_out(struct pair *p, enum way way)
{
    pair_init(p, (uint64_t)PAGES * GODWIT_PAGE_SIZE);
    fake_fill(&p->from, 0, PAGES, 2);
    if (way == WAY_SEEN)
        p->from.memory.regions[0].fd = p->from.memory.fds[0];
    p->params.lanes = 2;
    p->params.compression = way == WAY_UNIX ? GODWIT_COMPRESS_LZ4 : GODWIT_COMPRESS_NONE;
    p->params.delta = way == WAY_TCP;
    p->params.delta_cache = 1U << 20;
    p->params.link_timeout_ms = 800;
    p->params.ready_timeout_ms = 800;
    p->params.network_timeout_ms = 6000;
    p->params.handover_timeout_ms = 6000;
    fake_source_dirty(&p->from, 20 * MIB, SWEPT);
    snprintf(p->uri, sizeof(p->uri),
             way == WAY_TCP ? "tcp:127.0.0.1:0" : "unix:/tmp/godwit-calls-%d", (int)getpid());
}

static int listen_on(struct pair *p, struct err *e)
{
    struct godwit_sink_config c = {
        .ops = &fake_sink_ops, .opaque = &p->to, .uri = p->uri, .params = p->params};
    int ret = godwit_sink_start(&c, &p->sink, e);

    if (!ret)
        godwit_sink_address(p->sink, p->dial, sizeof(p->dial));
    return ret;
}

static int migrate(struct pair *p, struct err *e)
{
    struct godwit_source_config c = {.ops = &fake_source_ops,
                                     .opaque = &p->from,
                                     .uri = p->dial,
                                     .regions = p->from.memory.regions,
                                     .nregions = p->from.memory.n,
                                     .nvcpus = 2,
                                     .params = p->params};

    return godwit_source_start(&c, &p->source, e);
}

static void arm(enum call call, int error, unsigned k)
{
    memset(fault.counts, 0, sizeof(fault.counts));
    fault.call = call;
    fault.error = error;
    fault.k = k;
    atomic_store(&fault.struck, false);
    atomic_store(&fault.armed, true);
}

static void disarm(void)
{
    atomic_store(&fault.armed, false);
}

/* A start may fail, with a reason; the next one does not. */
static void start(struct pair *p, int (*begin)(struct pair *p, struct err *e), bool must)
{
    struct err e = ERR_INIT;

    if (!begin(p, &e))
        return;
    if (must)
        fail_msg("%s", e.text);
    disarm();
    assert_true(e.code < 0 && e.text[0]);
    assert_int_equal(p->world.running, 1);
    e = (struct err)ERR_INIT;
    if (begin(p, &e))
        fail_msg("once more: %s", e.text);
}

/* ---- the cases ------------------------------------------------------------------------------ */

static struct fault_case {
    enum way way;
    enum call call;
    int error;
    unsigned k;
} * cases;
static unsigned ncases;

static unsigned (*counts)[CALL_COUNT]; /* shared: of a migration in which nothing fails */
static struct tally {
    atomic_uint ends[JUDGE_END_COUNT], missed;
} * tally; /* shared */

static void describe_plain(unsigned index, char *out, size_t cap)
{
    snprintf(out, cap, "%s", way_names[index]);
}

static void run_plain(unsigned index)
{
    struct pair p;

    set_out(&p, (enum way)index);
    arm(CALL_COUNT, 0, 0);
    start(&p, listen_on, true);
    start(&p, migrate, true);
    pair_expect_moved(&p);
    disarm();
    pair_fini(&p);
    for (int i = 0; i < CALL_COUNT; i++)
        counts[index][i] = fault.counts[i];
}

static void describe(unsigned index, char *out, size_t cap)
{
    const struct fault_case *c = &cases[index];

    snprintf(out, cap, "call %u of %s: %s; %s (%u %u %d %u)", c->k, calls[c->call].name,
             c->error == A_PART ? "done in part" : strerror(c->error), way_names[c->way], c->way,
             c->call, c->error, c->k);
}

static void run(unsigned index)
{
    const struct fault_case *c = &cases[index];
    const bool harmless = c->error == EINTR || c->error == A_PART;
    const struct judge_look look = {.here = index % 2};
    enum judge_end end;
    uint32_t memory;
    struct pair p;
    bool struck;

    set_out(&p, c->way);
    memory = judge_memory(&p, SWEPT);
    arm(c->call, c->error, c->k);
    start(&p, listen_on, harmless);
    start(&p, migrate, harmless);
    end = judge(&p, &look);
    struck = atomic_load(&fault.struck);
    disarm();
    if (harmless)
        assert_int_equal(end, JUDGE_MOVED);
    assert_int_not_equal(end, JUDGE_DECIDED);
    assert_int_equal(judge_memory(&p, SWEPT), memory);
    if (end == JUDGE_KEPT)
        judge_next_moves(&p, p.dial);
    pair_fini(&p);
    atomic_fetch_add(&tally->ends[end], 1);
    atomic_fetch_add(&tally->missed, !struck);
}

static void add_cases(enum way way, enum call call, int error)
{
    unsigned n = counts[way][call];

    n = n < CALLS_MAX ? n : CALLS_MAX;
    for (unsigned k = 1; k <= n; k += k < EVERY ? 1 : STRIDE)
        if (ncases < CASES_MAX)
            cases[ncases++] = (struct fault_case){way, call, error, k};
}

static void thin_out(unsigned every)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ncases; i += every)
        cases[n++] = cases[i];
    ncases = n;
}

int main(int argc, char **argv)
{
    const struct pool_suite plain = {"plain", WAY_COUNT, run_plain, describe_plain};
    struct pool_suite suite = {.title = "calls", .run = run, .describe = describe};
    const char *every = getenv("GODWIT_FAULT_EVERY");
    uint64_t begun = clock_now_ns();
    unsigned failed;

    counts = pool_shared(sizeof(*counts) * WAY_COUNT);
    tally = pool_shared(sizeof(*tally));
    cases = calloc(CASES_MAX, sizeof(*cases));
    if (!cases)
        return 1;
    if (argc == 5) { /* as a failure was named */
        cases[0] = (struct fault_case){(enum way)atoi(argv[1]), (enum call)atoi(argv[2]),
                                       atoi(argv[3]), (unsigned)atoi(argv[4])};
        return pool_run_one(&suite, 0);
    }
    failed = pool_run(&plain);
    for (unsigned way = 0; way < WAY_COUNT; way++)
        for (unsigned call = 0; call < CALL_COUNT; call++)
            for (unsigned i = 0; i < 4 && calls[call].errors[i]; i++)
                add_cases((enum way)way, (enum call)call, calls[call].errors[i]);
    thin_out(every ? (unsigned)atoi(every) : 1);
    suite.n = ncases;
    if (!failed)
        failed = pool_run(&suite);
    printf("calls: %u cases in %.1f s: %u moved, %u kept, %u decided by a person, %u failed; %u "
           "were not reached\n",
           ncases, (double)(clock_now_ns() - begun) / (double)NS_PER_S, tally->ends[JUDGE_MOVED],
           tally->ends[JUDGE_KEPT], tally->ends[JUDGE_DECIDED], failed, tally->missed);
    if (!tally->ends[JUDGE_MOVED] || !tally->ends[JUDGE_KEPT] || tally->missed > ncases / 3)
        failed++;
    free(cases);
    return failed != 0;
}
