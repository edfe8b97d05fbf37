/*
 * labtool clock: how far this machine's wall clock is from another's, and, with "set", a step
 * onto it. The exchange with the shortest round trip wins: on a busy emulated host most are
 * delayed in one direction, and the shortest bounds the error by half its round trip.
 */
#include "exchange.h"
#include "tool.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 64, ANSWER_MS = 200, STEPS = 4 };

#define CLOSE_ENOUGH_NS 200000

struct offset {
    int64_t ns;            /* theirs minus ours */
    int64_t round_trip_ns; /* of the best exchange */
};

static int one_round(int fd, const struct sockaddr_in *peer, uint32_t seq, struct offset *out)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    struct sockaddr_in from;
    struct exchange answer;
    int64_t sent = exchange_now(CLOCK_REALTIME);

    if (exchange_ask(fd, peer, seq) < 0)
        return 0;
    while (poll(&wait, 1, ANSWER_MS) > 0) {
        int64_t received = exchange_now(CLOCK_REALTIME);

        if (exchange_receive(fd, &from, &answer) != 1 || answer.seq != seq)
            continue;
        out->round_trip_ns = received - sent;
        out->ns = (int64_t)answer.realtime_ns - (sent + out->round_trip_ns / 2);
        return 1;
    }
    return 0;
}

static int measure(int fd, const struct sockaddr_in *peer, struct offset *best)
{
    static uint32_t seq; /* never repeats, so that a late answer is never taken for a new one */
    int answered = 0;

    best->round_trip_ns = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        struct offset this_one;

        if (!one_round(fd, peer, ++seq, &this_one))
            continue;
        answered++;
        if (this_one.round_trip_ns < best->round_trip_ns)
            *best = this_one;
    }
    return answered;
}

static int step_by(int64_t ns)
{
    int64_t target = exchange_now(CLOCK_REALTIME) + ns;
    struct timespec ts = {.tv_sec = target / 1000000000, .tv_nsec = target % 1000000000};

    return clock_settime(CLOCK_REALTIME, &ts);
}

int cmd_clock(int argc, char **argv)
{
    int set = argc == 4 && !strcmp(argv[3], "set");
    struct sockaddr_in peer;
    struct offset offset;
    int fd;

    if ((argc != 3 && !set) || exchange_address(argv[1], argv[2], &peer) < 0) {
        fprintf(stderr, "clock: expected an address, a port and perhaps 'set'\n");
        return 2;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; fd >= 0; i++) {
        if (!measure(fd, &peer, &offset)) {
            fprintf(stderr, "clock: %s does not answer\n", argv[1]);
            return 1;
        }
        if (!set || i == STEPS || (offset.ns < CLOSE_ENOUGH_NS && offset.ns > -CLOSE_ENOUGH_NS))
            break;
        if (step_by(offset.ns) < 0)
            break;
    }
    if (fd < 0) {
        perror("clock");
        return 1;
    }
    printf("offset_us=%" PRId64 " round_trip_us=%" PRId64 "\n", offset.ns / 1000,
           offset.round_trip_ns / 1000);
    return 0;
}
