#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* Each test logs to a file of its own, with the real stderr put aside. */
struct fixture {
    char path[64];
    int saved;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    strcpy(f->path, "/tmp/godwit-test-log-XXXXXX");
    fd = mkstemp(f->path);
    close(fd);
    f->saved = dup(STDERR_FILENO);
    *state = f;
    return fd < 0 || log_open(f->path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dup2(f->saved, STDERR_FILENO);
    close(f->saved);
    unlink(f->path);
    free(f);
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static char *content(const struct fixture *f)
{
    static char text[1 << 20];
    FILE *file = fopen(f->path, "r");

    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void writes_the_documented_line(void **state)
{
    int year, month, day, hour, minute, second, ms, used = 0;
    char *text;

    log_warn("qmp", "client %d left", 7);
    text = content(*state);
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &used),
                     7);
    assert_int_equal(used, strlen("2026-01-31T12:00:00.123Z"));
    assert_string_equal(text + used, " warn qmp: client 7 left\n");
}

static void keeps_to_its_level(void **state)
{
    log_debug("x", "unseen");
    assert_string_equal(content(*state), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("x", "seen");
    assert_non_null(strstr(content(*state), " debug x: seen\n"));
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("x", "unseen");
    log_error("x", "last");
    assert_null(strstr(content(*state), "unseen"));
    assert_non_null(strstr(content(*state), " error x: last\n"));
}

static void foreign_text_forges_no_line(void **state)
{
    char *text;

    log_info("peer", "%s", "bad\n2026-01-01T00:00:00.000Z error vmm: forged\x1b[2J\x7f");
    text = content(*state);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_null(strchr(text, 0x1b));
    assert_non_null(strstr(text, "forged?[2J?\n"));
}

static void long_messages_are_cut_to_a_line(void **state)
{
    static char text[10000];
    char *line;

    memset(text, 'x', sizeof(text) - 1);
    log_info("x", "%s", text);
    log_info(text, "after");
    line = content(*state);
    assert_true(strlen(line) < 5000);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_non_null(strstr(line, ": after\n"));
}

static void keeps_errno_and_appends(void **state)
{
    struct fixture *f = *state;

    log_info("x", "first");
    assert_int_equal(log_open(f->path), 0);
    errno = EXDEV;
    log_info("x", "second");
    assert_int_equal(errno, EXDEV);
    assert_int_equal(log_open("/dev/full"), 0); /* where every write fails */
    errno = EXDEV;
    log_info("x", "lost");
    assert_int_equal(errno, EXDEV);
    assert_non_null(strstr(content(f), "first\n"));
    assert_non_null(strstr(content(f), "second\n"));
}

static void stays_where_it_was_when_open_fails(void **state)
{
    assert_int_equal(log_open("/nonexistent/godwit.log"), -ENOENT);
    log_info("x", "still here");
    assert_non_null(strstr(content(*state), "still here\n"));
}

static void *chatter(void *opaque)
{
    for (int i = 0; i < 500; i++)
        log_info("thread", "[%s]", (const char *)opaque);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    static char *const words[] = {"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"};
    pthread_t threads[2];
    int lines = 0;
    char *save = NULL;

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, chatter, words[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (char *l = strtok_r(content(*state), "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        const char *word = strchr(l, '[');

        assert_non_null(word);
        assert_true(!strncmp(word + 1, words[0], 20) || !strncmp(word + 1, words[1], 20));
        assert_string_equal(word + 21, "]");
        lines++;
    }
    assert_int_equal(lines, 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_the_documented_line),  TEST(keeps_to_its_level),
        TEST(foreign_text_forges_no_line), TEST(long_messages_are_cut_to_a_line),
        TEST(keeps_errno_and_appends),     TEST(stays_where_it_was_when_open_fails),
        TEST(lines_of_threads_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
