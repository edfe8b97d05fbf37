/*
 * Where a QMP server listens and a client connects: unix:PATH or tcp:HOST:PORT.  Whoever reaches it
 * owns the machine and, by its back-ends, much of the monitor's user: QMP is equal to a shell.  So
 * TCP is refused unless HOST is a loopback address.
 */
#ifndef GODWIT_QMP_ADDRESS_H
#define GODWIT_QMP_ADDRESS_H

#include <stdint.h>

#include "base/err.h"

enum qmp_address_kind { QMP_ADDRESS_UNIX, QMP_ADDRESS_TCP };

struct qmp_address {
    enum qmp_address_kind kind;
    char path[108]; /* unix; sizeof(sun_path) */
    char host[48];  /* tcp: an IPv4 or IPv6 loopback literal ("localhost" became 127.0.0.1) */
    uint16_t port;  /* tcp: 0 lets the system choose (listeners) */
};

/* -EINVAL with the text and what is allowed. */
int qmp_address_parse(const char *text, struct qmp_address *a, struct err *e);

/* A listening descriptor (non-blocking, close-on-exec).  A stale unix socket is replaced, one that
 * still answers is refused with -EADDRINUSE; the new one is mode 0600.  *bound (may be NULL) gets
 * the address with the real port. */
int qmp_address_listen(const struct qmp_address *a, int *fd, struct qmp_address *bound,
                       struct err *e);
/* A connected, blocking descriptor. */
int qmp_address_connect(const struct qmp_address *a, int *fd, struct err *e);

#endif
