/*
 * Why a TLS channel failed, in words: which side did not trust which, and what to do.  A person who
 * reads them has two hosts, two folders of credentials and one line of text.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "transport/tls_channel.h"

#define STAGE "tls"
#define NAMES 512

/* How SSL_R_* codes say that the peer sent an alert. */
#define ALERT_BASE 1000

static const char *them(const struct tls_channel *t)
{
    return t->tls->is_server ? "the source" : "the destination";
}

/* ---- the peer's certificate ----------------------------------------------------------------- */

static void add_name(char *out, size_t cap, const char *name)
{
    size_t len = strlen(out);

    snprintf(out + len, cap - len, "%s%s", len ? ", " : "", name);
}

/* A stranger chose these bytes: what is no plain character becomes '?'. */
static void tame(char *s)
{
    for (; *s; s++)
        if (*s < 0x20 || *s > 0x7e)
            *s = '?';
}

static void add_general_name(const GENERAL_NAME *g, char *out, size_t cap)
{
    char text[256];
    const ASN1_STRING *s;

    if (g->type == GEN_DNS) {
        s = g->d.dNSName;
        snprintf(text, sizeof(text), "%.*s", ASN1_STRING_length(s),
                 (const char *)ASN1_STRING_get0_data(s));
        add_name(out, cap, text);
    } else if (g->type == GEN_IPADD) {
        int family = ASN1_STRING_length(g->d.iPAddress) == 4 ? AF_INET : AF_INET6;

        if (family == AF_INET6 && ASN1_STRING_length(g->d.iPAddress) != 16)
            return;
        if (inet_ntop(family, ASN1_STRING_get0_data(g->d.iPAddress), text, sizeof(text)))
            add_name(out, cap, text);
    }
}

/* For whom a certificate is: its alternative names, or else its subject. */
static void list_names(const X509 *cert, char *out, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    char text[256];

    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        add_general_name(sk_GENERAL_NAME_value(names, i), out, cap);
    GENERAL_NAMES_free(names);
    if (!out[0] && X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, text,
                                             sizeof(text)) > 0)
        add_name(out, cap, text);
    tame(out);
}

int tls_reason_verify(int ok, X509_STORE_CTX *ctx)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_channel *t = SSL_get_app_data(ssl);
    const X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    int error = X509_STORE_CTX_get_error(ctx);
    char names[NAMES] = "?";

    if (ok || t->why.code)
        return ok;
    if (cert)
        list_names(cert, names, sizeof(names));
    if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)
        err_set(&t->why, -EACCES, STAGE,
                "the destination's certificate is for %s, not %s: migrate to a name it has, or set "
                "tls-hostname",
                names, t->host);
    else
        err_set(&t->why, -EACCES, STAGE, "%s's certificate (%s) is refused: %s", them(t), names,
                X509_verify_cert_error_string(error));
    return 0;
}

/* ---- what the peer said --------------------------------------------------------------------- */

struct alert {
    int number; /* RFC 8446, 6 */
    const char *text;
};

static const struct alert x509_alerts[] = {
    {SSL_AD_BAD_CERTIFICATE,         "refused our certificate: it is not valid yet, or damaged"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "refused our certificate: it is not for this purpose"     },
    {SSL_AD_CERTIFICATE_REVOKED,     "refused our certificate: it is revoked"                  },
    {SSL_AD_CERTIFICATE_EXPIRED,     "refused our certificate: it has expired (by its clock)"  },
    {SSL_AD_CERTIFICATE_UNKNOWN,     "refused our certificate, and does not say why"           },
    {SSL_AD_UNKNOWN_CA,              "refused our certificate: its ca-cert.pem does not know who "
                        "issued it"                                     },
    {SSL_AD_CERTIFICATE_REQUIRED,    "wants a certificate of us, and we have none"             },
    {SSL_AD_HANDSHAKE_FAILURE,       "has no kind of TLS in common with us: does it use pre-shared "
                               "keys (tls-creds-psk)?"           },
    {0,                              NULL                                                      },
};

static const struct alert psk_alerts[] = {
    {SSL_AD_HANDSHAKE_FAILURE,    "has no key for our user name, or uses certificates "
                               "(tls-creds-x509)"           },
    {SSL_AD_UNKNOWN_PSK_IDENTITY, "has no key for our user name"                          },
    {SSL_AD_ILLEGAL_PARAMETER,    "has another key for our user name"                     },
    {SSL_AD_DECRYPT_ERROR,        "has another key for our user name"                     },
    {SSL_AD_UNKNOWN_CA,           "refused us: does it use certificates (tls-creds-x509)?"},
    {0,                           NULL                                                    },
};

static ssize_t heard_alert(struct tls_channel *t, int number)
{
    const struct alert *a = t->tls->kind == GODWIT_TLS_PSK ? psk_alerts : x509_alerts;

    while (a->text && a->number != number)
        a++;
    if (a->text)
        return err_set(&t->why, -EACCES, STAGE, "%s %s", them(t), a->text);
    return err_set(&t->why, -EPROTO, STAGE, "%s ended TLS with the alert '%s'", them(t),
                   SSL_alert_desc_string_long(number));
}

/* ---- what we think of it -------------------------------------------------------------------- */

static ssize_t not_tls(struct tls_channel *t)
{
    return err_set(&t->why, -EPROTONOSUPPORT, STAGE,
                   "%s does not speak TLS: give it tls-creds, or take them away here", them(t));
}

static ssize_t our_verdict(struct tls_channel *t, unsigned long code)
{
    const char *text = ERR_reason_error_string(code);
    int reason = ERR_GET_REASON(code);

    if (t->heard && t->first != SSL3_RT_HANDSHAKE && t->first != SSL3_RT_ALERT)
        return not_tls(t);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return err_set(&t->why, -EACCES, STAGE, "%s has no certificate to show", them(t));
    if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
        return err_set(&t->why, -EACCES, STAGE, "%s has another key for its user name", them(t));
    if (t->tls->kind == GODWIT_TLS_PSK && t->tls->is_server && !t->established)
        return err_set(&t->why, -EACCES, STAGE,
                       "%s named no user that keys.psk knows, or uses certificates", them(t));
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_PROTOCOLS_AVAILABLE)
        return err_set(&t->why, -EPROTO, STAGE, "%s speaks an older TLS than 1.3", them(t));
    return err_set(&t->why, -EPROTO, STAGE, "TLS with %s: %s", t->base.peer,
                   text ? text : "OpenSSL does not say what is wrong");
}

/* The connection ended or broke. Before the peer said a word that most likely means one thing. */
static ssize_t cut(struct tls_channel *t)
{
    ssize_t ret = t->io_error;

    if (ret == -ECANCELED || t->tls->is_server)
        return ret;
    if (!t->heard && (ret == 0 || ret == -EPIPE || ret == -ECONNRESET))
        return err_set(&t->why, -EPROTONOSUPPORT, STAGE,
                       "%s hung up at once when we began TLS: it does not speak it; give it "
                       "tls-creds, or take them away here",
                       them(t));
    return ret;
}

/* A write finds the connection closed: the peer may have said why before. */
static void look_for_alert(struct tls_channel *t)
{
    unsigned long code;
    size_t got;
    char c;

    if (t->io_error != -EPIPE && t->io_error != -ECONNRESET)
        return;
    ERR_clear_error();
    if (SSL_peek_ex(t->ssl, &c, 1, &got) == 1)
        return;
    code = ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > ALERT_BASE)
        heard_alert(t, ERR_GET_REASON(code) - ALERT_BASE);
}

ssize_t tls_reason(struct tls_channel *t, int ssl_error)
{
    unsigned long code = ERR_peek_error();
    bool is_ssl = ssl_error == SSL_ERROR_SSL && ERR_GET_LIB(code) == ERR_LIB_SSL;
    ssize_t ret;

    if (t->why.code)
        ret = t->why.code; /* tls_reason_verify, or an earlier call */
    else if (is_ssl && ERR_GET_REASON(code) > ALERT_BASE)
        ret = heard_alert(t, ERR_GET_REASON(code) - ALERT_BASE);
    else if (t->io_error == 0 && !t->ended && ssl_error == SSL_ERROR_SSL)
        ret = our_verdict(t, code);
    else {
        if (t->io_error)
            look_for_alert(t);
        ret = t->why.code ? t->why.code : cut(t);
    }
    ERR_clear_error();
    return ret;
}
