/*
 * An error as a person should read it: the stage it happened in and a text that says what, which,
 * why and what to do.  Functions return 0 or -errno and fill an optional struct err; they never
 * print or exit.  Whoever decides what the error means logs it, once.
 */
#ifndef GODWIT_BASE_ERR_H
#define GODWIT_BASE_ERR_H

#include <stddef.h>

#define ERR_STAGE_MAX 32
#define ERR_TEXT_MAX  1500

struct err {
    int code;                  /* -errno, 0 while nothing failed */
    char stage[ERR_STAGE_MAX]; /* "hello", "manifest", "boot", ... */
    char text[ERR_TEXT_MAX];
};

#define ERR_INIT {.code = 0}

/* Fills *e (NULL is fine) and returns code, so that `return err_set(e, -EINVAL, ...)` reads. */
int err_set(struct err *e, int code, const char *stage, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As err_set, with ": " and strerror(-code) appended. */
int err_set_errno(struct err *e, int code, const char *stage, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Prepends "context: " to the text of an error already set; returns e's code (-EIO without an e,
 * so that it never reads as success). */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
