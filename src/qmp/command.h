/*
 * Commands as their owner declares them: a table of names, typed arguments and functions.  The
 * protocol knows none of them; it checks the arguments against the table (missing, unexpected, of
 * the wrong type: an error that names the argument) before the function runs.
 */
#ifndef GODWIT_QMP_COMMAND_H
#define GODWIT_QMP_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum qmp_type {
    QMP_TYPE_STRING,
    QMP_TYPE_BOOL,
    QMP_TYPE_INT,
    QMP_TYPE_UINT, /* an integer, not negative */
    QMP_TYPE_NUMBER,
    QMP_TYPE_OBJECT,
    QMP_TYPE_ARRAY,
    QMP_TYPE_ANY,
    QMP_TYPE_COUNT
};

struct qmp_arg {
    const char *name; /* NULL ends the list */
    enum qmp_type type;
    bool required;
};

/* A command that takes these checks its arguments itself. */
extern const struct qmp_arg qmp_args_any[];

/* QEMU's error classes (its qapi/error.json). */
enum qmp_error_class {
    QMP_GENERIC_ERROR,
    QMP_COMMAND_NOT_FOUND,
    QMP_DEVICE_NOT_ACTIVE,
    QMP_DEVICE_NOT_FOUND,
    QMP_KVM_MISSING_CAP,
    QMP_ERROR_CLASS_COUNT
};

/* One execution.  Lives as long as run() does. */
struct qmp_call {
    uint64_t client;                  /* tells clients apart; never reused */
    enum qmp_error_class error_class; /* run() may set it before it fails; GenericError at first */
    int *fds;                         /* passed with the command and not taken yet */
    size_t nfds;
};

/* The next descriptor that was passed with the command, now the caller's to close; -1: none. */
int qmp_call_take_fd(struct qmp_call *call);

struct qmp_command {
    const char *name;
    /* On the server's loop thread; must not block.  args is an object, never NULL, checked, and
     * lent.  0: *ret is the answer (given away; left NULL: {}).  -errno: e->text is the answer. */
    int (*run)(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e);
    const struct qmp_arg *args; /* NULL: takes none */
};

struct qmp_table {
    const struct qmp_command *commands;
    size_t n;
    void *opaque;
};

const char *qmp_type_name(enum qmp_type t);
const char *qmp_error_class_name(enum qmp_error_class c);

/* 0 or -EINVAL, naming the argument. */
int qmp_args_check(const struct qmp_arg *args, json_t *given, struct err *e);
/* Answers one message: finds, checks, runs.  Always gives a reply object, owned by the caller
 * ({"return"} or {"error"}, with the id where the request had one); NULL only without memory. */
json_t *qmp_execute(const struct qmp_table *t, json_t *request, struct qmp_call *call);
/* Text for a person that may hold a peer's bytes: as JSON, what is no UTF-8 made harmless. */
json_t *qmp_text(const char *text);
/* {"error": {"class", "desc"}}; id may be NULL (lent). */
json_t *qmp_error_reply(enum qmp_error_class c, const char *desc, json_t *id);

#endif
