/*
 * Listening and connecting.  Names are answered by this file's own getaddrinfo(), which the library
 * meets before the system's: no name server is asked, and names can be slow or have many addresses.
 */
#include "transport/address.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static struct addrinfo *numeric(const char *host, const char *port)
{
    getaddrinfo_fn *real = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;

    return real(host, port, &hints, &list) ? NULL : list;
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
    if (hints->ai_flags & AI_NUMERICHOST) {
        *out = numeric(host, port);
        return *out ? 0 : EAI_NONAME;
    }
    if (!strcmp(host, "slow.test"))
        clock_sleep_ns(1500 * NS_PER_MS);
    *out = NULL;
    if (!strcmp(host, "slow.test") || !strcmp(host, "one.test")) {
        *out = numeric("127.0.0.1", port);
    } else if (!strcmp(host, "several.test")) { /* nobody is at the first two */
        *out = numeric("::1", port);
        if (!*out)
            *out = numeric("127.0.0.3", port);
        (*out)->ai_next = numeric("127.0.0.2", port);
        (*out)->ai_next->ai_next = numeric("127.0.0.1", port);
    }
    return *out ? 0 : EAI_NONAME;
}

static struct address parse(const char *uri)
{
    struct address a;

    assert_int_equal(address_parse(uri, &a, NULL), 0);
    return a;
}

static struct listener open_at(const char *uri)
{
    struct address a = parse(uri);
    struct err e = ERR_INIT;
    struct listener l;

    if (listener_open(&l, &a, &e))
        fail_msg("%s: %s", uri, e.text);
    return l;
}

/* Connects to what l listens on (at host, when given) and says a word each way. */
static void check_talk(struct listener *l, const char *host, const char *peer_prefix)
{
    struct channel *client = NULL, *server = NULL;
    struct address a = l->address;
    struct err e = ERR_INIT;
    char word[5] = "";

    if (host)
        snprintf(a.host, sizeof(a.host), "%s", host);
    if (address_connect(&a, 5000, NULL, &client, &e) || listener_accept(l, 5000, &server, &e))
        fail_msg("%s", e.text);
    assert_int_equal(channel_write(client, "ping", 4, &e), 0);
    assert_int_equal(channel_read(server, word, 4, &e), 0);
    assert_string_equal(word, "ping");
    assert_int_equal(channel_write(server, "pong", 4, &e), 0);
    assert_int_equal(channel_read(client, word, 4, &e), 0);
    assert_string_equal(word, "pong");
    if (strncmp(server->peer, peer_prefix, strlen(peer_prefix)) != 0)
        fail_msg("the peer is called %s, not %s...", server->peer, peer_prefix);
    channel_free(client);
    channel_free(server);
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&sin6, sizeof(sin6));

    if (fd >= 0)
        close(fd);
    return ok;
}

static void both_ends_meet_over_ipv4(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0");

    assert_int_not_equal(l.address.port, 0); /* the real one */
    check_talk(&l, NULL, "tcp:127.0.0.1:");
    listener_close(&l);
    assert_int_equal(l.fd, -1);
    listener_close(&l);
}

static void both_ends_meet_over_ipv6(void **state)
{
    struct listener l;

    if (!have_ipv6())
        skip();
    l = open_at("tcp:[::1]:0");
    check_talk(&l, NULL, "tcp:[::1]:");
    listener_close(&l);
}

static void any_takes_both_families(void **state)
{
    struct listener l = open_at("tcp::0");

    check_talk(&l, "127.0.0.1", "tcp:");
    if (have_ipv6())
        check_talk(&l, "::1", "tcp:[::1]:");
    listener_close(&l);
}

static void one_family_takes_one(void **state)
{
    struct channel *c = NULL;
    struct listener l;
    struct address a;

    if (!have_ipv6())
        skip();
    l = open_at("tcp:[::]:0");
    a = l.address;
    strcpy(a.host, "127.0.0.1");
    assert_int_equal(address_connect(&a, 1000, NULL, &c, NULL), -ECONNREFUSED);
    check_talk(&l, "::1", "tcp:[::1]:");
    listener_close(&l);
}

static void names_are_looked_up(void **state)
{
    struct listener l = open_at("tcp:one.test:0");

    check_talk(&l, "one.test", "tcp:127.0.0.1:");
    listener_close(&l);
}

static void every_address_of_a_name_is_tried(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0");

    check_talk(&l, "several.test", "tcp:127.0.0.1:");
    listener_close(&l);
    l = open_at("tcp:several.test:0"); /* of both families the IPv4 one */
    assert_int_equal(l.fd >= 0, 1);
    check_talk(&l, "127.0.0.2", "tcp:127.0.0.1:");
    listener_close(&l);
}

static void a_name_without_address_is_named(void **state)
{
    struct address a = parse("tcp:nobody.test:4446");
    struct err e = ERR_INIT;
    struct channel *c = NULL;
    struct listener l;

    assert_int_equal(address_connect(&a, 1000, NULL, &c, &e), -EHOSTUNREACH);
    assert_non_null(strstr(e.text, "nobody.test"));
    assert_int_equal(listener_open(&l, &a, &e), -EHOSTUNREACH);
    assert_int_equal(l.fd, -1);
}

static void nobody_there_is_told_at_once(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0");
    struct address a = l.address;
    struct err e = ERR_INIT;
    struct channel *c = NULL;
    uint64_t start;

    listener_close(&l);
    start = clock_now_ns();
    assert_int_equal(address_connect(&a, 20000, NULL, &c, &e), -ECONNREFUSED);
    assert_true(clock_now_ns() - start < 5 * NS_PER_S);
    assert_non_null(strstr(e.text, "127.0.0.1"));
    assert_null(c);
}

static void incomplete_addresses_are_refused(void **state)
{
    struct address any = parse("tcp::4446"), zero = parse("tcp:127.0.0.1:0");
    struct channel *c = NULL;

    assert_int_equal(address_connect(&any, 1000, NULL, &c, NULL), -EINVAL);
    assert_int_equal(address_connect(&zero, 1000, NULL, &c, NULL), -EINVAL);
}

static void a_taken_port_is_refused(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0"), second;
    struct err e = ERR_INIT;

    assert_int_equal(listener_open(&second, &l.address, &e), -EADDRINUSE);
    assert_int_equal(second.fd, -1);
    listener_close(&l);
}

/* A destination that restarts must not wait for TIME_WAIT to end. */
static void a_port_is_free_again_at_once(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0"), again;
    struct channel *client = NULL, *server = NULL;

    assert_int_equal(address_connect(&l.address, 5000, NULL, &client, NULL), 0);
    assert_int_equal(listener_accept(&l, 5000, &server, NULL), 0);
    channel_free(server); /* this end closes first, and keeps the port in TIME_WAIT */
    channel_free(client);
    listener_close(&l);
    assert_int_equal(listener_open(&again, &l.address, NULL), 0);
    listener_close(&again);
}

static void waiting_for_a_caller_is_bounded(void **state)
{
    struct listener l = open_at("tcp:127.0.0.1:0");
    struct channel *c = NULL;
    uint64_t start = clock_now_ns();

    assert_int_equal(listener_accept(&l, 0, &c, NULL), -EAGAIN);
    assert_int_equal(listener_accept(&l, 50, &c, NULL), -EAGAIN);
    assert_true(clock_now_ns() - start >= 50 * NS_PER_MS);
    assert_true(clock_now_ns() - start < 5 * NS_PER_S);
    listener_close(&l);
}

/* Connections that hang: the queue of a listener that accepts nobody is full, so that TCP drops the
 * next caller's packets, as a dead host does. */

#define FILLERS 4

struct hole {
    int listener, fillers[FILLERS];
    struct address address;
};

static void hole_open(struct hole *h)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);

    h->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(h->listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(h->listener, 0), 0);
    assert_int_equal(getsockname(h->listener, (struct sockaddr *)&sin, &len), 0);
    h->address = parse("tcp:127.0.0.1:1");
    h->address.port = ntohs(sin.sin_port);
    for (int i = 0; i < FILLERS; i++) {
        h->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(h->fillers[i], (struct sockaddr *)&sin, sizeof(sin));
    }
    clock_sleep_ns(20 * NS_PER_MS);
}

static void hole_close(struct hole *h)
{
    for (int i = 0; i < FILLERS; i++)
        close(h->fillers[i]);
    close(h->listener);
}

struct canceler {
    atomic_bool cancel;
    uint64_t at;
};

static void *cancel_soon(void *opaque)
{
    struct canceler *c = opaque;

    clock_sleep_ns(60 * NS_PER_MS);
    c->at = clock_now_ns();
    atomic_store(&c->cancel, true);
    return NULL;
}

/* Connecting to a ends with -ECANCELED soon after the flag. */
static void check_cancel(const struct address *a)
{
    struct canceler c = {.cancel = false};
    struct channel *channel = NULL;
    struct err e = ERR_INIT;
    pthread_t thread;
    uint64_t end;

    pthread_create(&thread, NULL, cancel_soon, &c);
    assert_int_equal(address_connect(a, 20000, &c.cancel, &channel, &e), -ECANCELED);
    end = clock_now_ns();
    pthread_join(thread, NULL);
    assert_int_equal(e.code, -ECANCELED);
    assert_true(end - c.at < 1000 * NS_PER_MS); /* 50 ms, but for a busy host */
    assert_int_equal(address_connect(a, 20000, &c.cancel, &channel, &e), -ECANCELED);
}

static void a_dead_host_times_out_and_cancels(void **state)
{
    struct channel *c = NULL;
    struct err e = ERR_INIT;
    uint64_t start = clock_now_ns();
    struct hole h;

    hole_open(&h);
    assert_int_equal(address_connect(&h.address, 200, NULL, &c, &e), -ETIMEDOUT);
    assert_true(clock_now_ns() - start >= 200 * NS_PER_MS);
    assert_true(clock_now_ns() - start < 5 * NS_PER_S);
    check_cancel(&h.address);
    hole_close(&h);
}

static void a_slow_name_server_times_out_and_cancels(void **state)
{
    struct address a = parse("tcp:slow.test:4446");
    struct channel *c = NULL;
    struct err e = ERR_INIT;
    uint64_t start = clock_now_ns();

    assert_int_equal(address_connect(&a, 100, NULL, &c, &e), -ETIMEDOUT);
    assert_true(clock_now_ns() - start < 1400 * NS_PER_MS); /* before the answer comes */
    assert_non_null(strstr(e.text, "slow.test"));
    check_cancel(&a);
    clock_sleep_ns(2 * NS_PER_S); /* the threads left behind end, and free what they found */
}

/* Connecting over and over to a port of the range the kernel picks local ports from, where nobody
 * listens: sooner or later both are the same port, and TCP connects the socket to itself. */
static void a_socket_does_not_connect_to_itself(void **state)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    struct address a = parse("tcp:127.0.0.1:1");
    unsigned low = 32768, high = 60999;
    struct channel *c = NULL;

    if (f) {
        assert_int_equal(fscanf(f, "%u %u", &low, &high), 2);
        fclose(f);
    }
    a.port = (uint16_t)(low + (high - low) / 4 * 2);
    for (unsigned i = 0; i < high - low; i++) {
        int ret = address_connect(&a, 1000, NULL, &c, NULL);

        if (ret != -ECONNREFUSED)
            fail_msg("attempt %u to reach nobody gives %d", i, ret);
    }
}

/* UNIX sockets */

struct folder {
    char path[64], uri[100];
};

static int make_folder(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));

    strcpy(f->path, "/tmp/godwit-test-XXXXXX");
    *state = f;
    if (!mkdtemp(f->path))
        return -1;
    snprintf(f->uri, sizeof(f->uri), "unix:%s/s", f->path);
    return 0;
}

static int remove_folder(void **state)
{
    struct folder *f = *state;
    int ret = rmdir(f->path); /* fails when a test left its socket behind */

    free(f);
    return ret;
}

static void both_ends_meet_over_unix(void **state)
{
    struct folder *f = *state;
    struct listener l = open_at(f->uri);

    check_talk(&l, NULL, f->uri);
    listener_close(&l);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct folder *f = *state;
    struct listener dead = open_at(f->uri), l;

    close(dead.fd); /* as a killed process leaves it */
    l = open_at(f->uri);
    check_talk(&l, NULL, f->uri);
    listener_close(&l);
}

static void a_live_socket_is_not_taken_away(void **state)
{
    struct folder *f = *state;
    struct listener l = open_at(f->uri), second;
    struct channel *probe = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(listener_open(&second, &l.address, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, f->path));
    assert_int_equal(listener_accept(&l, 1000, &probe, NULL), 0); /* the look, which hung up */
    channel_free(probe);
    check_talk(&l, NULL, f->uri);
    listener_close(&l);
}

static void a_file_is_never_removed(void **state)
{
    struct folder *f = *state;
    struct address a = parse(f->uri);
    struct err e = ERR_INIT;
    struct listener l;
    int fd = open(a.path, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(listener_open(&l, &a, &e), -EEXIST);
    assert_non_null(strstr(e.text, "not a socket"));
    assert_int_equal(access(a.path, F_OK), 0);
    unlink(a.path);
}

/* The path may have become another's meanwhile: a destination that takes over, say. */
static void anothers_socket_is_not_unlinked(void **state)
{
    struct folder *f = *state;
    struct listener first = open_at(f->uri), second;

    assert_int_equal(unlink(first.address.path), 0);
    second = open_at(f->uri);
    listener_close(&first);
    check_talk(&second, NULL, f->uri);
    listener_close(&second);
}

static void missing_folders_and_sockets_are_told(void **state)
{
    struct folder *f = *state;
    struct address a = parse(f->uri), deeper = a;
    struct err e = ERR_INIT;
    struct channel *c = NULL;
    struct listener l;

    strcat(deeper.path, "/x/y");
    assert_int_equal(listener_open(&l, &deeper, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/x/y"));
    assert_int_equal(address_connect(&a, 1000, NULL, &c, &e), -ENOENT);
}

static void a_full_unix_queue_times_out_and_cancels(void **state)
{
    struct folder *f = *state;
    struct address a = parse(f->uri);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), filler = socket(AF_UNIX, SOCK_STREAM, 0);
    struct channel *c = NULL;
    struct listener l;

    memcpy(sun.sun_path, a.path, sizeof(sun.sun_path));
    assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(connect(filler, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(address_connect(&a, 100, NULL, &c, NULL), -ETIMEDOUT);
    check_cancel(&a);
    assert_int_equal(listener_open(&l, &a, NULL), -EADDRINUSE); /* busy is not dead */
    close(filler);
    close(listener);
    unlink(a.path);
}

static int open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int fds_before;

static int count_fds(void **state)
{
    fds_before = open_fds();
    return 0;
}

static int no_fd_leaked(void **state)
{
    return open_fds() - fds_before;
}

#define TEST(f)      cmocka_unit_test_setup_teardown(f, count_fds, no_fd_leaked)
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_ends_meet_over_ipv4),
        TEST(both_ends_meet_over_ipv6),
        TEST(any_takes_both_families),
        TEST(one_family_takes_one),
        TEST(names_are_looked_up),
        TEST(every_address_of_a_name_is_tried),
        TEST(a_name_without_address_is_named),
        TEST(nobody_there_is_told_at_once),
        TEST(incomplete_addresses_are_refused),
        TEST(a_taken_port_is_refused),
        TEST(a_port_is_free_again_at_once),
        TEST(waiting_for_a_caller_is_bounded),
        TEST(a_dead_host_times_out_and_cancels),
        TEST(a_slow_name_server_times_out_and_cancels),
        TEST(a_socket_does_not_connect_to_itself),
        IN_FOLDER(both_ends_meet_over_unix),
        IN_FOLDER(a_stale_socket_is_replaced),
        IN_FOLDER(a_live_socket_is_not_taken_away),
        IN_FOLDER(a_file_is_never_removed),
        IN_FOLDER(anothers_socket_is_not_unlinked),
        IN_FOLDER(missing_folders_and_sockets_are_told),
        IN_FOLDER(a_full_unix_queue_times_out_and_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
