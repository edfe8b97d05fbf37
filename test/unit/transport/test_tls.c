/* TLS channels, with credentials that test/tls-certs makes: who is let in, who is not, and what
 * either side says about it; then what a channel must do whatever carries it. */
#include "transport/tls.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

#define MIB (1U << 20)

static char certs[64];
static uint64_t short_ends_ns; /* when DIR/short has expired for sure */

static struct godwit_tls *load(enum godwit_tls_kind kind, bool is_server, const char *dir,
                               struct err *e)
{
    char path[128];
    struct godwit_tls_config config = {
        .kind = kind, .dir = path, .is_server = is_server, .verify_peer = true};
    struct godwit_tls *tls = NULL;

    snprintf(path, sizeof(path), "%s/%s", certs, dir);
    return godwit_tls_new(&config, &tls, e) ? NULL : tls;
}

static struct godwit_tls *load_good(enum godwit_tls_kind kind, bool is_server, const char *dir)
{
    struct err e = ERR_INIT;
    struct godwit_tls *tls = load(kind, is_server, dir, &e);

    if (!tls)
        fail_msg("%s: %s", dir, e.text);
    return tls;
}

/* ---- credentials ---------------------------------------------------------------------------- */

static void expect_bad(enum godwit_tls_kind kind, bool is_server, const char *dir, int code,
                       const char *text)
{
    struct err e = ERR_INIT;

    assert_null(load(kind, is_server, dir, &e));
    if (e.code != code || !strstr(e.text, text))
        fail_msg("%s: %d '%s', expected %d '%s'", dir, e.code, e.text, code, text);
}

static void test_bad_credentials(void **state)
{
    const enum godwit_tls_kind x = GODWIT_TLS_X509, p = GODWIT_TLS_PSK;

    expect_bad(x, true, "nowhere", -ENOENT, "ca-cert.pem': No such file");
    expect_bad(x, false, "no-client", -ENOENT, "client-cert.pem': No such file");
    expect_bad(x, true, "expired", -EKEYEXPIRED, "server-cert.pem' expired on ");
    expect_bad(x, false, "future", -EKEYREJECTED, "is not valid before ");
    expect_bad(x, true, "wrong-key", -EKEYREJECTED, "does not fit the certificate");
    expect_bad(x, false, "open-key", -EACCES, "everybody on this host may use it (mode 644)");
    expect_bad(x, true, "swapped", -EKEYREJECTED, "would not be accepted");
    expect_bad(x, false, "revoked", -EKEYREJECTED, "revoked");
    expect_bad(x, true, "psk", -ENOENT, "ca-cert.pem");
    expect_bad(p, true, "good", -ENOENT, "keys.psk': No such file");
    expect_bad(p, false, "psk-unknown", -ENOKEY, "no key for the user 'qemu'");
}

static void write_psk(const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/psk-odd", certs);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/psk-odd/keys.psk", certs);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
}

static void test_odd_keys(void **state)
{
    const enum godwit_tls_kind p = GODWIT_TLS_PSK;

    write_psk("# nobody\n\n");
    expect_bad(p, true, "psk-odd", -ENOKEY, "has no key");
    write_psk("qemu\n");
    expect_bad(p, true, "psk-odd", -EINVAL, "line 1: it is not NAME:HEX");
    write_psk("\nqemu:0011\n");
    expect_bad(p, true, "psk-odd", -EINVAL, "line 2: the key of 'qemu' is not 16 to 256 bytes");
    write_psk("qemu:zz112233445566778899aabbccddeeff\n");
    expect_bad(p, true, "psk-odd", -EINVAL, "hexadecimal");
    write_psk("a:00112233445566778899aabbccddeeff\na:00112233445566778899aabbccddeeff\n");
    expect_bad(p, true, "psk-odd", -EEXIST, "line 2: 'a' has a key already");
    write_psk("a:00112233445566778899aabbccddeeff\r\nb:00112233445566778899aabbccddeeff");
    godwit_tls_free(load_good(p, true, "psk-odd"));
}

/* ---- two ends ------------------------------------------------------------------------------- */

struct side {
    struct godwit_tls *tls;
    struct channel *c;
    int fd;
    int ret;
    struct err e;
    bool was_plain;
};

struct meeting {
    struct side client, server;
    pthread_t thread;
};

/* What the door does with whom it turns away. */
static void turn_away(struct channel *c)
{
    char waste[256];
    struct channel *below = channel_tls_strip(c);

    shutdown(below->fd, SHUT_WR);
    channel_set_timeout(below, 2000);
    while (!channel_read(below, waste, 1, NULL))
        continue;
    channel_free(below);
}

static void *serve(void *arg)
{
    struct side *s = arg;
    char text[4];

    s->ret = channel_tls_server(channel_from_fd(s->fd, "client"), s->tls, &s->c, &s->e);
    if (s->ret)
        return NULL;
    channel_set_timeout(s->c, 5000);
    s->ret = channel_read(s->c, text, 4, &s->e);
    if (!s->ret)
        s->ret = channel_write(s->c, text, 4, &s->e);
    if (!s->ret)
        return NULL;
    s->was_plain = channel_tls_is_plain(s->c);
    turn_away(s->c);
    s->c = NULL;
    return NULL;
}

static void call(struct side *s, const char *host)
{
    char text[4];

    s->ret = channel_tls_client(channel_from_fd(s->fd, "server"), s->tls, host, 5000, NULL, &s->c,
                                &s->e);
    if (s->ret)
        return;
    channel_set_timeout(s->c, 5000);
    s->ret = channel_write(s->c, "ping", 4, &s->e);
    if (!s->ret)
        s->ret = channel_read(s->c, text, 4, &s->e);
    if (!s->ret)
        assert_memory_equal(text, "ping", 4);
}

static void meet(struct meeting *m, enum godwit_tls_kind client_kind, const char *client,
                 enum godwit_tls_kind server_kind, const char *server, const char *host)
{
    int fds[2];

    memset(m, 0, sizeof(*m));
    m->client.tls = load_good(client_kind, false, client);
    m->server.tls = load_good(server_kind, true, server);
    if (short_ends_ns && (!strcmp(client, "short") || !strcmp(server, "short")))
        while (clock_realtime_ns() < short_ends_ns)
            clock_sleep_ns(20 * NS_PER_MS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    m->client.fd = fds[0];
    m->server.fd = fds[1];
    assert_int_equal(pthread_create(&m->thread, NULL, serve, &m->server), 0);
    call(&m->client, host);
    if (m->client.ret) { /* as a caller that gives up */
        channel_free(m->client.c);
        m->client.c = NULL;
    }
    pthread_join(m->thread, NULL);
}

static void part(struct meeting *m)
{
    channel_free(m->client.c);
    channel_free(m->server.c);
    godwit_tls_free(m->client.tls);
    godwit_tls_free(m->server.tls);
}

static void expect_side(const char *who, const struct side *s, int code, const char *text)
{
    if (s->ret != code || (text && !strstr(s->e.text, text)))
        fail_msg("%s: %d '%s', expected %d '%s'", who, s->ret, s->e.text, code, text ? text : "");
}

static void expect(enum godwit_tls_kind kind, const char *client, const char *server,
                   const char *host, int client_code, const char *client_text, int server_code,
                   const char *server_text)
{
    struct meeting m;

    meet(&m, kind, client, kind, server, host);
    expect_side("client", &m.client, client_code, client_text);
    expect_side("server", &m.server, server_code, server_text);
    part(&m);
}

static void test_certificates(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1", "alpha.example"};

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        expect(GODWIT_TLS_X509, "good", "good", hosts[i], 0, NULL, 0, NULL);
}

static void test_other_host(void **state)
{
    expect(GODWIT_TLS_X509, "good", "other-host", "localhost", -EACCES,
           "the destination's certificate is for beta.example, not localhost", -EACCES,
           "the source refused our certificate");
    expect(GODWIT_TLS_X509, "good", "good", "127.0.0.2", -EACCES,
           "is for localhost, alpha.example, 127.0.0.1, ::1, not 127.0.0.2", -EACCES,
           NULL);
}

static void test_other_ca(void **state)
{
    /* The client judges first, and tells the server. */
    expect(GODWIT_TLS_X509, "good", "other-ca", "localhost", -EACCES,
           "the destination's certificate (localhost, alpha.example", -EACCES,
           "its ca-cert.pem does not know who issued it");
}

/* The server alone refuses: the client trusts both CAs. */
static void test_client_of_other_ca(void **state)
{
    char command[512];

    snprintf(command, sizeof(command),
             "cd %s && rm -rf trusting && cp -pr other-ca trusting && "
             "cat good/ca-cert.pem >> trusting/ca-cert.pem",
             certs);
    assert_int_equal(system(command), 0);
    expect(GODWIT_TLS_X509, "trusting", "good", "localhost", -EACCES,
           "the destination refused our certificate: its ca-cert.pem does not know who issued it",
           -EACCES, "the source's certificate (source.example) is refused: unable to get local issuer");
}

static void test_expired_meanwhile(void **state)
{
    expect(GODWIT_TLS_X509, "short", "good", "localhost", -EACCES,
           "the destination refused our certificate: it has expired", -EACCES,
           "certificate has expired");
}

static void test_revoked(void **state)
{
    expect(GODWIT_TLS_X509, "good", "revoked", "localhost", -EACCES,
           "the destination refused our certificate: it is revoked", -EACCES, "revoked");
}

static void test_psk(void **state)
{
    const enum godwit_tls_kind p = GODWIT_TLS_PSK;

    expect(p, "psk", "psk", NULL, 0, NULL, 0, NULL);
    expect(p, "psk-wrong", "psk", NULL, -EACCES, "has another key for our user name", -EACCES,
           "has another key for its user name");
    expect(p, "psk", "psk-unknown", NULL, -EACCES, "has no key for our user name", -EACCES,
           "named no user that keys.psk knows");
}

static void test_mixed_kinds(void **state)
{
    struct meeting m;

    meet(&m, GODWIT_TLS_PSK, "psk", GODWIT_TLS_X509, "good", "localhost");
    assert_int_equal(m.client.ret, -EACCES);
    assert_true(m.server.ret < 0);
    part(&m);
    meet(&m, GODWIT_TLS_X509, "good", GODWIT_TLS_PSK, "psk", "localhost");
    expect_side("client", &m.client, -EACCES, "pre-shared keys");
    assert_true(m.server.ret < 0);
    part(&m);
}

/* ---- who speaks no TLS ---------------------------------------------------------------------- */

static void test_plain_client(void **state)
{
    struct side server = {.tls = load_good(GODWIT_TLS_X509, true, "good")};
    struct channel *plain;
    pthread_t thread;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    server.fd = fds[1];
    plain = channel_from_fd(fds[0], "server");
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    assert_int_equal(channel_write(plain, "hello there, anyone?", 20, NULL), 0);
    channel_shutdown(plain);
    pthread_join(thread, NULL);
    expect_side("server", &server, -EPROTONOSUPPORT, "the source does not speak TLS");
    assert_true(server.was_plain);
    channel_free(plain);
    godwit_tls_free(server.tls);
}

static void plain_server(const char *says, int code, const char *text)
{
    struct side client = {.tls = load_good(GODWIT_TLS_X509, false, "good")};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    client.fd = fds[0];
    if (says)
        assert_int_equal(write(fds[1], says, strlen(says)), (ssize_t)strlen(says));
    else
        close(fds[1]);
    call(&client, "localhost");
    expect_side("client", &client, code, text);
    if (says)
        close(fds[1]);
    godwit_tls_free(client.tls);
}

static void test_plain_server(void **state)
{
    plain_server("SSH-2.0-OpenSSH_9.2p1\r\n", -EPROTONOSUPPORT,
                 "the destination does not speak TLS");
    plain_server(NULL, -EPROTONOSUPPORT, "the destination hung up at once when we began TLS");
}

static void test_silent_server(void **state)
{
    struct godwit_tls *tls = load_good(GODWIT_TLS_X509, false, "good");
    struct err e = ERR_INIT;
    struct channel *c;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(
        channel_tls_client(channel_from_fd(fds[0], "server"), tls, "localhost", 120, NULL, &c, &e),
        -ETIMEDOUT);
    assert_non_null(strstr(e.text, "within 120 ms: it said nothing"));
    close(fds[1]);
    godwit_tls_free(tls);
}

static void *cancel_soon(void *flag)
{
    clock_sleep_ns(50 * NS_PER_MS);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void test_canceled_handshake(void **state)
{
    struct godwit_tls *tls = load_good(GODWIT_TLS_X509, false, "good");
    atomic_bool cancel = false;
    struct channel *c;
    pthread_t thread;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_int_equal(channel_tls_client(channel_from_fd(fds[0], "server"), tls, "localhost", 0,
                                        &cancel, &c, NULL),
                     -ECANCELED);
    pthread_join(thread, NULL);
    close(fds[1]);
    godwit_tls_free(tls);
}

/* The connection ends after every number of bytes that the server may have seen. */
static void test_cut_handshake(void **state)
{
    struct godwit_tls *tls = load_good(GODWIT_TLS_X509, true, "good");
    static const uint8_t start[] = {0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3};

    for (size_t len = 0; len <= sizeof(start); len++) {
        struct side server = {.tls = tls};
        pthread_t thread;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        server.fd = fds[1];
        assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
        assert_int_equal(write(fds[0], start, len), (ssize_t)len);
        close(fds[0]);
        pthread_join(thread, NULL);
        assert_int_equal(server.ret, -EPIPE);
    }
    godwit_tls_free(tls);
}

/* ---- as a channel --------------------------------------------------------------------------- */

/* Two ends that have met; each is used by one reader and one writer. */
static void setup_pair(struct meeting *m)
{
    meet(m, GODWIT_TLS_PSK, "psk", GODWIT_TLS_PSK, "psk", NULL);
    expect_side("client", &m->client, 0, NULL);
    expect_side("server", &m->server, 0, NULL);
}

struct flow {
    struct channel *c;
    size_t len;
    unsigned seed;
    int ret;
};

static uint8_t pattern(size_t i, unsigned seed)
{
    return (uint8_t)((i * 7 + i / 251) ^ seed);
}

/* Pieces of all sizes, as a lane sends headers and pages. */
static void *send_flow(void *arg)
{
    struct flow *f = arg;
    uint8_t *data = malloc(f->len);
    size_t at = 0, step = 1;

    for (size_t i = 0; i < f->len; i++)
        data[i] = pattern(i, f->seed);
    while (at < f->len && !f->ret) {
        struct iovec iov[40];
        int n = 0;

        for (; n < 40 && at < f->len; n++, step = step * 3 % 40009) {
            size_t len = step < f->len - at ? step : f->len - at;

            iov[n] = (struct iovec){.iov_base = data + at, .iov_len = len};
            at += len;
        }
        f->ret = channel_writev(f->c, iov, n, NULL);
    }
    free(data);
    return NULL;
}

static void *receive_flow(void *arg)
{
    struct flow *f = arg;
    uint8_t *data = malloc(f->len);
    size_t at = 0, step = 5;

    for (; at < f->len && !f->ret; step = step * 5 % 70001) {
        size_t len = step < f->len - at ? step : f->len - at;

        f->ret = channel_read(f->c, data + at, len, NULL);
        at += len;
    }
    for (size_t i = 0; i < f->len && !f->ret; i++)
        if (data[i] != pattern(i, f->seed))
            f->ret = -EILSEQ;
    free(data);
    return NULL;
}

static void test_both_ways_at_once(void **state)
{
    struct meeting m;
    struct flow flows[4];
    pthread_t threads[4];

    setup_pair(&m);
    for (unsigned i = 0; i < 4; i++) {
        flows[i] = (struct flow){
            .c = i % 2 ? m.server.c : m.client.c, .len = 24 * MIB, .seed = i < 2 ? i : 3 - i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < 2 ? send_flow : receive_flow, &flows[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(flows[i].ret, 0);
    assert_int_equal(m.client.c->bytes_out, 24 * MIB + 4);
    part(&m);
}

/* Many records come with one read of the descriptor: who polls learns of the others. */
static void test_more(void **state)
{
    struct meeting m;
    struct pollfd p;
    char c;

    setup_pair(&m);
    p = (struct pollfd){.fd = m.server.c->fd, .events = POLLIN};
    for (char i = 'a'; i < 'f'; i++)
        assert_int_equal(channel_write(m.client.c, &i, 1, NULL), 0);
    for (char i = 'a'; i < 'f'; i++) {
        struct iovec iov = {.iov_base = &c, .iov_len = 1};

        assert_true(m.server.c->more || poll(&p, 1, 0) == 1);
        assert_int_equal(m.server.c->ops->readv(m.server.c, &iov, 1), 1);
        assert_int_equal(c, i);
    }
    assert_false(m.server.c->more);
    assert_int_equal(poll(&p, 1, 0), 0);
    part(&m);
}

static void test_end_of_stream(void **state)
{
    struct err e = ERR_INIT;
    struct meeting m;
    char text[8];

    setup_pair(&m);
    assert_int_equal(channel_write(m.client.c, "last", 4, NULL), 0);
    channel_free(m.client.c);
    m.client.c = NULL;
    assert_int_equal(channel_read(m.server.c, text, 4, NULL), 0);
    assert_memory_equal(text, "last", 4);
    assert_int_equal(channel_read(m.server.c, text, 1, &e), -EPIPE);
    assert_non_null(strstr(e.text, "the peer closed the connection after 8 bytes"));
    part(&m);
}

static void test_timeout_and_full(void **state)
{
    struct meeting m;
    uint8_t *data = calloc(1, 8 * MIB);

    setup_pair(&m);
    channel_set_timeout(m.client.c, 100);
    assert_int_equal(channel_read(m.client.c, data, 1, NULL), -ETIMEDOUT);
    assert_int_equal(channel_write(m.client.c, data, 8 * MIB, NULL), -ETIMEDOUT);
    free(data);
    part(&m);
}

static void *shut_soon(void *c)
{
    clock_sleep_ns(50 * NS_PER_MS);
    channel_shutdown(c);
    return NULL;
}

static void test_shutdown(void **state)
{
    struct meeting m;
    pthread_t thread;
    char c;

    setup_pair(&m);
    assert_int_equal(pthread_create(&thread, NULL, shut_soon, m.client.c), 0);
    assert_int_equal(channel_read(m.client.c, &c, 1, NULL), -ECANCELED);
    assert_int_equal(channel_write(m.client.c, &c, 1, NULL), -ECANCELED);
    pthread_join(thread, NULL);
    part(&m);
}

/* One flipped bit on the wire is found, whatever it hits. */
static void test_corruption(void **state)
{
    struct meeting m;
    struct err e = ERR_INIT;
    uint8_t record[64];
    char text[8];
    ssize_t n;

    setup_pair(&m);
    assert_int_equal(channel_write(m.client.c, "fine", 4, NULL), 0);
    n = recv(m.server.fd, record, sizeof(record), 0);
    assert_true(n > 10);
    record[n - 3] ^= 4;
    assert_int_equal(send(m.client.fd, record, (size_t)n, 0), n);
    assert_int_equal(channel_read(m.server.c, text, 4, &e), -EPROTO);
    assert_non_null(strstr(e.text, "bad record mac"));
    part(&m);
}

/* ---- */

static int setup(void **state)
{
    const char *script = getenv("GODWIT_TLS_CERTS");
    char command[256];

    snprintf(certs, sizeof(certs), "/tmp/godwit-test-tls-XXXXXX");
    if (!script || !mkdtemp(certs))
        return -1;
    snprintf(command, sizeof(command), "%s %s 3", script, certs);
    if (system(command))
        return -1;
    short_ends_ns = clock_realtime_ns() + 4 * NS_PER_S;
    return 0;
}

static int teardown(void **state)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -rf %s", certs);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expired_meanwhile), /* first: its credentials last seconds only */
        cmocka_unit_test(test_bad_credentials),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_other_host),
        cmocka_unit_test(test_other_ca),
        cmocka_unit_test(test_client_of_other_ca),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_psk),
        cmocka_unit_test(test_mixed_kinds),
        cmocka_unit_test(test_plain_client),
        cmocka_unit_test(test_plain_server),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_canceled_handshake),
        cmocka_unit_test(test_cut_handshake),
        cmocka_unit_test(test_both_ways_at_once),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_end_of_stream),
        cmocka_unit_test(test_timeout_and_full),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_corruption),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
