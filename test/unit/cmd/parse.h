/* Command lines as tests write them: one string, words parted by blanks, 'a b' kept together. */
#ifndef GODWIT_TEST_CMD_PARSE_H
#define GODWIT_TEST_CMD_PARSE_H

#include <stdlib.h>
#include <string.h>

#include "cmd/vmm/options.h"

struct parsed {
    struct vmm_options o;
    struct option_warnings warnings;
    enum options_action action;
    struct err e;
    int ret;
};

/* Static storage, overwritten by the next call. */
static inline struct parsed *parse(const char *line)
{
    static struct parsed p;
    char *copy = strdup(line), *argv[128];
    int argc = 0;

    argv[argc++] = (char *)"godwit-vmm";
    for (char *at = copy; *at;) {
        char end = ' ';

        if (*at == ' ') {
            at++;
            continue;
        }
        if (*at == '\'') {
            end = '\'';
            at++;
        }
        argv[argc++] = at;
        while (*at && *at != end)
            at++;
        if (*at)
            *at++ = '\0';
    }
    memset(&p.e, 0, sizeof(p.e));
    p.ret = options_parse(argc, argv, &p.o, &p.warnings, &p.action, &p.e);
    free(copy);
    return &p;
}

#endif
