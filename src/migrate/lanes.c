#include "migrate/lanes.h"

#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "godwit/migrate.h"

/* More add nothing: the link, or the memory's bandwidth, is full. */
#define PLAIN_MAX 8U
#define LEAST     2U

union name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage space;
};

static bool is_loopback(const union name *n)
{
    const uint8_t *v4 = NULL;

    if (n->any.sa_family == AF_INET)
        v4 = (const uint8_t *)&n->in.sin_addr;
    else if (n->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&n->in6.sin6_addr))
        v4 = n->in6.sin6_addr.s6_addr + 12;
    else if (n->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&n->in6.sin6_addr);
    return v4 && v4[0] == IN_LOOPBACKNET;
}

bool lanes_stay_here(int fd)
{
    union name peer = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);

    if (getpeername(fd, &peer.any, &len))
        return false;
    return peer.any.sa_family == AF_UNIX || is_loopback(&peer);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t lanes_for(bool here, bool encrypted, uint32_t cpus)
{
    if (encrypted)
        return least(most(cpus, 1), GODWIT_LANES_MAX);
    if (!here)
        return least(most(cpus, LEAST), PLAIN_MAX);
    /* Both ends share the CPUs. */
    return cpus < 2 ? 1 : least(most(cpus / 2, LEAST), PLAIN_MAX);
}

uint32_t lanes_choose(const struct channel *control, bool encrypted)
{
    uint32_t cpus = 1;
    cpu_set_t set;

    if (!sched_getaffinity(0, sizeof(set), &set))
        cpus = (uint32_t)CPU_COUNT(&set);
    return lanes_for(lanes_stay_here(control->fd), encrypted, cpus);
}
