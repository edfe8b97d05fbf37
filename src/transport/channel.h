/*
 * A channel: one bidirectional byte stream between two monitors, whatever carries it.
 *
 * Blocking, with a bound: every read and write ends with -ETIMEDOUT when no byte moved for
 * `timeout_ms` (0: for ever), and with -ECANCELED at once when channel_shutdown was called from
 * another thread.  One reader and one writer thread at a time.  The creator frees.
 */
#ifndef GODWIT_TRANSPORT_CHANNEL_H
#define GODWIT_TRANSPORT_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define CHANNEL_FDS_MAX 8U

struct channel;

struct channel_ops {
    const char *name; /* "tcp", "unix", "tls" */
    /* Move some bytes without waiting: bytes moved (may be short), 0 at end of stream (readv), or
     * -errno, -EAGAIN when nothing can move now.  Waiting is done by channel_* or by whoever polls
     * channel.fd itself. */
    ssize_t (*readv)(struct channel *c, const struct iovec *iov, int n);
    ssize_t (*writev)(struct channel *c, const struct iovec *iov, int n);
    /* What broke it, where the transport knows more than an errno: fills e and returns its code; 0:
     * nothing to add.  May be NULL. */
    int (*why)(struct channel *c, struct err *e);
    /* Descriptors, where both ends are on one host (channel_send_fds, channel_take_fds); NULL: they
     * cannot travel. */
    ssize_t (*send_fds)(struct channel *c, const struct iovec *iov, int n, const int *fds,
                        unsigned nfds);
    unsigned (*take_fds)(struct channel *c, int *fds, unsigned max);
    bool (*is_own)(const struct channel *c); /* NULL: never */
    /* timeout_ms has changed; may be NULL. */
    void (*set_timeout)(struct channel *c);
    void (*shutdown)(struct channel *c);
    void (*free)(struct channel *c);
};

struct channel {
    const struct channel_ops *ops;
    int fd;                       /* non-blocking; poll it before ops->readv or ops->writev, but: */
    bool more;                    /* bytes may wait above the descriptor: call ops->readv without
                                     polling, until it says -EAGAIN. The reader's. */
    uint64_t bytes_in, bytes_out; /* only touched by the reader (writer) thread */
    atomic_uint_fast64_t waited_ns; /* until it was ready, reader and writer together */
    uint32_t timeout_ms;
    char peer[128]; /* for messages: "tcp:192.0.2.7:4446" */
};

/* All of it or an error: -EPIPE when the peer closed (err says after how many bytes), -ECONNRESET
 * when it vanished, -ETIMEDOUT, -ECANCELED.  The err's stage is "channel". */
int channel_read(struct channel *c, void *buf, size_t len, struct err *e);
int channel_write(struct channel *c, const void *buf, size_t len, struct err *e);
/* iov is consumed (modified). */
int channel_readv(struct channel *c, struct iovec *iov, int n, struct err *e);
int channel_writev(struct channel *c, struct iovec *iov, int n, struct err *e);
/* Sends bytes and with the first of them copies of n descriptors (1 to CHANNEL_FDS_MAX).  -ENOTSUP:
 * not over this channel. */
int channel_send_fds(struct channel *c, const void *buf, size_t len, const int *fds, unsigned n,
                     struct err *e);
/* The descriptors that have come with what was read so far, in order, owned by the caller from now
 * on; those beyond `max` are closed.  A peer sends them unasked: at most CHANNEL_FDS_MAX are kept. */
unsigned channel_take_fds(struct channel *c, int *fds, unsigned max);
/* The other end is a process of this host and of the same user. */
bool channel_is_own(const struct channel *c);
/* Also bounds, on TCP, how long sent bytes may stay unacknowledged and how long an idle peer may be
 * dead unnoticed.  Not while another thread reads or writes. */
void channel_set_timeout(struct channel *c, uint32_t timeout_ms);
/* Any thread: makes current and later reads and writes fail with -ECANCELED. */
void channel_shutdown(struct channel *c);
void channel_free(struct channel *c); /* NULL is fine */
/* After a failure of ops->readv or ops->writev: as ops->why. */
int channel_why(struct channel *c, struct err *e);

/* A connected stream socket (owned from now on, closed on failure) as a channel that never times
 * out; the transport follows from the socket's family.  NULL: errno. */
struct channel *channel_from_fd(int fd, const char *peer);
/* The same of a UNIX socket whose other end relays the bytes: descriptors would be lost. */
struct channel *channel_from_relay(int fd, const char *peer);

#endif
