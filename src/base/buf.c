#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_CAP 256

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

int buf_reserve(struct buf *b, size_t extra)
{
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT;
    size_t need, cap;
    uint8_t *data;

    if (b->len > max || extra > max - b->len)
        return -EMSGSIZE;
    need = b->len + extra;
    if (need <= b->cap)
        return 0;
    cap = b->cap ? b->cap : BUF_FIRST_CAP < max ? BUF_FIRST_CAP : max;
    while (cap < need)
        cap = cap > max / 2 ? max : cap * 2;
    if (cap == SIZE_MAX)
        return -ENOMEM;
    data = realloc(b->data, cap + 1); /* one more for the terminator of buf_printf */
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int ret;

    if (len == 0)
        return 0;
    ret = buf_reserve(b, len);
    if (ret)
        return ret;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int len, ret;

    va_start(ap, fmt);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        return -EINVAL;
    ret = buf_reserve(b, (size_t)len);
    if (ret || len == 0)
        return ret;
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)len;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}
