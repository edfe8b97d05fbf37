/* The parts of a TLS channel that explain themselves to each other.  Inside src/transport only. */
#ifndef GODWIT_TRANSPORT_TLS_CHANNEL_H
#define GODWIT_TRANSPORT_TLS_CHANNEL_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "transport/channel.h"
#include "transport/tls_creds.h"

#define TLS_RECORD      16384
#define TLS_READ_BUFFER (64 << 10)

struct tls_channel {
    struct channel base;
    struct channel *below; /* owned */
    const struct godwit_tls *tls;
    char host[256]; /* client, X.509: for whom the certificate must be */
    atomic_bool cancelled;

    pthread_mutex_t lock; /* guards what follows: OpenSSL's object and what it meets */
    SSL *ssl;
    ssize_t io_error; /* of the channel below: -errno, 0 */
    bool ended;       /* it said end of stream */
    bool heard;       /* a byte came from the peer, and the first was: */
    unsigned char first;
    bool established; /* the peer has proved itself */
    struct err why;   /* what broke it; code 0: nothing did, or a mere errno */
    uint8_t *gather;  /* TLS_RECORD bytes: short pieces become one record */
};

/* A BIO that is `below` of the tls_channel that is its data. NULL: no memory. */
BIO_METHOD *tls_bio_method(void);

/* tls_reason.c.  With the lock held, after a call of OpenSSL that failed for good (ret of
 * SSL_get_error): sets t->why, or leaves it alone when an errno says it all.  The -errno, or 0 at
 * the end of the stream. */
ssize_t tls_reason(struct tls_channel *t, int ssl_error);
/* OpenSSL asks whether a certificate will do (ok: its own opinion): keeps what is wrong with it. */
int tls_reason_verify(int ok, X509_STORE_CTX *ctx);

#endif
