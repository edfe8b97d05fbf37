/*
 * Many channels over one stream: a socket, or a pipe each way, where no second connection can be
 * made.
 *
 * Theory of operation.  A thread shuttles frames between the stream and one socket pair a channel;
 * the other ends are ordinary channels that poll and shut down as any socket does.  A frame is
 *
 *     u32 length of the payload, u8 channel, u8 kind (enum mux_kind), u16 zero, payload
 *
 * in little-endian.  One side opens channels (the source), the other takes them.
 *
 * No channel holds up another.  A side sends at most MUX_WINDOW bytes of a channel beyond those
 * that the other has passed on to that channel's reader, which CREDIT frames report; and it keeps
 * that much room for each.  So the thread can always read the next frame whole, whatever nobody
 * reads; reading never waits for writing, as it never waits at all; hence each CREDIT arrives, and
 * a channel waits for its own reader alone.  The lowest channel, the control channel, goes first.
 *
 * An end is passed on (END) after the bytes before it.  When the stream breaks, every channel reads
 * what has arrived and then its end.
 */
#ifndef GODWIT_TRANSPORT_MUX_H
#define GODWIT_TRANSPORT_MUX_H

#include "base/err.h"
#include "transport/channel.h"

#define MUX_HEADER   8
#define MUX_FRAME    (64U << 10) /* the longest payload */
#define MUX_WINDOW   (512U << 10)
#define MUX_CHANNELS 66 /* control, GODWIT_LANES_MAX lanes, and one that comes again */

enum mux_kind {
    MUX_OPEN,   /* no payload: a channel that was not there before */
    MUX_DATA,   /* 1 to MUX_FRAME bytes */
    MUX_END,    /* no payload: no more DATA of this channel */
    MUX_CREDIT, /* u32: so many bytes more may come */
    MUX_KINDS
};

enum mux_role {
    MUX_OPENS, /* the source: a peer that opens channels, too, breaks the stream */
    MUX_TAKES,
};

struct mux;

/* Owns both descriptors (which may be the same) from now on, on failure too.  name: the channels'
 * peer, for messages. */
int mux_new(int in_fd, int out_fd, enum mux_role role, const char *name, struct mux **out,
            struct err *e);
/* What was written to channels that are freed by now is sent, for a second at most. */
void mux_free(struct mux *m); /* NULL is fine */

/* -ENOTCONN: the stream has ended or is broken; -EMFILE: too many. */
int mux_open(struct mux *m, struct channel **out, struct err *e);
/* Readable while a channel waits to be taken. */
int mux_fd(const struct mux *m);
/* The next channel that the peer opened, waiting up to timeout_ms for it (0: not at all); -EAGAIN:
 * none came. */
int mux_accept(struct mux *m, uint32_t timeout_ms, struct channel **out, struct err *e);

#endif
