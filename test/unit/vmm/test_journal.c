/* What a journal remembers, and when it forbids a start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/journal.h"

static const uint8_t token[GODWIT_TOKEN_SIZE] = {0xde, 0xad};
static const char *peer_name = "tcp:192.0.2.1:1";
static char uuid[37];

/* Folders of its own, and a machine that nobody else has. */
static int setup(void **state)
{
    static char folder[] = "/tmp/godwit-test-journal-XXXXXX";

    if (!getenv("GODWIT_RUN_DIR") && (!mkdtemp(folder) || setenv("GODWIT_RUN_DIR", folder, 1) ||
                                      setenv("GODWIT_STATE_DIR", folder, 1)))
        return -1;
    snprintf(uuid, sizeof(uuid), "00000000-test-4000-8000-%012d", (int)getpid());
    return 0;
}

static int remove_folder(void **state)
{
    return rmdir(getenv("GODWIT_RUN_DIR")); /* fails when a journal was left */
}

/* The destination that is asked. */
static enum godwit_answer answer;
static int silence; /* nobody answers */
static unsigned asked;

static int ask(const char *peer, const uint8_t t[GODWIT_TOKEN_SIZE], enum godwit_answer *out,
               struct err *e)
{
    assert_string_equal(peer, peer_name);
    assert_memory_equal(t, token, GODWIT_TOKEN_SIZE);
    asked++;
    *out = answer;
    return silence ? err_set(e, silence, "", "no route") : 0;
}

/* The process dies: what it held is let go, what it wrote stays. */
static void die(struct journal *j)
{
    j->open = true;
    journal_close(j);
}

/* The story ends here, whatever was open. */
static void forget(struct journal *j)
{
    j->open = false;
    journal_close(j);
}

static void write_event(struct journal *j, enum godwit_journal what)
{
    struct err e = ERR_INIT;

    if (journal_write(j, what, token, peer_name, &e) != 0)
        fail_msg("%s", e.text);
}

static void contains(const char *path, const char *text)
{
    char data[2048] = "";
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_true(read(fd, data, sizeof(data) - 1) > 0);
    close(fd);
    assert_non_null(strstr(data, text));
}

static void test_a_story_that_ends_well_leaves_nothing(void **state)
{
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    contains(j.durable, "\"event\":\"intent\"");
    contains(j.durable, "dead0000");
    write_event(&j, GODWIT_JOURNAL_COMMIT);
    contains(j.volatile_, "\"event\":\"commit\"");
    write_event(&j, GODWIT_JOURNAL_COMPLETED);
    contains(j.volatile_, "\"event\":\"completed\""); /* and if it is killed now, and restarted? */
    journal_close(&j);
    assert_int_equal(access(j.durable, F_OK), -1);
    assert_int_equal(access(j.volatile_, F_OK), -1);
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
    assert_int_equal(asked, 0);
}

static void test_abort_leaves_nothing(void **state)
{
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    write_event(&j, GODWIT_JOURNAL_ABORT);
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
    assert_int_equal(asked, 0);
}

static void refused(struct journal *j, const char *text)
{
    struct err e = ERR_INIT;

    asked = 0;
    assert_int_equal(journal_check_start(uuid, ask, &e), -EBUSY);
    if (!strstr(e.text, text) || !strstr(e.text, "tcp:192.0.2.1:1") || !strstr(e.text, "dead0000"))
        fail_msg("%s", e.text);
    assert_int_equal(asked, 1);
    assert_int_equal(access(j->durable, F_OK), 0);
}

/* Whatever was written last, and whatever the destination says but NEVER-RAN: no start. */
static void test_no_start_without_an_answer(void **state)
{
    const enum godwit_journal last[] = {GODWIT_JOURNAL_INTENT, GODWIT_JOURNAL_COMMIT,
                                        GODWIT_JOURNAL_COMPLETED};

    for (int i = 0; i < 3; i++) {
        struct journal j;

        journal_init(&j, uuid, true);
        for (int k = 0; k <= i; k++)
            write_event(&j, last[k]);
        die(&j);
        answer = GODWIT_ANSWER_RUNNING;
        refused(&j, "runs at");
        answer = GODWIT_ANSWER_READY;
        refused(&j, "migrate-resolve");
        answer = GODWIT_ANSWER_UNKNOWN;
        refused(&j, j.durable);
        silence = -EHOSTUNREACH;
        refused(&j, "no route");
        silence = 0;
        answer = GODWIT_ANSWER_NEVER_RAN;
        assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
        assert_int_equal(access(j.durable, F_OK), -1);
        assert_int_equal(access(j.volatile_, F_OK), -1);
        asked = 0;
        assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
        assert_int_equal(asked, 0);
    }
}

/* The host went down: of two files one is left. A person removes it, and the machine starts. */
static void test_reboot(void **state)
{
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    write_event(&j, GODWIT_JOURNAL_COMMIT);
    die(&j);
    assert_int_equal(unlink(j.volatile_), 0);
    answer = GODWIT_ANSWER_UNKNOWN;
    refused(&j, j.durable);
    assert_int_equal(unlink(j.durable), 0);
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
}

/* Nobody is asked, and nothing forgotten, while the migration's own process lives. */
static void test_another_process_migrates(void **state)
{
    struct err e = ERR_INIT;
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    answer = GODWIT_ANSWER_NEVER_RAN;
    asked = 0;
    assert_int_equal(journal_check_start(uuid, ask, &e), -EBUSY);
    assert_non_null(strstr(e.text, "another process"));
    assert_int_equal(asked, 0);
    forget(&j);
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
}

/* What nobody would see is not begun. */
static void test_no_intent_without_the_lock(void **state)
{
    struct err e = ERR_INIT;
    struct journal j, other;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    journal_init(&other, uuid, true);
    assert_int_equal(journal_write(&other, GODWIT_JOURNAL_INTENT, token, "tcp:192.0.2.1:1", &e),
                     -ENOLCK);
    assert_non_null(strstr(e.text, "cannot lock"));
    forget(&j);
}

static void test_half_a_line_decides_nothing(void **state)
{
    struct err e = ERR_INIT;
    struct journal j;
    int fd;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    die(&j);
    fd = open(j.durable, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "{\"event\":\"int", 13), 13);
    close(fd);
    asked = 0;
    assert_int_equal(journal_check_start(uuid, ask, &e), -EBUSY);
    assert_non_null(strstr(e.text, j.durable));
    assert_int_equal(asked, 0);
    assert_int_equal(unlink(j.durable), 0);
}

/* Of a path, whatever is in it and however long it is, the one that comes back is asked. */
static void test_a_peer_of_any_name(void **state)
{
    const char *before = peer_name;
    char name[JOURNAL_PEER_SIZE];
    struct journal j;

    memset(name, '"', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    memcpy(name, "unix:/tmp/a\\b\n\x01", 16);
    peer_name = name;
    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    write_event(&j, GODWIT_JOURNAL_COMMIT);
    write_event(&j, GODWIT_JOURNAL_COMPLETED);
    die(&j);
    answer = GODWIT_ANSWER_NEVER_RAN;
    asked = 0;
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
    assert_int_equal(asked, 1);
    peer_name = before;
}

static void test_destination_journal_is_another(void **state)
{
    struct journal source, destination;

    journal_init(&source, uuid, true);
    journal_init(&destination, uuid, false);
    write_event(&destination, GODWIT_JOURNAL_READY);
    assert_int_equal(journal_check_start(uuid, ask, NULL), 0);
    write_event(&destination, GODWIT_JOURNAL_RUNNING);
    contains(destination.volatile_, "\"event\":\"ready\"");
    contains(destination.volatile_, "\"event\":\"running\"");
    journal_close(&destination);
    assert_int_equal(access(destination.volatile_, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_story_that_ends_well_leaves_nothing, setup),
        cmocka_unit_test_setup(test_abort_leaves_nothing, setup),
        cmocka_unit_test_setup(test_no_start_without_an_answer, setup),
        cmocka_unit_test_setup(test_reboot, setup),
        cmocka_unit_test_setup(test_another_process_migrates, setup),
        cmocka_unit_test_setup(test_no_intent_without_the_lock, setup),
        cmocka_unit_test_setup(test_half_a_line_decides_nothing, setup),
        cmocka_unit_test_setup(test_a_peer_of_any_name, setup),
        cmocka_unit_test_setup(test_destination_journal_is_another, setup),
    };

    return cmocka_run_group_tests_name("vmm/journal", tests, NULL, remove_folder);
}
