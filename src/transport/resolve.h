/*
 * Names to addresses, with a bound and a way out.  getaddrinfo() has neither (a silent name server
 * holds it for half a minute), so a name is looked up by a thread of its own that is left behind
 * when the caller gives up; it ends, and frees its result, when the resolver does.  Numeric
 * addresses take no thread.  Inside src/transport only.
 */
#ifndef GODWIT_TRANSPORT_RESOLVE_H
#define GODWIT_TRANSPORT_RESOLVE_H

#include <netdb.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "transport/address.h"

/* How often a bounded wait looks at its cancel flag. */
#define CANCEL_POLL_MS 50

/* The TCP address's results, to be freed with freeaddrinfo(). deadline_ns 0: for ever. */
int resolve(const struct address *a, uint64_t deadline_ns, const atomic_bool *cancel,
            struct addrinfo **out, struct err *e);

#endif
