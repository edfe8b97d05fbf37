#include "migrate/wait.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

int wait_poll(struct pollfd *fds, unsigned n, uint64_t deadline_ns)
{
    struct timespec left = {0};

    for (;;) {
        uint64_t now = deadline_ns ? clock_now_ns() : 0;
        int ready;

        if (deadline_ns > now) {
            left.tv_sec = (time_t)((deadline_ns - now) / NS_PER_S);
            left.tv_nsec = (long)((deadline_ns - now) % NS_PER_S);
        } else {
            left = (struct timespec){0};
        }
        ready = ppoll(fds, n, deadline_ns ? &left : NULL, NULL);
        if (ready > 0)
            return 0;
        if (deadline_ns && now >= deadline_ns)
            return -ETIME;
    }
}

uint64_t wait_earlier(uint64_t a, uint64_t b)
{
    if (!a || !b)
        return a ? a : b;
    return a < b ? a : b;
}
