/*
 * TLS 1.3 over another channel.
 *
 * Theory of operation.  A TLS channel owns the channel below it and moves records over that one's
 * ops without ever waiting, so channel.h's rules hold: poll the descriptor, call readv or writev,
 * -EAGAIN when nothing can move.  Two things differ from a socket.  Bytes may wait decrypted above
 * the descriptor, which `more` says.  And OpenSSL's object serves one thread at a time, while a
 * channel has a reader and a writer: a lock is held for each call, which never waits.
 *
 * The client's handshake is complete when it is given out.  The server's is not: it goes on inside
 * readv as the client's bytes come, so that whoever reads many callers without waiting for any
 * needs not know of it.  In TLS 1.3 the client believes itself connected before the server has
 * judged its certificate: the refusal is an alert that comes with the first read, and `why` tells
 * of it.
 *
 * An end of stream needs no close_notify: the records carried here say themselves what is complete.
 */
#ifndef GODWIT_TRANSPORT_TLS_H
#define GODWIT_TRANSPORT_TLS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/tls.h"
#include "transport/channel.h"

/* Both own `below` from now on, on failure too. */

/* host: for whom the certificate must be, a name or an address; PSK: not read.  Ends within
 * timeout_ms (0: for ever), and with -ECANCELED within 50 ms of *cancel (may be NULL). -EACCES: one
 * side does not trust the other; -EPROTO: that is no TLS 1.3; -EPIPE, ... as channel_read. */
int channel_tls_client(struct channel *below, const struct godwit_tls *tls, const char *host,
                       uint32_t timeout_ms, const atomic_bool *cancel, struct channel **out,
                       struct err *e);
/* Waits for nothing. */
int channel_tls_server(struct channel *below, const struct godwit_tls *tls, struct channel **out,
                       struct err *e);

/* Only while no other thread knows c, which must be of the two functions above: frees the TLS part
 * and gives back the channel below.  For the last word to a caller whose handshake failed. */
struct channel *channel_tls_strip(struct channel *c);
/* A TLS channel whose first byte was none of TLS: somebody talks in the clear. */
bool channel_tls_is_plain(const struct channel *c);

#endif
