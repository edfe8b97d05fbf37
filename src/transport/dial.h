/*
 * How a source reaches its destination, as often as it needs a channel there: the address, and what
 * is wrapped around each connection.
 */
#ifndef GODWIT_TRANSPORT_DIAL_H
#define GODWIT_TRANSPORT_DIAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/tls.h"
#include "transport/address.h"
#include "transport/channel.h"

struct dialer {
    struct address address;
    const struct godwit_tls *tls; /* not owned; NULL: in the clear */
    char tls_host[256];           /* for whom the destination's certificate must be */
    struct mux *mux;              /* ADDRESS_FD: the one connection; else NULL */
};

/* tls_host NULL: the address's own.  -EINVAL: an address that is no host, and certificates.  The
 * descriptor of an ADDRESS_FD is owned from now on, on failure too. */
int dialer_init(struct dialer *d, const struct address *a, const struct godwit_tls *tls,
                const char *tls_host, struct err *e);
/* As address_connect, the TLS handshake included. */
int dialer_connect(const struct dialer *d, uint32_t timeout_ms, const atomic_bool *cancel,
                   struct channel **out, struct err *e);
/* All channels share one connection: more than one lane gains nothing. */
static inline bool dialer_is_single(const struct dialer *d)
{
    return d->mux != NULL;
}
/* After the last channel was freed. Fine twice, and before dialer_init if all is zero. */
void dialer_fini(struct dialer *d);

#endif
