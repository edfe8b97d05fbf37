/*
 * TLS 1.3 for the engine's channels: X.509 with both sides proving themselves, or a pre-shared key.
 * The folders have the layout of QEMU's and libvirt's credentials, so theirs can be used as they are.
 */
#ifndef GODWIT_TLS_H
#define GODWIT_TLS_H

#include <stdbool.h>

#include "base/err.h"

struct godwit_tls;

enum godwit_tls_kind {
    GODWIT_TLS_X509, /* ca-cert.pem (and ca-crl.pem); server-cert.pem, server-key.pem at the
                        destination, client-cert.pem, client-key.pem at the source */
    GODWIT_TLS_PSK,  /* keys.psk: lines of NAME:HEX, as psktool writes them */
};

/* For whom a destination's certificate must be is said for each migration:
 * godwit_source_config.tls_hostname. */
struct godwit_tls_config {
    enum godwit_tls_kind kind;
    const char *dir;      /* the folder; everything is read now, none of it later */
    bool is_server;       /* destination */
    const char *username; /* source, PSK: whose line of keys.psk; NULL: "qemu", as there */
    bool verify_peer;     /* X509: false is for tests of what happens then; default must be true */
};

/* 0, or -errno with which file, what is wrong with it and what to do: missing, unreadable, expired,
 * not yet valid, not signed by ca-cert.pem, a key that does not fit, a key file that others can
 * read.  Any thread; what it gives may be used by many migrations at once. */
int godwit_tls_new(const struct godwit_tls_config *config, struct godwit_tls **out, struct err *e);
void godwit_tls_free(struct godwit_tls *tls); /* NULL is fine; nobody uses it any more */

#endif
