#include "exchange.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int64_t exchange_now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int exchange_address(const char *host, const char *port, struct sockaddr_in *addr)
{
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    memset(addr, 0, sizeof(*addr));
    addr->sin_family = AF_INET;
    addr->sin_port = htons((uint16_t)number);
    if (*end || !number || number > UINT16_MAX || inet_pton(AF_INET, host, &addr->sin_addr) != 1)
        return -EINVAL;
    return 0;
}

int exchange_ask(int fd, const struct sockaddr_in *addr, uint32_t seq)
{
    struct exchange question = {.magic = htobe32(EXCHANGE_MAGIC), .seq = htobe32(seq)};

    if (sendto(fd, &question, sizeof(question), 0, (const struct sockaddr *)addr, sizeof(*addr)) <
        0)
        return -errno;
    return 0;
}

int exchange_receive(int fd, struct sockaddr_in *from, struct exchange *out)
{
    struct exchange wire;
    socklen_t length = sizeof(*from);
    ssize_t n = recvfrom(fd, &wire, sizeof(wire), MSG_DONTWAIT, (struct sockaddr *)from, &length);

    if (n < 0)
        return -errno;
    if (n != sizeof(wire) || be32toh(wire.magic) != EXCHANGE_MAGIC)
        return 0;
    out->magic = EXCHANGE_MAGIC;
    out->seq = be32toh(wire.seq);
    out->monotonic_ns = be64toh(wire.monotonic_ns);
    out->realtime_ns = be64toh(wire.realtime_ns);
    return 1;
}
