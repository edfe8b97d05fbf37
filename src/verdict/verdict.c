#include "verdict/verdict.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STAGE     "manifest"
#define MORE_ROOM 40 /* bytes for "; and 4294967295 more" */

void verdict_add(struct verdict *v, const char *source, const char *here, const char *advice,
                 const char *field_fmt, ...)
{
    struct verdict_item *item;
    va_list ap;

    v->n++;
    if (v->nkept == VERDICT_ITEMS_MAX)
        return;
    item = &v->items[v->nkept++];
    va_start(ap, field_fmt);
    vsnprintf(item->field, sizeof(item->field), field_fmt, ap);
    va_end(ap);
    snprintf(item->source, sizeof(item->source), "%s", source);
    snprintf(item->here, sizeof(item->here), "%s", here);
    snprintf(item->advice, sizeof(item->advice), "%s", advice);
}

static int format_item(const struct verdict_item *i, char *out, size_t cap)
{
    return snprintf(out, cap, "%s: %s at the source, %s here: %s", i->field, i->source, i->here,
                    i->advice);
}

int verdict_format(const struct verdict *v, struct buf *out)
{
    char line[sizeof(struct verdict_item) + 64];
    int ret = 0;

    for (uint32_t i = 0; i < v->nkept && !ret; i++) {
        format_item(&v->items[i], line, sizeof(line));
        ret = buf_printf(out, "%s\n", line);
    }
    if (!ret && v->n > v->nkept)
        ret = buf_printf(out, "and %u more\n", v->n - v->nkept);
    return ret;
}

int verdict_error(const struct verdict *v, struct err *e)
{
    char line[sizeof(struct verdict_item) + 64], text[ERR_TEXT_MAX];
    const size_t room = sizeof(text) - MORE_ROOM;
    size_t len = 0;
    uint32_t i;

    if (v->n == 0)
        return 0;
    for (i = 0; i < v->nkept; i++) {
        size_t need = (size_t)format_item(&v->items[i], line, sizeof(line)) + (i ? 2 : 0);

        /* The first is said in any case, cut if it must be. */
        if (i > 0 && len + need >= room)
            break;
        len += (size_t)snprintf(text + len, room - len, "%s%s", i ? "; " : "", line);
        if (len >= room)
            len = room - 1;
    }
    if (v->n > i)
        snprintf(text + len, sizeof(text) - len, "; and %u more", v->n - i);
    return err_set(e, -EINVAL, STAGE, "%s", text);
}
