/*
 * The value of an option, "first,key=value,flag": split at commas (",," is a comma in a value), and
 * checked against the keys the option's entry in the table declares.  Handlers then take the values
 * out knowing that they are of the declared form.
 */
#ifndef GODWIT_CMD_VMM_KEYVAL_H
#define GODWIT_CMD_VMM_KEYVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KEYVAL_MAX 32

enum key_type {
    KEY_STRING, /* max: bytes it may have at most, 0: no bound but the line's */
    KEY_ID,     /* max likewise */
    KEY_BOOL,   /* on|off; the bare key means on */
    KEY_CHOICE, /* one of `allowed`, "a|b|c" */
    KEY_UINT,   /* min..max */
    KEY_SIZE,   /* min..max; without a suffix in MiB */
    KEY_MAC,
    KEY_PCI_ADDR,
};

#define KEY_FIRST    1 /* the word without a key at the beginning is this one's value */
#define KEY_REQUIRED 2
#define KEY_IGNORED  4 /* accepted for others' sake; it changes nothing */

struct key {
    const char *name; /* NULL ends a table */
    enum key_type type;
    uint32_t flags;
    const char *allowed; /* KEY_CHOICE; others: NULL, the type says it */
    uint64_t min, max;
    const char *help; /* NULL: said by the option's help */
};

struct keyval {
    const struct key *keys;
    const char *option; /* for messages: "-drive" */
    size_t n;
    struct {
        const struct key *key;
        const char *value;
    } pairs[KEYVAL_MAX];
    char *text; /* owned; values point into it */
};

/* Splits and checks.  -EINVAL with option, key, value and what is allowed. */
int keyval_parse(struct keyval *kv, const char *option, const struct key *keys, const char *text,
                 struct err *e);
/* -EINVAL when a KEY_REQUIRED one is not there. keyval_parse has checked already. */
int keyval_check_required(const struct keyval *kv, struct err *e);
void keyval_fini(struct keyval *kv);

/* The value of a key, or fallback when it was not given. */
const char *keyval_string(const struct keyval *kv, const char *name, const char *fallback);
bool keyval_bool(const struct keyval *kv, const char *name, bool fallback);
uint64_t keyval_uint(const struct keyval *kv, const char *name, uint64_t fallback);
uint64_t keyval_size(const struct keyval *kv, const char *name, uint64_t fallback);
/* True when it was given; copies at most cap-1 bytes (its declared max ensures that it fits). */
bool keyval_copy(const struct keyval *kv, const char *name, char *out, size_t cap);

/* One line that says what a key takes: "on|off", "1 to 254", ... */
void key_describe(const struct key *k, char *out, size_t cap);

#endif
