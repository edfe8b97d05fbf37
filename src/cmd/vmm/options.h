/*
 * The command line of godwit-vmm: QEMU's and StratoVirt's spelling, from one declarative table
 * (option_table.c) that the parser, -h, the tests and the check of the man page all read.
 */
#ifndef GODWIT_CMD_VMM_OPTIONS_H
#define GODWIT_CMD_VMM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "cmd/vmm/keyval.h"
#include "vmm/options.h"

#define OPTION_WARNINGS_MAX 16

/* What is accepted, and yet worth a word to the person. */
struct option_warnings {
    size_t n;
    char text[OPTION_WARNINGS_MAX][256];
};

void option_warn(struct option_warnings *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* What the parser has while it reads a line. */
struct option_ctx {
    struct vmm_options *o;
    struct option_warnings *warnings;
    bool serial_given;
};

/* The first word of an option's value when it decides what may follow ("-device virtio-blk-pci").
 */
struct option_kind {
    const char *name; /* NULL ends a table */
    const struct key *keys;
    int kind, transport; /* -device: enum device_kind, enum device_transport */
};

struct option;

struct option_value {
    const struct option *option;
    const char *text;               /* as given; NULL for a flag */
    const struct keyval *kv;        /* OPTION_KEYS, OPTION_KINDS */
    const struct option_kind *kind; /* OPTION_KINDS */
};

enum option_shape {
    OPTION_FLAG,  /* no value */
    OPTION_TEXT,  /* one value, the handler's to read */
    OPTION_KEYS,  /* key=value pairs, checked against keys */
    OPTION_KINDS, /* a first word of `kinds`, then pairs of its keys */
};

struct option {
    const char *name; /* without the dash; NULL ends the table */
    enum option_shape shape;
    const char *args; /* for people: "SIZE" */
    const char *help; /* one sentence, no period */
    const struct key *keys;
    const struct option_kind *kinds;
    /* NULL: accepted for others' sake, changes nothing. */
    int (*apply)(struct option_ctx *c, const struct option_value *v, struct err *e);
    /* For the handlers of options that are but one field: where it is in struct vmm_options. */
    size_t offset, size;
    unsigned given; /* the OPTION_* bit of vmm_options.given */
};

const struct option *option_table(void);

enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/* Reads a command line (argv[0] is skipped) into *o, defaults first.  -EINVAL with the option, the
 * value and what is allowed; an unknown option comes with the nearest known one. */
int options_parse(int argc, char *const argv[], struct vmm_options *o,
                  struct option_warnings *warnings, enum options_action *action, struct err *e);
/* What one option cannot see alone: what needs what. options_parse has called it. */
int options_check(const struct vmm_options *o, struct option_warnings *warnings, struct err *e);
void options_print_help(FILE *out);

#endif
