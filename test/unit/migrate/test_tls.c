/* The engine over TLS: machines that arrive, and callers who are turned away from a listener that
 * goes on listening.  The credentials are made by test/tls-certs. */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "godwit/tls.h"
#include "transport/address.h"

static char certs[64];

static struct godwit_tls *load(enum godwit_tls_kind kind, bool is_server, const char *dir)
{
    char path[128];
    struct godwit_tls_config config = {
        .kind = kind, .dir = path, .is_server = is_server, .verify_peer = true};
    struct godwit_tls *tls;
    struct err e = ERR_INIT;

    snprintf(path, sizeof(path), "%s/%s", certs, dir);
    if (godwit_tls_new(&config, &tls, &e))
        fail_msg("%s: %s", dir, e.text);
    return tls;
}

static struct godwit_tls *good(bool is_server)
{
    return load(GODWIT_TLS_X509, is_server, "good");
}

/* OpenSSL keeps a little of its own from its first use on: that is no leak. */
static void begin(struct pair *p, uint64_t size)
{
    pair_init(p, size);
    fake_fill(&p->from, 0, size / 4096, 1);
}

static void end(struct pair *p)
{
    struct godwit_tls *a = (struct godwit_tls *)(uintptr_t)p->sink_tls;
    struct godwit_tls *b = (struct godwit_tls *)(uintptr_t)p->source_tls;

    pair_fini(p);
    godwit_tls_free(a);
    godwit_tls_free(b);
}

static void move(const char *uri, const char *hostname, uint32_t lanes, bool psk)
{
    struct pair p;

    begin(&p, 32 * MIB);
    p.params.lanes = lanes;
    p.sink_tls = psk ? load(GODWIT_TLS_PSK, true, "psk") : good(true);
    p.source_tls = psk ? load(GODWIT_TLS_PSK, false, "psk") : good(false);
    p.tls_hostname = hostname;
    fake_source_dirty(&p.from, 100 * MIB, 1000);
    pair_listen(&p, uri);
    pair_migrate(&p);
    pair_expect_moved(&p);
    end(&p);
}

static void test_tcp(void **state)
{
    for (uint32_t lanes = 1; lanes <= 3; lanes++)
        move("tcp:127.0.0.1:0", NULL, lanes, false);
}

static void test_unix(void **state)
{
    move(NULL, "alpha.example", 3, false);
}

static void test_psk(void **state)
{
    move("tcp:127.0.0.1:0", NULL, 2, true);
    move(NULL, NULL, 2, true);
}

/* Refused with a reason, the guest runs on; then the same destination takes a good one. */
static void refuse(struct godwit_tls *sink, struct godwit_tls *source, const char *hostname,
                   const char *why)
{
    struct pair p;
    struct godwit_stats st;

    begin(&p, 4 * MIB);
    p.sink_tls = sink;
    p.source_tls = source;
    p.tls_hostname = hostname;
    pair_listen(&p, "tcp:127.0.0.1:0");
    pair_migrate(&p);
    pair_expect_source(&p, GODWIT_FAILED);
    st = pair_source_stats(&p);
    if (!strstr(st.error.text, why))
        fail_msg("'%s' does not say '%s'", st.error.text, why);
    pair_expect_kept(&p);
    pair_end_source(&p);
    godwit_tls_free(source);

    p.source_tls = good(false);
    p.tls_hostname = NULL;
    if (!sink) {
        godwit_tls_free((struct godwit_tls *)(uintptr_t)p.source_tls);
        p.source_tls = NULL;
    }
    pair_migrate(&p);
    pair_expect_moved(&p);
    end(&p);
}

static void test_refused(void **state)
{
    refuse(good(true), good(false), "gamma.example", "not gamma.example");
    refuse(good(true), load(GODWIT_TLS_X509, false, "other-ca"), NULL,
           "the destination's certificate (localhost");
    refuse(good(true), load(GODWIT_TLS_X509, false, "trusting"), NULL,
           "the destination refused our certificate: its ca-cert.pem does not know who issued it");
    refuse(good(true), load(GODWIT_TLS_PSK, false, "psk"), NULL, "the destination");
    refuse(good(true), NULL, NULL, "this destination wants TLS: set tls-creds");
    refuse(NULL, good(false), NULL, "does not speak it");
}

/* Strangers of every kind, more of them than there are places, and then a good source. */
static void test_strangers(void **state)
{
    static const char *const said[] = {"", "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
                                       "\x16\x03\x01\x00\x05hello", "GWHELLO"};
    struct address a;
    struct pair p;
    int n = 0;
    struct channel *open[100];

    begin(&p, 4 * MIB);
    p.sink_tls = good(true);
    p.source_tls = good(false);
    pair_listen(&p, "tcp:127.0.0.1:0");
    assert_int_equal(address_parse(p.uri, &a, NULL), 0);
    for (; n < 100; n++) {
        const char *text = said[n % 5];

        assert_int_equal(address_connect(&a, 2000, NULL, &open[n], NULL), 0);
        channel_write(open[n], text, strlen(text), NULL);
        if (n % 7 == 0)
            channel_shutdown(open[n]);
    }
    pair_migrate(&p);
    pair_expect_moved(&p);
    while (n > 0)
        channel_free(open[--n]);
    end(&p);
}

/* A misuse is told before anything begins. */
static void test_wrong_end(void **state)
{
    struct pair p;
    struct godwit_source *s;
    struct err e = ERR_INIT;
    struct godwit_tls *server = good(true), *client = good(false);

    begin(&p, MIB);
    struct godwit_source_config c = {.ops = &fake_source_ops,
                                     .opaque = &p.from,
                                     .uri = "unix:/tmp/nowhere",
                                     .tls = server,
                                     .regions = p.from.memory.regions,
                                     .nregions = 1,
                                     .params = p.params};

    assert_int_equal(godwit_source_start(&c, &s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "endpoint=server"));
    c.tls = client;
    assert_int_equal(godwit_source_start(&c, &s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "set tls-hostname"));
    pair_fini(&p);
    godwit_tls_free(server);
    godwit_tls_free(client);
}

static int setup(void **state)
{
    const char *script = getenv("GODWIT_TLS_CERTS");
    char command[512];

    snprintf(certs, sizeof(certs), "/tmp/godwit-test-tls-XXXXXX");
    if (!script || !mkdtemp(certs))
        return -1;
    snprintf(command, sizeof(command),
             "%s %s && cd %s && cp -pr other-ca trusting && "
             "cat good/ca-cert.pem >> trusting/ca-cert.pem",
             script, certs, certs);
    return system(command);
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
        cmocka_unit_test(test_tcp),       cmocka_unit_test(test_unix),
        cmocka_unit_test(test_psk),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_wrong_end),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
