/* Channels that are TLS over another channel: see tls.h for how they work. */
#include "transport/tls_channel.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "transport/resolve.h"
#include "transport/tls.h"

#define STAGE "tls"
/* The most one call moves: the lock is held meanwhile. */
#define CALL_MAX (16 * TLS_RECORD)

static const struct channel_ops tls_ops;

static struct tls_channel *to_tls(const struct channel *c)
{
    return (struct tls_channel *)(uintptr_t)c; /* base comes first */
}
_Static_assert(offsetof(struct tls_channel, base) == 0, "to_tls casts");

/* ---- the channel below, as OpenSSL sees it -------------------------------------------------- */

static int below_move(BIO *bio, char *data, int len, bool in)
{
    struct tls_channel *t = BIO_get_data(bio);
    struct iovec iov = {.iov_base = data, .iov_len = (size_t)len};
    const struct channel_ops *ops = t->below->ops;
    ssize_t n = in ? ops->readv(t->below, &iov, 1) : ops->writev(t->below, &iov, 1);

    BIO_clear_retry_flags(bio);
    if (n > 0 && in && !t->heard) {
        t->heard = true;
        t->first = (unsigned char)data[0];
    }
    if (n == 0 && in)
        t->ended = true;
    if (n >= 0)
        return (int)n;
    if (n == -EAGAIN && in)
        BIO_set_retry_read(bio);
    else if (n == -EAGAIN)
        BIO_set_retry_write(bio);
    else
        t->io_error = n;
    return -1;
}

static int bio_read(BIO *bio, char *data, int len)
{
    return below_move(bio, data, len, true);
}

static int bio_write(BIO *bio, const char *data, int len)
{
    return below_move(bio, (char *)(uintptr_t)data, len, false);
}

static long bio_ctrl(BIO *bio, int what, long num, void *ptr)
{
    const struct tls_channel *t = BIO_get_data(bio);

    if (what == BIO_CTRL_EOF)
        return t->ended;
    return what == BIO_CTRL_FLUSH; /* nothing is held back */
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "channel");

    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
        BIO_meth_set_ctrl(m, bio_ctrl))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* ---- moving bytes --------------------------------------------------------------------------- */

/* With the lock held, after a call that returned ret: -EAGAIN, or why it will not work. */
static ssize_t failed(struct tls_channel *t, int ret)
{
    int error = SSL_get_error(t->ssl, ret);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    return tls_reason(t, error);
}

/* With the lock held. What the peer is, is known from the first byte it sends on. */
static ssize_t read_some(struct tls_channel *t, const struct iovec *iov)
{
    size_t got = 0;
    int ret = SSL_read_ex(t->ssl, iov->iov_base, iov->iov_len, &got);

    if (ret != 1)
        return failed(t, ret);
    t->established = true;
    return (ssize_t)got;
}

static ssize_t tls_readv(struct channel *c, const struct iovec *iov, int n)
{
    struct tls_channel *t = to_tls(c);
    ssize_t ret = -EAGAIN;
    size_t total = 0, at = 0;
    int i = 0;

    pthread_mutex_lock(&t->lock);
    ERR_clear_error();
    while (i < n && total < CALL_MAX) {
        struct iovec rest = {.iov_base = (uint8_t *)iov[i].iov_base + at,
                             .iov_len = iov[i].iov_len - at};

        ret = rest.iov_len ? read_some(t, &rest) : 0;
        if (rest.iov_len && ret <= 0)
            break;
        total += (size_t)ret;
        at += (size_t)ret;
        if (at == iov[i].iov_len) {
            i++;
            at = 0;
        }
    }
    /* An end or a failure behind these bytes may have used up what the descriptor had to say. */
    c->more = total > 0 && (ret > 0 ? SSL_has_pending(t->ssl) : ret != -EAGAIN);
    pthread_mutex_unlock(&t->lock);
    if (atomic_load(&t->cancelled))
        return -ECANCELED;
    return total ? (ssize_t)total : ret;
}

/* What becomes one record: a long piece as it is, short ones together. */
static const void *next_record(struct tls_channel *t, const struct iovec *iov, int n, size_t at,
                               size_t *len)
{
    size_t room = TLS_RECORD;

    if (iov->iov_len - at >= TLS_RECORD || n == 1) {
        *len = iov->iov_len - at < TLS_RECORD ? iov->iov_len - at : TLS_RECORD;
        return (uint8_t *)iov->iov_base + at;
    }
    for (; n > 0 && room > 0; n--, iov++, at = 0) {
        size_t part = iov->iov_len - at < room ? iov->iov_len - at : room;

        memcpy(t->gather + TLS_RECORD - room, (uint8_t *)iov->iov_base + at, part);
        room -= part;
    }
    *len = TLS_RECORD - room;
    return t->gather;
}

/* A record that did not go is offered again: the same bytes, as the caller's pieces are the same.
 * (Guest memory among them may have changed: the record is sealed by then, and is not read anew.)
 */
static ssize_t tls_writev(struct channel *c, const struct iovec *iov, int n)
{
    struct tls_channel *t = to_tls(c);
    size_t total = 0, at = 0, len, done;
    ssize_t ret = 0;

    pthread_mutex_lock(&t->lock);
    ERR_clear_error();
    while (n > 0 && total < CALL_MAX) {
        const void *data = next_record(t, iov, n, at, &len);
        int ok = len ? SSL_write_ex(t->ssl, data, len, &done) : 1;

        if (ok != 1) {
            ret = failed(t, ok);
            break;
        }
        total += len ? done : 0;
        for (at += len ? done : 0; n > 0 && at >= iov->iov_len; n--, iov++)
            at -= iov->iov_len;
    }
    pthread_mutex_unlock(&t->lock);
    if (atomic_load(&t->cancelled))
        return -ECANCELED;
    return total ? (ssize_t)total : ret == 0 ? -EPIPE : ret;
}

static int tls_why(struct channel *c, struct err *e)
{
    struct tls_channel *t = to_tls(c);
    int code;

    pthread_mutex_lock(&t->lock);
    code = atomic_load(&t->cancelled) ? 0 : t->why.code;
    if (code && e)
        *e = t->why;
    pthread_mutex_unlock(&t->lock);
    return code;
}

static void tls_set_timeout(struct channel *c)
{
    channel_set_timeout(to_tls(c)->below, c->timeout_ms);
}

static void tls_shutdown(struct channel *c)
{
    struct tls_channel *t = to_tls(c);

    atomic_store(&t->cancelled, true);
    channel_shutdown(t->below);
}

static void tls_free(struct channel *c)
{
    channel_free(channel_tls_strip(c));
}

static const struct channel_ops tls_ops = {
    .name = "tls",
    .readv = tls_readv,
    .writev = tls_writev,
    .why = tls_why,
    .set_timeout = tls_set_timeout,
    .shutdown = tls_shutdown,
    .free = tls_free,
};

/* ---- beginning and end ---------------------------------------------------------------------- */

struct channel *channel_tls_strip(struct channel *c)
{
    struct tls_channel *t = to_tls(c);
    struct channel *below = t->below;

    SSL_free(t->ssl);
    ERR_clear_error();
    pthread_mutex_destroy(&t->lock);
    free(t->gather);
    free(t);
    return below;
}

bool channel_tls_is_plain(const struct channel *c)
{
    const struct tls_channel *t = to_tls(c);

    return c->ops == &tls_ops && t->heard && t->first != SSL3_RT_HANDSHAKE;
}

/* The client checks the name on the certificate; who must prove itself follows from the kind. */
static bool set_expectations(struct tls_channel *t)
{
    X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);
    bool x509 = t->tls->kind == GODWIT_TLS_X509;
    int mode = x509 && !t->tls->verify_peer ? SSL_VERIFY_NONE
                                            : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

    /* With a pre-shared key the server has no certificate; a client accepts none in its place. */
    if (!x509 && t->tls->is_server)
        mode = SSL_VERIFY_NONE;
    SSL_set_verify(t->ssl, mode, tls_reason_verify);
    if (!x509 || t->tls->is_server || mode == SSL_VERIFY_NONE)
        return true;
    if (X509_VERIFY_PARAM_set1_ip_asc(p, t->host))
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(p, t->host, 0) && SSL_set_tlsext_host_name(t->ssl, t->host);
}

static bool make_ssl(struct tls_channel *t)
{
    BIO *bio = BIO_new(t->tls->bio);

    t->ssl = bio ? SSL_new(t->tls->ctx) : NULL;
    if (!t->ssl) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    if (t->tls->is_server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    return set_expectations(t);
}

static int wrap(struct channel *below, const struct godwit_tls *tls, const char *host,
                struct tls_channel **out, struct err *e)
{
    struct tls_channel *t = calloc(1, sizeof(*t));

    if (!t) {
        channel_free(below);
        return err_set(e, -ENOMEM, STAGE, "no memory for a TLS channel");
    }
    t->base.ops = &tls_ops;
    t->base.fd = below->fd;
    t->base.timeout_ms = below->timeout_ms;
    memcpy(t->base.peer, below->peer, sizeof(t->base.peer));
    snprintf(t->host, sizeof(t->host), "%s", host ? host : "");
    t->below = below;
    t->tls = tls;
    pthread_mutex_init(&t->lock, NULL);
    t->gather = malloc(TLS_RECORD);
    if (!t->gather || !make_ssl(t)) {
        channel_free(&t->base);
        return err_set(e, -ENOMEM, STAGE, "no memory for a TLS channel");
    }
    *out = t;
    return 0;
}

int channel_tls_server(struct channel *below, const struct godwit_tls *tls, struct channel **out,
                       struct err *e)
{
    struct tls_channel *t;
    int ret = wrap(below, tls, NULL, &t, e);

    if (!ret)
        *out = &t->base;
    return ret;
}

/* ---- the client's handshake ----------------------------------------------------------------- */

/* 1: done. 0: it waits for *events. */
static ssize_t shake(struct tls_channel *t, short *events)
{
    ssize_t ret = 1;
    int ok;

    pthread_mutex_lock(&t->lock);
    ERR_clear_error();
    ok = SSL_do_handshake(t->ssl);
    if (ok != 1) {
        *events = SSL_want_write(t->ssl) ? POLLOUT : POLLIN;
        ret = failed(t, ok);
        ret = ret == -EAGAIN ? 0 : ret == 0 ? -EPIPE : ret;
    }
    pthread_mutex_unlock(&t->lock);
    return ret;
}

/* Waits a little: whoever cancels is heard within CANCEL_POLL_MS. */
static ssize_t wait_a_little(const struct channel *c, short events, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    uint64_t now = clock_now_ns(), left = CANCEL_POLL_MS * NS_PER_MS;

    if (deadline_ns && now >= deadline_ns)
        return -ETIMEDOUT;
    if (deadline_ns && deadline_ns - now < left)
        left = deadline_ns - now;
    return poll(&p, 1, (int)((left + NS_PER_MS - 1) / NS_PER_MS)) < 0 && errno != EINTR ? -errno
                                                                                        : 0;
}

static int say_failed(struct tls_channel *t, ssize_t ret, uint32_t timeout_ms, struct err *e)
{
    if (ret == -ECANCELED)
        return err_set(e, -ECANCELED, STAGE, "canceled");
    if (ret == -ETIMEDOUT)
        return err_set(e, -ETIMEDOUT, STAGE,
                       "%s took the connection but did not finish the TLS handshake within %u ms%s",
                       t->base.peer, timeout_ms,
                       t->heard ? "" : ": it said nothing, so it may not speak TLS");
    if (t->why.code) {
        if (e)
            *e = t->why;
        return t->why.code;
    }
    return err_set_errno(e, (int)ret, STAGE, "TLS handshake with %s", t->base.peer);
}

int channel_tls_client(struct channel *below, const struct godwit_tls *tls, const char *host,
                       uint32_t timeout_ms, const atomic_bool *cancel, struct channel **out,
                       struct err *e)
{
    uint64_t deadline = timeout_ms ? clock_now_ns() + timeout_ms * NS_PER_MS : 0;
    struct tls_channel *t;
    ssize_t ret = wrap(below, tls, host, &t, e);
    short events = 0;

    if (ret)
        return (int)ret;
    while ((ret = shake(t, &events)) == 0) {
        ret =
            cancel && atomic_load(cancel) ? -ECANCELED : wait_a_little(&t->base, events, deadline);
        if (ret)
            break;
    }
    if (ret == 1) {
        *out = &t->base;
        return 0;
    }
    ret = say_failed(t, ret, timeout_ms, e);
    channel_free(&t->base);
    return (int)ret;
}
