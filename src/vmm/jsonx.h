/*
 * Reading JSON that a peer wrote: every access names what is missing or of the wrong type, and the
 * first error sticks.  Over jansson, which has already bounded depth and checked UTF-8.
 */
#ifndef GODWIT_VMM_JSONX_H
#define GODWIT_VMM_JSONX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct jsonx {
    const char *stage; /* for the error */
    struct err *e;
    int rc; /* 0 or the first error */
};

json_t *jsonx_object(struct jsonx *x, json_t *o, const char *key);
/* At most max elements. */
json_t *jsonx_array(struct jsonx *x, json_t *o, const char *key, size_t max);
uint64_t jsonx_uint(struct jsonx *x, json_t *o, const char *key, uint64_t max);
bool jsonx_bool(struct jsonx *x, json_t *o, const char *key);
/* Copies a string that must fit; an absent one is an error. */
void jsonx_string(struct jsonx *x, json_t *o, const char *key, char *out, size_t cap);
/* An array of u32, count fixed. */
void jsonx_u32s(struct jsonx *x, json_t *array, uint32_t *out, size_t n, const char *what);

#endif
