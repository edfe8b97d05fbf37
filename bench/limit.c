/*
 * The machine's limit: BYTES of memory moved over so many lanes by plain blocking sockets, from one
 * process into fresh memory of the kind guests have in another.  No protocol but an offset and a length
 * before each piece, no look at what is moved.  What a migration takes longer than this is its own.
 *
 *     limit BYTES LANES tcp|unix
 *
 * Prints one line of JSON: seconds from the first byte sent until the last is in place, and the
 * processor seconds of both processes meanwhile.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mem/backing.h"

#define LANES_MAX 64
#define PIECE     (2UL << 20)

struct piece {
    uint64_t offset, length; /* length 0: the end */
};

static struct {
    uint8_t *memory;
    uint64_t size;
    unsigned lanes;
    int here[LANES_MAX], there[LANES_MAX]; /* the two ends of each lane */
    atomic_uint_fast64_t next;
} job;

static void die(const char *what)
{
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- moving --------------------------------------------------------------------------------- */

static void transfer(int fd, struct iovec *iov, int n, ssize_t (*move)(int, const struct iovec *, int))
{
    while (n > 0) {
        ssize_t got = move(fd, iov, n);

        if (got <= 0)
            die("a socket");
        while (n > 0 && (size_t)got >= iov->iov_len) {
            got -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + got;
            iov->iov_len -= (size_t)got;
        }
    }
}

static void *send_lane(void *arg)
{
    int fd = job.here[(uintptr_t)arg];
    struct piece p = {.length = 1};
    uint8_t done;

    while (p.length) {
        struct iovec iov[2] = {{&p, sizeof(p)}};

        p.offset = atomic_fetch_add(&job.next, PIECE);
        p.length = p.offset >= job.size             ? 0
                   : job.size - p.offset < PIECE ? job.size - p.offset
                                                    : PIECE;
        iov[1] = (struct iovec){job.memory + p.offset, p.length};
        transfer(fd, iov, p.length ? 2 : 1, writev);
    }
    transfer(fd, &(struct iovec){&done, 1}, 1, readv); /* it is in place */
    return NULL;
}

static void *receive_lane(void *arg)
{
    int fd = job.there[(uintptr_t)arg];
    uint8_t done = 1;
    struct piece p;

    for (;;) {
        transfer(fd, &(struct iovec){&p, sizeof(p)}, 1, readv);
        if (!p.length)
            break;
        transfer(fd, &(struct iovec){job.memory + p.offset, p.length}, 1, readv);
    }
    transfer(fd, &(struct iovec){&done, 1}, 1, writev);
    return NULL;
}

static void run_lanes(void *(*lane)(void *))
{
    pthread_t threads[LANES_MAX];

    for (uintptr_t i = 0; i < job.lanes; i++)
        if (pthread_create(&threads[i], NULL, lane, (void *)i))
            die("a thread");
    for (unsigned i = 0; i < job.lanes; i++)
        pthread_join(threads[i], NULL);
}

/* ---- before --------------------------------------------------------------------------------- */

/* Memory as guests have it; nothing of it is there yet. */
static void map_memory(void)
{
    struct backing b;
    struct err e = ERR_INIT;

    if (backing_open(&b, job.size, NULL, -1, &e)) {
        fprintf(stderr, "limit: %s\n", e.text);
        exit(1);
    }
    job.memory = mmap(NULL, b.size, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd, 0);
    if (job.memory == MAP_FAILED)
        die("mmap");
    madvise(job.memory, b.size, MADV_HUGEPAGE); /* as guests do */
}

static void fill_memory(void)
{
    uint64_t x = 88172645463325252ULL;

    for (uint64_t i = 0; i < job.size / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((uint64_t *)(void *)job.memory)[i] = x;
    }
}

static void tcp_pair(int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || pair[0] < 0 || bind(listener, (struct sockaddr *)&at, len) ||
        listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) ||
        connect(pair[0], (struct sockaddr *)&at, len) || (pair[1] = accept(listener, NULL, NULL)) < 0)
        die("tcp");
    close(listener);
    setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void open_lanes(const char *transport)
{
    for (unsigned i = 0; i < job.lanes; i++) {
        int pair[2];

        if (!strcmp(transport, "tcp"))
            tcp_pair(pair);
        else if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
            die("socketpair");
        job.here[i] = pair[0];
        job.there[i] = pair[1];
    }
}

static double cpu_seconds(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    double cpu;
    uint64_t began, took;
    int status;
    pid_t child;

    if (argc != 4 || (strcmp(argv[3], "tcp") && strcmp(argv[3], "unix")) ||
        !(job.size = strtoull(argv[1], NULL, 0)) || !(job.lanes = (unsigned)atoi(argv[2])) ||
        job.lanes > LANES_MAX) {
        fprintf(stderr, "usage: limit BYTES LANES(1-%d) tcp|unix\n", LANES_MAX);
        return 2;
    }
    open_lanes(argv[3]);
    child = fork();
    if (child < 0)
        die("fork");
    map_memory();
    if (child == 0) {
        run_lanes(receive_lane);
        return 0;
    }
    fill_memory();
    cpu = cpu_seconds(RUSAGE_SELF);
    began = clock_now_ns();
    run_lanes(send_lane);
    took = clock_now_ns() - began;
    cpu = cpu_seconds(RUSAGE_SELF) - cpu;
    if (waitpid(child, &status, 0) != child || status)
        die("the receiver");
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.3f, \"bytes\": %llu, \"lanes\": %u}\n",
           (double)took / 1e9, cpu + cpu_seconds(RUSAGE_CHILDREN), (unsigned long long)job.size,
           job.lanes);
    return 0;
}
