/*
 * The destination as a whole, against a source that means harm: a real sink on a UNIX socket, whole
 * threads and all.  The input is a script of items
 *
 *   {u8 where, u8 type, u16 length, bytes}
 *
 * where: bits 0-1 the channel (0: control, 1-3: lanes 0-2), bit 7: the bytes go out as they are;
 * else they become the body of a record of that type, with a right checksum, so that the fuzzer
 * reaches what lies behind it.  After each script the sink must be free again within seconds: a
 * source that can wedge it is a finding.
 */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "godwit/migrate.h"
#include "stream/native/hello.h"
#include "stream/native/pages.h"
#include "stream/native/words.h"
#include "wire/crc.h"
#include "wire/record.h"

#define CHANNELS   4
#define REGION_MAX (1U << 20)
#define FREE_NS (20 * NS_PER_S) /* not a measure: a crowded machine is slow */

static const uint8_t token[NATIVE_TOKEN_SIZE] = "sixteen bytes!!";

/* ---- the monitor ---------------------------------------------------------------------------- */

static uint8_t *memory[4];
static uint32_t nmemory;

static int on_manifest(void *opaque, const void *data, size_t len, struct godwit_region *regions,
                       uint32_t n, struct err *e)
{
    if (n > 4)
        return err_set(e, -EINVAL, "fuzz", "too many regions");
    for (uint32_t i = 0; i < n; i++)
        if (regions[i].size > REGION_MAX)
            return err_set(e, -EINVAL, "fuzz", "too large a region");
    for (nmemory = 0; nmemory < n; nmemory++) {
        memory[nmemory] = calloc(1, regions[nmemory].size); /* its exact size: ASan guards it */
        if (!memory[nmemory])
            abort();
        regions[nmemory].host = memory[nmemory];
    }
    return 0;
}

static int on_load_state(void *opaque, const void *data, size_t len, struct err *e)
{
    const uint8_t *p = data;

    return len && p[0] == 0xff && p[len - 1] == 0xff ? err_set(e, -EINVAL, "fuzz", "no") : 0;
}

static int on_ready(void *opaque, const uint8_t t[GODWIT_TOKEN_SIZE], const char *peer,
                    struct err *e)
{
    return 0;
}

static int on_run(void *opaque, bool was_running, uint64_t *running_ns, struct err *e)
{
    return err_set(e, -EBUSY, "fuzz", "not today"); /* so that it listens again */
}

static void on_discard(void *opaque)
{
    while (nmemory > 0)
        free(memory[--nmemory]);
}

static const struct godwit_sink_ops ops = {
    .manifest = on_manifest,
    .load_state = on_load_state,
    .ready = on_ready,
    .run = on_run,
    .discard = on_discard,
};

static struct godwit_sink *sink;
static char path[64];

static void start_once(void)
{
    struct godwit_params params = GODWIT_PARAMS_DEFAULT;
    struct godwit_sink_config c = {.ops = &ops, .params = params};
    struct err e = ERR_INIT;
    char uri[96];

    if (sink)
        return;
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(path, sizeof(path), "/tmp/godwit-fuzz-%d", (int)getpid());
    snprintf(uri, sizeof(uri), "unix:%s", path);
    c.uri = uri;
    if (godwit_sink_start(&c, &sink, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
}

/* ---- the source ----------------------------------------------------------------------------- */

static int dial(enum native_role role, uint32_t index)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct buf b;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
        abort();
    buf_init(&b, 0);
    if (native_hello_encode(&b, role, index, token) ||
        send(fd, b.data, b.len, MSG_NOSIGNAL) != (ssize_t)b.len)
        abort();
    buf_fini(&b);
    return fd;
}

/* Until the sink has said something of this type, or that it gives up, or a while has passed. */
static bool hear(int fd, uint32_t type, int ms)
{
    uint8_t data[4096];
    size_t got = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct record_header h;
        ssize_t n;

        if (poll(&p, 1, ms) != 1)
            return false;
        n = recv(fd, data + got, sizeof(data) - got, MSG_DONTWAIT);
        if (n <= 0)
            return false;
        got += (size_t)n;
        while (got >= RECORD_HEADER_SIZE && !record_header_decode(data, sizeof(data), &h, NULL) &&
               got >= RECORD_HEADER_SIZE + record_padded(h.length)) {
            size_t whole = RECORD_HEADER_SIZE + (size_t)record_padded(h.length);

            if (h.type == type)
                return true;
            if (h.type == NATIVE_ERROR || h.type == NATIVE_NEVER_RAN)
                return false; /* nothing else will come */
            memmove(data, data + whole, got - whole);
            got -= whole;
        }
        if (got == sizeof(data))
            return false;
    }
}

/* PAGES has its checksum in the table, not at the end: put a right one there. */
static void add_pages(struct buf *b, const uint8_t *body, size_t len)
{
    struct record_header h = {.type = NATIVE_PAGES, .length = len};
    uint8_t head[RECORD_HEADER_SIZE];
    size_t start = b->len + RECORD_HEADER_SIZE, runs;
    uint32_t nruns, crc;

    record_header_encode(&h, head);
    if (buf_append(b, head, sizeof(head)) || buf_append(b, body, len))
        abort();
    if (len < NATIVE_PAGES_FIXED)
        return;
    memcpy(&nruns, body + 4, 4);
    runs = NATIVE_PAGES_FIXED + (size_t)(nruns % (NATIVE_RUNS_MAX + 1)) * NATIVE_RUN_SIZE;
    if (len < runs + 8)
        return;
    crc = crc32c(crc32c(0, head, sizeof(head)), b->data + start, runs);
    memcpy(b->data + start + runs, &crc, 4);
    memset(b->data + start + runs + 4, 0, 4);
}

static int open_channel(int *fds, unsigned channel)
{
    if (fds[channel] >= 0)
        return 0;
    if (channel > 0 && !hear(fds[0], NATIVE_ACCEPT, 10))
        return -1; /* no lanes yet, or no more */
    fds[channel] = dial(NATIVE_ROLE_LANE, channel - 1);
    return 0;
}

/* false: the script is over. */
static bool play(int *fds, const uint8_t **data, size_t *size)
{
    const uint8_t *p = *data;
    uint16_t len;
    struct buf b;
    int ret = 0;

    if (*size < 4)
        return false;
    memcpy(&len, p + 2, sizeof(len));
    if (len > *size - 4)
        len = (uint16_t)(*size - 4);
    if (open_channel(fds, p[0] % CHANNELS))
        return false;
    buf_init(&b, 0);
    if (p[0] & 0x80)
        ret = buf_append(&b, p + 4, len);
    else if (p[1] == NATIVE_PAGES)
        add_pages(&b, p + 4, len);
    else
        ret = record_append(&b, p[1], p[1] >= NATIVE_TYPE_END ? RECORD_OPTIONAL : 0, p + 4, len);
    if (ret)
        abort();
    (void)!send(fds[p[0] % CHANNELS], b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_fini(&b);
    *data += 4 + len;
    *size -= 4 + (size_t)len;
    return true;
}

/* If the script brought it to READY it waits for the word. */
static void call_off(void)
{
    struct native_word w = {.text = "the script is over"};
    int fd = dial(NATIVE_ROLE_AGAIN, 0);
    struct buf b;

    memcpy(w.token, token, sizeof(token));
    buf_init(&b, 0);
    if (native_word_encode(&b, NATIVE_ABORT, &w))
        abort();
    (void)!send(fd, b.data, b.len, MSG_NOSIGNAL);
    hear(fd, NATIVE_NEVER_RAN, 15000);
    buf_fini(&b);
    close(fd);
}

static void expect_free(void)
{
    uint64_t end = clock_now_ns() + FREE_NS;
    struct godwit_stats st;

    for (;;) {
        godwit_sink_stats(sink, &st);
        if (st.status == GODWIT_FAILED || st.status == GODWIT_NONE)
            return;
        if (clock_now_ns() >= end) {
            fprintf(stderr, "the sink is stuck: %s, %s\n", godwit_status_name(st.status),
                    godwit_stage_name(st.stage));
            abort();
        }
        clock_sleep_ns(100 * NS_PER_US);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[CHANNELS] = {-1, -1, -1, -1};

    start_once();
    fds[0] = dial(NATIVE_ROLE_CONTROL, 0);
    hear(fds[0], NATIVE_WELCOME, 2000);
    while (play(fds, &data, &size))
        ;
    hear(fds[0], NATIVE_READY, 2);
    for (int i = 0; i < CHANNELS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    call_off();
    expect_free();
    return 0;
}
