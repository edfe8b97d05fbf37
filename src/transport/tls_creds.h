/* What godwit_tls_new read, as tls_channel.c uses it.  Inside src/transport only. */
#ifndef GODWIT_TRANSPORT_TLS_CREDS_H
#define GODWIT_TRANSPORT_TLS_CREDS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "godwit/tls.h"

struct tls_psk {
    char *name;
    unsigned char *key;
    size_t key_len;
};

/* Never changes after godwit_tls_new: many threads read it. */
struct godwit_tls {
    SSL_CTX *ctx;
    BIO_METHOD *bio; /* over a channel: tls_channel.c */
    enum godwit_tls_kind kind;
    bool is_server, verify_peer;
    struct tls_psk *psks; /* the client has one */
    size_t npsks;
};

/* tls_psk.c: reads DIR/keys.psk, and makes the context use it. username: the client's, else NULL.
 */
int tls_psk_load(struct godwit_tls *t, const char *dir, const char *username, struct err *e);
void tls_psk_free(struct godwit_tls *t);

/* tls_creds.c: opens DIR/NAME. is_secret: nobody but owner and group may read it. NULL: see e;
 * -ENOENT is left to the caller to explain. */
BIO *tls_open(const char *dir, const char *name, bool is_secret, struct err *e);

#endif
