/*
 * labtool probe: asks several machines for their clocks at a fixed pace until SIGTERM, and
 * writes one line an answer:
 *
 *     NAME SEQ SENT RECEIVED MONOTONIC REALTIME
 *
 * SENT and RECEIVED are this machine's CLOCK_MONOTONIC, the other two are the answerer's, all in
 * nanoseconds. A question that is never answered leaves no line; the gap in the lines of a NAME
 * is the ping gap, and the change of MONOTONIC against SENT is how its clock moved.
 */
#include "exchange.h"
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An answer later than this many questions is not recorded. */
enum { MAX_TARGETS = 8, REMEMBERED = 4096 };

struct probe {
    FILE *out;
    size_t n_targets;
    uint32_t seq;
    struct {
        const char *name;
        struct sockaddr_in addr;
        int fd; /* one a target, so that an answer's sender needs no look-up */
    } target[MAX_TARGETS];
    int64_t sent[REMEMBERED]; /* by seq modulo REMEMBERED; each question goes to all targets */
};

static volatile sig_atomic_t stopping;

static void on_term(int signal)
{
    stopping = 1;
}

static int add_target(struct probe *p, char *spec)
{
    char *host = strchr(spec, '=');
    char *port = host ? strchr(host, ':') : NULL;
    size_t i = p->n_targets;

    if (!port || i == MAX_TARGETS)
        return -EINVAL;
    *host++ = '\0';
    *port++ = '\0';
    p->target[i].name = spec;
    p->target[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (p->target[i].fd < 0)
        return -errno;
    p->n_targets++;
    return exchange_address(host, port, &p->target[i].addr);
}

static void ask_all(struct probe *p)
{
    p->seq++;
    p->sent[p->seq % REMEMBERED] = exchange_now(CLOCK_MONOTONIC);
    /* A question that cannot be sent is one that is not answered: the gap shows it. */
    for (size_t i = 0; i < p->n_targets; i++)
        (void)exchange_ask(p->target[i].fd, &p->target[i].addr, p->seq);
}

static void take_answers(struct probe *p, size_t i)
{
    struct exchange answer;
    struct sockaddr_in from;
    int rc;

    while ((rc = exchange_receive(p->target[i].fd, &from, &answer)) >= 0) {
        int64_t now = exchange_now(CLOCK_MONOTONIC);

        if (rc == 0 || p->seq - answer.seq >= REMEMBERED)
            continue;
        fprintf(p->out, "%s %" PRIu32 " %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 "\n",
                p->target[i].name, answer.seq, p->sent[answer.seq % REMEMBERED], now,
                answer.monotonic_ns, answer.realtime_ns);
    }
}

static void run(struct probe *p, int64_t interval_ns)
{
    struct pollfd wait[MAX_TARGETS];
    int64_t next = exchange_now(CLOCK_MONOTONIC);

    for (size_t i = 0; i < p->n_targets; i++)
        wait[i] = (struct pollfd){.fd = p->target[i].fd, .events = POLLIN};
    while (!stopping) {
        int64_t left = next - exchange_now(CLOCK_MONOTONIC);

        if (left <= 0) {
            ask_all(p);
            next += interval_ns;
            continue;
        }
        if (poll(wait, p->n_targets, (int)(left / 1000000) + 1) <= 0)
            continue;
        for (size_t i = 0; i < p->n_targets; i++) {
            if (wait[i].revents)
                take_answers(p, i);
        }
    }
}

int cmd_probe(int argc, char **argv)
{
    static struct probe p;
    struct sigaction term = {.sa_handler = on_term};
    int interval_ms = argc > 3 ? atoi(argv[1]) : 0;

    if (interval_ms <= 0) {
        fprintf(stderr, "probe: expected an interval in ms, a file and targets\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (add_target(&p, argv[i]) < 0) {
            fprintf(stderr, "probe: expected NAME=ADDR:PORT, not %s\n", argv[i]);
            return 2;
        }
    }
    p.out = fopen(argv[2], "we");
    if (!p.out) {
        perror(argv[2]);
        return 1;
    }
    setlinebuf(p.out); /* it is read while it grows */
    sigaction(SIGTERM, &term, NULL);
    run(&p, (int64_t)interval_ms * 1000000);
    return fclose(p.out) ? 1 : 0;
}
