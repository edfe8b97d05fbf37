/* -h and the man page say every option there is: they cannot drift from the table. */
#include "cmd/vmm/options.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *man_page;

static char *read_all(FILE *f)
{
    char *text = calloc(1, 1 << 20);

    assert_non_null(f);
    rewind(f);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static char *help_text(void)
{
    FILE *f = tmpfile();

    options_print_help(f);
    return read_all(f);
}

/* What begins with `mark` at the start of a line and is followed by no other letter of a name. */
static bool has_entry(const char *text, const char *mark)
{
    size_t len = strlen(mark);

    for (const char *p = strstr(text, mark); p; p = strstr(p + 1, mark)) {
        bool starts = p == text || p[-1] == '\n';

        if (starts && !isalnum((unsigned char)p[len]) && p[len] != '-')
            return true;
    }
    return false;
}

static void test_help_has_every_option_and_key(void **state)
{
    char *help = help_text(), mark[64];

    for (const struct option *o = option_table(); o->name; o++) {
        snprintf(mark, sizeof(mark), "-%s", o->name);
        if (!has_entry(help, mark))
            fail_msg("-h does not mention %s", mark);
        assert_non_null(o->help);
        assert_int_equal(o->shape == OPTION_FLAG, o->args == NULL);
        assert_int_equal(o->shape == OPTION_KEYS, o->keys != NULL);
        assert_int_equal(o->shape == OPTION_KINDS, o->kinds != NULL);
    }
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) < 120);
    free(help);
}

static void test_names_are_unique(void **state)
{
    for (const struct option *a = option_table(); a->name; a++)
        for (const struct option *b = option_table(); b != a; b++)
            assert_string_not_equal(a->name, b->name);
}

static void check_keys(const char *page, const char *option, const struct key *keys)
{
    char word[64];

    for (; keys->name; keys++) {
        snprintf(word, sizeof(word), "%s=", keys->name);
        if (!strstr(page, word))
            fail_msg("the man page does not mention %s of %s", word, option);
    }
}

static void test_man_page_has_every_option_and_key(void **state)
{
    char *page = read_all(fopen(man_page, "r")), mark[64];

    for (const struct option *o = option_table(); o->name; o++) {
        snprintf(mark, sizeof(mark), "*-%s*", o->name);
        if (!has_entry(page, mark))
            fail_msg("the man page has no entry for %s", mark);
        if (o->keys)
            check_keys(page, o->name, o->keys);
        for (const struct option_kind *k = o->kinds; k && k->name; k++) {
            if (!strstr(page, k->name))
                fail_msg("the man page does not mention -%s %s", o->name, k->name);
            check_keys(page, k->name, k->keys);
        }
    }
    free(page);
}

/* And the other way: an option the table has lost is not documented any more. */
static void test_man_page_has_nothing_else(void **state)
{
    char *page = read_all(fopen(man_page, "r"));

    for (const char *p = strstr(page, "\n*-"); p; p = strstr(p + 1, "\n*-")) {
        size_t len = strcspn(p + 3, "*");
        const struct option *o = option_table();

        while (o->name && (strlen(o->name) != len || memcmp(o->name, p + 3, len) != 0))
            o++;
        if (!o->name)
            fail_msg("the man page has -%.*s, which is no option", (int)len, p + 3);
    }
    free(page);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_has_every_option_and_key),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_man_page_has_every_option_and_key),
        cmocka_unit_test(test_man_page_has_nothing_else),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: %s MAN-PAGE\n", argv[0]);
        return 2;
    }
    man_page = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
