/*
 * TLS credentials, read and judged at once: what is wrong with a file is said when it is named, not
 * in the middle of a migration.
 */
#include "transport/tls_creds.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/tls_channel.h"

#define STAGE "tls"

/* AES-128-GCM first: it is the fastest wherever the CPU has AES. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* Those whose hash is the one of pre-shared keys that come from outside of TLS (RFC 8446, 4.2.11).
 */
#define PSK_SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

/* What one end of X.509 consists of. */
struct identity {
    const char *dir;
    const char *cert_name, *key_name;
    X509_STORE *store;      /* the context's: the CAs and their revocations */
    STACK_OF(X509) * chain; /* ours, without the first */
    X509 *cert;
    EVP_PKEY *key;
};

/* OpenSSL's own words for what failed last; its queue is empty afterwards. */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return text ? text : "it is not in PEM form";
}

/* ---- files ---------------------------------------------------------------------------------- */

static int check_file(int fd, const char *path, bool is_secret, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st))
        return err_set_errno(e, -errno, STAGE, "'%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, STAGE, "'%s' is not a file", path);
    if (is_secret && (st.st_mode & S_IRWXO))
        return err_set(e, -EACCES, STAGE,
                       "'%s' is a secret, and everybody on this host may use it (mode %03o): "
                       "chmod o= it, and make a new one if somebody may have read it",
                       path, (unsigned)st.st_mode & 0777);
    return 0;
}

BIO *tls_open(const char *dir, const char *name, bool is_secret, struct err *e)
{
    char path[4096];
    BIO *bio;
    int fd;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
        err_set(e, -ENAMETOOLONG, STAGE, "the folder's path is too long");
        return NULL;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        err_set_errno(e, -errno, STAGE, "cannot read '%s'", path);
        return NULL;
    }
    if (check_file(fd, path, is_secret, e)) {
        close(fd);
        return NULL;
    }
    bio = BIO_new_fd(fd, BIO_CLOSE);
    if (!bio) {
        close(fd);
        err_set(e, -ENOMEM, STAGE, "no memory to read '%s'", path);
    }
    return bio;
}

/* Every PEM certificate of a file, at least one. NULL: see e. */
static STACK_OF(X509) * read_certs(const char *dir, const char *name, struct err *e)
{
    BIO *bio = tls_open(dir, name, false, e);
    STACK_OF(X509) *certs = bio ? sk_X509_new_null() : NULL;
    X509 *cert;

    if (!bio)
        return NULL;
    while (certs && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        if (!sk_X509_push(certs, cert))
            X509_free(cert);
    BIO_free(bio);
    if (certs && sk_X509_num(certs) > 0 &&
        ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error(); /* the end of the file */
        return certs;
    }
    err_set(e, -EINVAL, STAGE, "'%s/%s' holds no certificate that can be read: %s", dir, name,
            openssl_reason());
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}

/* ---- judging -------------------------------------------------------------------------------- */

static void print_time(const ASN1_TIME *when, char *out, size_t cap)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int n = -1;

    if (bio && ASN1_TIME_print(bio, when))
        n = BIO_read(bio, out, (int)cap - 1);
    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
}

static int check_dates(const char *dir, const char *name, const X509 *cert, struct err *e)
{
    char when[64];

    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        print_time(X509_get0_notBefore(cert), when, sizeof(when));
        return err_set(
            e, -EKEYREJECTED, STAGE,
            "the certificate '%s/%s' is not valid before %s: is this host's clock right?", dir,
            name, when);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        print_time(X509_get0_notAfter(cert), when, sizeof(when));
        return err_set(e, -EKEYEXPIRED, STAGE,
                       "the certificate '%s/%s' expired on %s: have a new one issued", dir, name,
                       when);
    }
    return 0;
}

/* The peer will judge us by the same CA: better said here than found out there. */
static int check_issuer(const struct identity *id, bool is_server, struct err *e)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int ret = -ENOMEM, why = X509_V_ERR_OUT_OF_MEM;

    if (ctx && X509_STORE_CTX_init(ctx, id->store, id->cert, id->chain)) {
        X509_STORE_CTX_set_default(ctx, is_server ? "ssl_server" : "ssl_client");
        ret = X509_verify_cert(ctx) > 0 ? 0 : -EKEYREJECTED;
        why = X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (!ret)
        return 0;
    return err_set(
        e, ret, STAGE,
        "the certificate '%s/%s' would not be accepted by who trusts '%s/ca-cert.pem': %s", id->dir,
        id->cert_name, id->dir, X509_verify_cert_error_string(why));
}

/* ---- X.509 ---------------------------------------------------------------------------------- */

static int load_cas(struct identity *id, SSL_CTX *ctx, bool is_server, struct err *e)
{
    STACK_OF(X509) *certs = read_certs(id->dir, "ca-cert.pem", e);
    int ret = 0, n = certs ? sk_X509_num(certs) : 0;

    if (!certs)
        return err_prefix(e, "the certificates of those to be trusted");
    for (int i = 0; !ret && i < n; i++) {
        X509 *ca = sk_X509_value(certs, i);

        ret = check_dates(id->dir, "ca-cert.pem", ca, e);
        if (!ret && !X509_STORE_add_cert(id->store, ca))
            ret = err_set(e, -ENOMEM, STAGE, "'%s/ca-cert.pem': %s", id->dir, openssl_reason());
        if (!ret && is_server && !SSL_CTX_add_client_CA(ctx, ca))
            ret = err_set(e, -ENOMEM, STAGE, "'%s/ca-cert.pem': %s", id->dir, openssl_reason());
    }
    sk_X509_pop_free(certs, X509_free);
    return ret;
}

/* Revocations are looked at when there is a list. */
static int load_crls(struct identity *id, struct err *e)
{
    struct err why = ERR_INIT;
    BIO *bio = tls_open(id->dir, "ca-crl.pem", false, &why);
    X509_CRL *crl;
    int n = 0;

    if (!bio && why.code == -ENOENT)
        return 0;
    if (!bio)
        return err_set(e, why.code, STAGE, "%s", why.text);
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_crl(id->store, crl);
        X509_CRL_free(crl);
    }
    BIO_free(bio);
    if (n == 0)
        return err_set(e, -EINVAL, STAGE, "'%s/ca-crl.pem' holds no revocations: %s", id->dir,
                       openssl_reason());
    ERR_clear_error();
    X509_STORE_set_flags(id->store, X509_V_FLAG_CRL_CHECK);
    return 0;
}

static int load_key(struct identity *id, struct err *e)
{
    BIO *bio = tls_open(id->dir, id->key_name, true, e);

    if (!bio)
        return e ? e->code : -EINVAL;
    /* An empty passphrase: OpenSSL would ask for one on the terminal otherwise. */
    id->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
    BIO_free(bio);
    if (!id->key)
        return err_set(e, -EINVAL, STAGE,
                       "'%s/%s' holds no private key that can be read without a passphrase: %s",
                       id->dir, id->key_name, openssl_reason());
    if (!X509_check_private_key(id->cert, id->key)) {
        ERR_clear_error();
        return err_set(e, -EKEYREJECTED, STAGE,
                       "the key '%s/%s' does not fit the certificate '%s/%s'", id->dir,
                       id->key_name, id->dir, id->cert_name);
    }
    return 0;
}

static int load_identity(struct identity *id, bool is_server, struct err *e)
{
    int ret;

    id->chain = read_certs(id->dir, id->cert_name, e);
    if (!id->chain)
        return err_prefix(e, is_server ? "the destination's certificate"
                                       : "the source's certificate, which every source needs");
    id->cert = sk_X509_shift(id->chain);
    ret = check_dates(id->dir, id->cert_name, id->cert, e);
    if (!ret)
        ret = load_key(id, e);
    return ret ? ret : check_issuer(id, is_server, e);
}

static int load_x509(struct godwit_tls *t, const char *dir, struct err *e)
{
    struct identity id = {
        .dir = dir,
        .cert_name = t->is_server ? "server-cert.pem" : "client-cert.pem",
        .key_name = t->is_server ? "server-key.pem" : "client-key.pem",
        .store = SSL_CTX_get_cert_store(t->ctx),
    };
    int ret = load_cas(&id, t->ctx, t->is_server, e);

    if (!ret)
        ret = load_crls(&id, e);
    if (!ret)
        ret = load_identity(&id, t->is_server, e);
    if (!ret && !SSL_CTX_use_cert_and_key(t->ctx, id.cert, id.key, id.chain, 1))
        ret = err_set(e, -EINVAL, STAGE, "'%s/%s': %s", dir, id.cert_name, openssl_reason());
    X509_free(id.cert);
    EVP_PKEY_free(id.key);
    sk_X509_pop_free(id.chain, X509_free);
    return ret;
}

/* ---- both ----------------------------------------------------------------------------------- */

static int make_context(struct godwit_tls *t, struct err *e)
{
    bool psk = t->kind == GODWIT_TLS_PSK;

    t->bio = tls_bio_method();
    t->ctx = SSL_CTX_new(t->is_server ? TLS_server_method() : TLS_client_method());
    if (!t->bio || !t->ctx || !SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(t->ctx, psk ? PSK_SUITES : SUITES))
        return err_set(e, -ENOMEM, STAGE, "OpenSSL cannot do TLS 1.3: %s", openssl_reason());
    /* No resumption: each channel proves itself, and nothing is sent that nobody asked for. */
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(t->ctx, 0);
    SSL_CTX_set_options(t->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET |
                                    SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Several records a system call. */
    SSL_CTX_set_read_ahead(t->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(t->ctx, TLS_READ_BUFFER);
    return 0;
}

static int load(struct godwit_tls *t, const struct godwit_tls_config *config, struct err *e)
{
    const char *username = config->username ? config->username : "qemu";

    if (t->kind == GODWIT_TLS_PSK)
        return tls_psk_load(t, config->dir, t->is_server ? NULL : username, e);
    return load_x509(t, config->dir, e);
}

int godwit_tls_new(const struct godwit_tls_config *config, struct godwit_tls **out, struct err *e)
{
    struct err own = ERR_INIT;
    struct godwit_tls *t = calloc(1, sizeof(*t));
    int ret;

    if (!e)
        e = &own; /* the loaders look at its code */
    if (!t)
        return err_set(e, -ENOMEM, STAGE, "no memory for TLS credentials");
    t->kind = config->kind;
    t->is_server = config->is_server;
    t->verify_peer = config->verify_peer;
    ret = make_context(t, e);
    if (!ret)
        ret = load(t, config, e);
    if (ret)
        godwit_tls_free(t);
    else
        *out = t;
    return ret;
}

void godwit_tls_free(struct godwit_tls *t)
{
    if (!t)
        return;
    tls_psk_free(t);
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->bio);
    free(t);
}
