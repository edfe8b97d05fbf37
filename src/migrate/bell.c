#include "migrate/bell.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "migrate/wait.h"

int bell_init(struct bell *b)
{
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return b->fd < 0 ? -errno : 0;
}

void bell_fini(struct bell *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

void bell_ring(const struct bell *b)
{
    eventfd_write(b->fd, 1); /* fails only when it rings already 2^64-2 times */
}

void bell_clear(const struct bell *b)
{
    eventfd_t n;

    eventfd_read(b->fd, &n);
}

int bell_wait(const struct bell *b, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = b->fd, .events = POLLIN};

    if (wait_poll(&p, 1, deadline_ns))
        return -ETIME;
    bell_clear(b);
    return 0;
}
