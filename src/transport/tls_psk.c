/*
 * Pre-shared keys: keys.psk has lines NAME:HEX.  They are TLS 1.3's external keys (RFC 8446, 2.2),
 * for which OpenSSL wants a made-up session; the hash is SHA-256 as nothing else is agreed.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tls_creds.h"

#define STAGE    "tls"
#define LINE     1024
#define KEY_MIN  16 /* bytes: less can be guessed */
#define KEY_MAX  256
#define KEYS_MAX 4096

static const unsigned char suite[] = {0x13, 0x01}; /* TLS_AES_128_GCM_SHA256 */

/* ---- the file ------------------------------------------------------------------------------- */

static struct tls_psk *find(const struct godwit_tls *t, const char *name, size_t len)
{
    for (size_t i = 0; i < t->npsks; i++)
        if (strlen(t->psks[i].name) == len && !memcmp(t->psks[i].name, name, len))
            return &t->psks[i];
    return NULL;
}

static int add(struct godwit_tls *t, const char *name, const char *hex)
{
    struct tls_psk *grown, *p;
    long len = 0;

    if (t->npsks == KEYS_MAX)
        return -ENOSPC;
    grown = realloc(t->psks, (t->npsks + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    t->psks = grown;
    p = &t->psks[t->npsks];
    *p = (struct tls_psk){.name = strdup(name), .key = OPENSSL_hexstr2buf(hex, &len)};
    p->key_len = (size_t)len;
    if (p->name && p->key && p->key_len >= KEY_MIN && p->key_len <= KEY_MAX) {
        t->npsks++;
        return 0;
    }
    free(p->name);
    OPENSSL_clear_free(p->key, p->key_len);
    return -EINVAL;
}

/* One line, its end cut off. */
static int take_line(struct godwit_tls *t, char *line, const char *username, struct err *e)
{
    char *colon = strrchr(line, ':');
    int ret;

    if (!colon || colon == line)
        return err_set(e, -EINVAL, STAGE, "it is not NAME:HEX");
    *colon = '\0';
    if (username && strcmp(line, username))
        return 0;
    if (find(t, line, strlen(line)))
        return err_set(e, -EEXIST, STAGE, "'%.64s' has a key already", line);
    ret = add(t, line, colon + 1);
    if (ret == -EINVAL)
        return err_set(e, ret, STAGE, "the key of '%.64s' is not %d to %d bytes in hexadecimal",
                       line, KEY_MIN, KEY_MAX);
    return ret ? err_set_errno(e, ret, STAGE, "keeping the key of '%.64s'", line) : 0;
}

static int read_keys(struct godwit_tls *t, BIO *bio, const char *dir, const char *username,
                     struct err *e)
{
    char line[LINE];
    unsigned number = 0;
    int ret = 0, n;

    while (!ret && (n = BIO_gets(bio, line, sizeof(line))) > 0) {
        number++;
        if (line[n - 1] != '\n' && n == LINE - 1)
            ret = err_set(e, -EINVAL, STAGE, "it is longer than any may be");
        line[strcspn(line, "\r\n")] = '\0';
        if (!ret && line[0] && line[0] != '#')
            ret = take_line(t, line, username, e);
    }
    OPENSSL_cleanse(line, sizeof(line));
    return ret ? err_prefix(e, "'%s/keys.psk', line %u", dir, number) : 0;
}

/* ---- OpenSSL's questions -------------------------------------------------------------------- */

static SSL_SESSION *make_session(SSL *ssl, const struct tls_psk *p)
{
    SSL_SESSION *s = SSL_SESSION_new();

    if (s && SSL_SESSION_set1_master_key(s, p->key, p->key_len) &&
        SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite)) &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static const struct godwit_tls *of(SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* The source: which key is ours.  md is given when the hash is settled already. */
static int use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
                   SSL_SESSION **out)
{
    const struct godwit_tls *t = of(ssl);

    *out = NULL;
    if (md && !EVP_MD_is_a(md, "SHA256"))
        return 1;
    *out = make_session(ssl, &t->psks[0]);
    *id = (const unsigned char *)t->psks[0].name;
    *id_len = strlen(t->psks[0].name);
    return *out != NULL;
}

/* The destination: which key is this name's.  Without one the handshake ends for want of a
 * certificate. */
static int find_key(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **out)
{
    const struct tls_psk *p = find(of(ssl), (const char *)id, id_len);

    *out = p ? make_session(ssl, p) : NULL;
    return !p || *out;
}

int tls_psk_load(struct godwit_tls *t, const char *dir, const char *username, struct err *e)
{
    BIO *bio = tls_open(dir, "keys.psk", true, e);
    int ret;

    if (!bio)
        return err_prefix(e, "the pre-shared keys");
    ret = read_keys(t, bio, dir, username, e);
    BIO_free(bio);
    if (!ret && t->npsks == 0 && username)
        ret = err_set(e, -ENOKEY, STAGE, "'%s/keys.psk' has no key for the user '%.64s'", dir,
                      username);
    else if (!ret && t->npsks == 0)
        ret = err_set(e, -ENOKEY, STAGE, "'%s/keys.psk' has no key", dir);
    if (ret)
        return ret;
    SSL_CTX_set_app_data(t->ctx, t);
    if (t->is_server)
        SSL_CTX_set_psk_find_session_callback(t->ctx, find_key);
    else
        SSL_CTX_set_psk_use_session_callback(t->ctx, use_key);
    return 0;
}

void tls_psk_free(struct godwit_tls *t)
{
    for (size_t i = 0; i < t->npsks; i++) {
        free(t->psks[i].name);
        OPENSSL_clear_free(t->psks[i].key, t->psks[i].key_len);
    }
    free(t->psks);
}
