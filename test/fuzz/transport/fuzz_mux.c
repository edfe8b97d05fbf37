/* Any bytes as the frames of a stream that carries channels: whoever takes them all, and reads each
 * to its end, comes to that end, and has not got more bytes than were sent. */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/mux.h"

#define END_NS (10 * NS_PER_S)

struct reader_end {
    struct channel *channels[MUX_CHANNELS];
    unsigned n, ended;
    size_t got;
};

static void read_some(struct reader_end *r)
{
    uint8_t data[4096];

    for (unsigned i = 0; i < r->n; i++) {
        struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
        ssize_t n = r->channels[i] ? r->channels[i]->ops->readv(r->channels[i], &iov, 1) : -EAGAIN;

        if (n > 0)
            r->got += (size_t)n;
        if (n > 0 || n == -EAGAIN)
            continue;
        channel_free(r->channels[i]);
        r->channels[i] = NULL;
        r->ended++;
    }
}

static void take_all(struct mux *m, struct reader_end *r)
{
    while (r->n < MUX_CHANNELS && mux_accept(m, 0, &r->channels[r->n], NULL) == 0)
        r->n++;
}

/* false: nobody is there any more. */
static bool send_some(int fd, const uint8_t **data, size_t *size)
{
    uint8_t waste[4096];
    ssize_t n = *size ? send(fd, *data, *size, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0) /* credit */
        ;
    if (n < 0)
        return errno == EAGAIN;
    *data += n;
    *size -= (size_t)n;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t end = clock_now_ns() + END_NS;
    size_t sent = size;
    struct reader_end r = {.n = 0};
    struct err e = ERR_INIT;
    struct pollfd p;
    struct mux *m;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        abort();
    if (mux_new(fds[0], fds[0], MUX_TAKES, "fuzz", &m, &e))
        abort();
    if (mux_open(m, &r.channels[r.n++], &e)) /* it ends with the stream, so we know when it has */
        abort();
    p = (struct pollfd){.fd = mux_fd(m), .events = POLLIN};
    while (size && send_some(fds[1], &data, &size)) {
        take_all(m, &r);
        read_some(&r);
    }
    shutdown(fds[1], SHUT_WR);
    do { /* the stream has ended, and with it every channel */
        take_all(m, &r);
        read_some(&r);
        FUZZ_CHECK(clock_now_ns() < end);
    } while (!r.ended || r.ended < r.n || poll(&p, 1, 1) == 1);
    FUZZ_CHECK(r.got <= sent);
    for (unsigned i = 0; i < r.n; i++)
        channel_free(r.channels[i]);
    mux_free(m);
    close(fds[1]);
    return 0;
}
