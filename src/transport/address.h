/*
 * Migration URIs: tcp:HOST:PORT (IPv4, [IPv6], names; port 1-65535, 0 on a listener: any),
 * unix:PATH, fd:NUMBER and file:PATH[,offset=N].  fd: is a stream socket that this process has and
 * whose other end is the peer's: the only connection there will be, so that all channels share it
 * (mux.h).  A file is the engine's to open (migrate/tape.h).  Parsing is pure; connecting and
 * listening live here too, since both need the address.
 */
#ifndef GODWIT_TRANSPORT_ADDRESS_H
#define GODWIT_TRANSPORT_ADDRESS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "godwit/tls.h"
#include "transport/channel.h"

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_FD, ADDRESS_FILE };

struct address {
    enum address_kind kind;
    char host[256]; /* no brackets; "": any (listener) */
    uint16_t port;
    char path[320]; /* unix: 107 bytes at most, what sockaddr_un takes */
    uint64_t offset;
    int fd;
};

/* -EINVAL with the URI, the place and what is allowed. */
int address_parse(const char *uri, struct address *a, struct err *e);
/* Back to a URI (for messages and peers); always fits 384 bytes. */
void address_format(const struct address *a, char *out, size_t cap);

/* Neither of an ADDRESS_FD (dial.h) nor of an ADDRESS_FILE.  Connects within timeout_ms (0: for
 * ever), trying every address a name has; *cancel (may be NULL) becoming true ends it with
 * -ECANCELED within 50 ms, while a name is being resolved too. */
int address_connect(const struct address *a, uint32_t timeout_ms, const atomic_bool *cancel,
                    struct channel **out, struct err *e);

/* A listener: a non-blocking listening descriptor the owner may poll.  tcp::PORT takes both IPv4
 * and IPv6, [::] IPv6 alone; a name with both kinds of address is bound to its IPv4 one, since a
 * listener is one socket.  A unix path that is a stale socket is replaced; anything else there is
 * refused. */
struct mux;

struct listener {
    int fd;
    struct mux *mux;              /* ADDRESS_FD: accepts what the peer opens there; else NULL */
    struct address address;       /* with the real port */
    const struct godwit_tls *tls; /* the owner's to set after listener_open: channels it gives out
                                     are TLS, their handshake still to come (tls.h) */
    dev_t dev;                    /* unix: the socket file that listener_open made */
    ino_t ino;
};

/* A name is resolved within 5 s; the descriptor of an ADDRESS_FD is owned from now on, on failure
 * too. -EADDRINUSE, -EEXIST (a file that is no socket), -errno. */
int listener_open(struct listener *l, const struct address *a, struct err *e);
/* Waits for one connection up to timeout_ms (0: polls once); -EAGAIN when none came. */
int listener_accept(struct listener *l, uint32_t timeout_ms, struct channel **out, struct err *e);
/* Unlinks a unix path that it made and nobody has replaced.  Does nothing when fd is -1. */
void listener_close(struct listener *l);

#endif
