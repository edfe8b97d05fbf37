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

/* The story ends here, whatever was open. */
static void forget(struct journal *j)
{
    j->open = false;
    journal_close(j);
}

static void write_event(struct journal *j, enum godwit_journal what)
{
    struct err e = ERR_INIT;

    if (journal_write(j, what, token, "tcp:192.0.2.1:1", &e) != 0)
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
    assert_int_equal(access(j.durable, F_OK), -1);
    assert_int_equal(access(j.volatile_, F_OK), -1);
    assert_int_equal(journal_check_start(uuid, NULL), 0);
}

static void test_commit_forbids_a_start(void **state)
{
    struct err e = ERR_INIT;
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    write_event(&j, GODWIT_JOURNAL_COMMIT);
    assert_int_equal(journal_check_start(uuid, &e), -EBUSY);
    assert_non_null(strstr(e.text, uuid));
    assert_non_null(strstr(e.text, j.volatile_));
    journal_close(&j);
    assert_int_equal(access(j.volatile_, F_OK), 0); /* undecided: it outlives the process */
    forget(&j);
    assert_int_equal(journal_check_start(uuid, NULL), 0);
}

static void test_intent_of_this_boot_does_not(void **state)
{
    struct journal j;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    assert_int_equal(journal_check_start(uuid, NULL), 0);
    assert_int_equal(access(j.durable, F_OK), -1); /* moot: tidied away */
    journal_close(&j);
}

static void test_intent_of_another_boot_does(void **state)
{
    static const char line[] = "{\"event\":\"intent\",\"boot\":\"11111111-of-another-boot\"}\n";
    struct err e = ERR_INIT;
    struct journal j;
    int fd;

    journal_init(&j, uuid, true);
    write_event(&j, GODWIT_JOURNAL_INTENT);
    fd = open(j.durable, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
    close(fd);
    assert_int_equal(journal_check_start(uuid, &e), -EBUSY);
    assert_non_null(strstr(e.text, j.durable));
    journal_close(&j);
}

static void test_destination_journal_is_another(void **state)
{
    struct journal source, destination;

    journal_init(&source, uuid, true);
    journal_init(&destination, uuid, false);
    write_event(&destination, GODWIT_JOURNAL_READY);
    assert_int_equal(journal_check_start(uuid, NULL), 0);
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
        cmocka_unit_test_setup(test_commit_forbids_a_start, setup),
        cmocka_unit_test_setup(test_intent_of_this_boot_does_not, setup),
        cmocka_unit_test_setup(test_intent_of_another_boot_does, setup),
        cmocka_unit_test_setup(test_destination_journal_is_another, setup),
    };

    return cmocka_run_group_tests_name("vmm/journal", tests, NULL, remove_folder);
}
