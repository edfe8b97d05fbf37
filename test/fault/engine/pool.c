#include "pool.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define JOBS_MAX     64
#define JOBS_DEFAULT 10
#define BATCH        16
#define CASE_SECONDS 40
#define SAID_MAX     12000

struct job {
    pid_t pid;
    unsigned end;    /* of the batch */
    unsigned *index; /* shared: the case it is at; end: all are done */
    int said;        /* a file */
};

/* What a child's one cmocka test works on. */
static struct {
    const struct pool_suite *suite;
    unsigned end;
    unsigned *index;
} batch;

void *pool_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("pool: mmap");
        exit(1);
    }
    return p;
}

static void run_batch(void **state)
{
    for (; *batch.index < batch.end; ++*batch.index) {
        alarm(CASE_SECONDS);
        batch.suite->run(*batch.index);
        alarm(0);
        ftruncate(STDOUT_FILENO, 0); /* what a good case said is of no interest */
        lseek(STDOUT_FILENO, 0, SEEK_SET);
    }
}

static int run_under_cmocka(const struct pool_suite *s, unsigned *index, unsigned end)
{
    const struct CMUnitTest tests[] = {
        {s->title, run_batch, NULL, NULL, NULL}
    };

    batch.suite = s;
    batch.index = index;
    batch.end = end;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

static void begin(const struct pool_suite *s, struct job *j, unsigned from, unsigned end)
{
    *j->index = from;
    j->end = end;
    j->said = memfd_create("said", MFD_CLOEXEC);
    fflush(NULL);
    j->pid = j->said < 0 ? -1 : fork();
    if (j->pid < 0) {
        perror("pool");
        exit(1);
    }
    if (j->pid > 0)
        return;
    dup2(j->said, STDOUT_FILENO);
    dup2(j->said, STDERR_FILENO);
    exit(run_under_cmocka(s, j->index, end));
}

static void tell(const struct pool_suite *s, const struct job *j, int status)
{
    char what[256], said[SAID_MAX + 1];
    unsigned at = *j->index < j->end ? *j->index : j->end - 1;
    ssize_t n = pread(j->said, said, SAID_MAX, 0);

    s->describe(at, what, sizeof(what));
    said[n > 0 ? n : 0] = '\0';
    printf("FAILED: %s case %u: %s (%s %d)\n%s\n", s->title, at, what,
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), said);
}

/* Waits for one child; true: its case failed, and the batch is not over. */
static struct job *reap(const struct pool_suite *s, struct job *jobs, unsigned n, bool *failed)
{
    int status;
    pid_t pid = wait(&status);

    for (unsigned i = 0; i < n; i++)
        if (jobs[i].pid == pid) {
            *failed = status != 0;
            if (status)
                tell(s, &jobs[i], status);
            close(jobs[i].said);
            jobs[i].pid = 0;
            return &jobs[i];
        }
    perror("pool: wait");
    exit(1);
}

unsigned pool_run(const struct pool_suite *s)
{
    const char *asked = getenv("GODWIT_FAULT_JOBS");
    unsigned njobs = asked ? (unsigned)atoi(asked) : JOBS_DEFAULT, next = 0, busy = 0, failures = 0;
    struct job jobs[JOBS_MAX] = {{0}};
    unsigned *indices = pool_shared(sizeof(unsigned) * JOBS_MAX);

    njobs = njobs < 1 ? 1 : njobs > JOBS_MAX ? JOBS_MAX : njobs;
    for (unsigned i = 0; i < njobs; i++) {
        jobs[i].index = &indices[i];
        if (next < s->n) {
            begin(s, &jobs[i], next, next + BATCH < s->n ? next + BATCH : s->n);
            next = jobs[i].end;
            busy++;
        }
    }
    while (busy > 0) {
        bool failed = false;
        struct job *j = reap(s, jobs, njobs, &failed);

        failures += failed;
        if (failed && *j->index + 1 < j->end) {
            begin(s, j, *j->index + 1, j->end);
        } else if (next < s->n) {
            begin(s, j, next, next + BATCH < s->n ? next + BATCH : s->n);
            next = j->end;
        } else {
            busy--;
        }
    }
    munmap(indices, sizeof(unsigned) * JOBS_MAX);
    return failures;
}

int pool_run_one(const struct pool_suite *s, unsigned index)
{
    unsigned at = index;
    char what[256];

    s->describe(index, what, sizeof(what));
    printf("%s case %u: %s\n", s->title, index, what);
    fflush(stdout);
    batch.suite = s;
    return run_under_cmocka(s, &at, index + 1);
}
