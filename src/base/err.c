#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* snprintf terminates and cuts; a cut message is still worth reading, so the length is ignored. */
static void fill(struct err *e, int code, const char *stage, const char *fmt, va_list ap)
{
    e->code = code;
    snprintf(e->stage, sizeof(e->stage), "%s", stage);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
}

int err_set(struct err *e, int code, const char *stage, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return code;
    va_start(ap, fmt);
    fill(e, code, stage, fmt, ap);
    va_end(ap);
    return code;
}

int err_set_errno(struct err *e, int code, const char *stage, const char *fmt, ...)
{
    char reason[64];
    va_list ap;
    size_t len;

    if (!e)
        return code;
    va_start(ap, fmt);
    fill(e, code, stage, fmt, ap);
    va_end(ap);
    len = strlen(e->text);
    snprintf(e->text + len, sizeof(e->text) - len, ": %s",
             strerror_r(-code, reason, sizeof(reason)));
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char old[ERR_TEXT_MAX];
    va_list ap;
    size_t len;

    if (!e)
        return -EIO;
    memcpy(old, e->text, sizeof(old));
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    len = strlen(e->text);
    snprintf(e->text + len, sizeof(e->text) - len, ": %s", old);
    return e->code;
}
