/* labtool echo: answers clock exchanges until it is killed. Runs in hosts and in the guest. */
#include "exchange.h"
#include "tool.h"

#include <endian.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer_one(int fd)
{
    struct exchange wire;
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    ssize_t n = recvfrom(fd, &wire, sizeof(wire), 0, (struct sockaddr *)&from, &length);

    if (n != sizeof(wire) || be32toh(wire.magic) != EXCHANGE_MAGIC)
        return;
    wire.monotonic_ns = htobe64((uint64_t)exchange_now(CLOCK_MONOTONIC));
    wire.realtime_ns = htobe64((uint64_t)exchange_now(CLOCK_REALTIME));
    /* A lost answer is a lost probe, which the asker counts: nothing to do about it here. */
    (void)!sendto(fd, &wire, sizeof(wire), 0, (const struct sockaddr *)&from, length);
}

int cmd_echo(int argc, char **argv)
{
    struct sockaddr_in addr;
    int fd;

    if (argc != 2 || exchange_address("0.0.0.0", argv[1], &addr) < 0) {
        fprintf(stderr, "echo: expected a port\n");
        return 2;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        perror("echo");
        return 1;
    }
    for (;;)
        answer_one(fd);
}
