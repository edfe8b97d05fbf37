#include "qmp/scanner.h"

enum step { STEP_ON, STEP_DONE, STEP_BAD };

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum step open_level(struct qmp_scanner *s, bool bracket)
{
    if (s->depth == QMP_DEPTH_MAX)
        return STEP_BAD;
    s->brackets &= ~(1ULL << s->depth);
    s->brackets |= (uint64_t)bracket << s->depth;
    s->depth++;
    return STEP_ON;
}

static enum step close_level(struct qmp_scanner *s, bool bracket)
{
    s->depth--;
    if (((s->brackets >> s->depth) & 1) != bracket)
        return STEP_BAD;
    return s->depth ? STEP_ON : STEP_DONE;
}

/* Control characters stand unescaped in no JSON string (RFC 8259, 7). */
static enum step step_string(struct qmp_scanner *s, uint8_t c)
{
    if (c < 0x20)
        return STEP_BAD;
    if (s->escaped)
        s->escaped = false;
    else if (c == '\\')
        s->escaped = true;
    else if (c == '"')
        s->in_string = false;
    return STEP_ON;
}

static enum step step_value(struct qmp_scanner *s, uint8_t c)
{
    if (s->in_string)
        return step_string(s, c);
    switch (c) {
    case '"':
        s->in_string = true;
        return STEP_ON;
    case '{':
    case '[':
        return open_level(s, c == '[');
    case '}':
    case ']':
        return close_level(s, c == ']');
    default:
        /* Outside strings JSON is ASCII (RFC 8259, 2). */
        return (c < 0x20 && !is_space(c)) || c > 0x7e ? STEP_BAD : STEP_ON;
    }
}

static void start_skipping(struct qmp_scanner *s)
{
    *s = (struct qmp_scanner){.skipping = true};
}

/* Between values, or in a line given up: finds the next byte that matters. */
static enum qmp_scan scan_between(struct qmp_scanner *s, const uint8_t *data, size_t len,
                                  size_t *used)
{
    size_t i = 0;

    while (i < len && s->skipping)
        s->skipping = data[i++] != '\n';
    while (i < len && is_space(data[i]))
        i++;
    *used = i;
    if (i > 0)
        return QMP_SCAN_BLANK;
    if (len == 0)
        return QMP_SCAN_MORE;
    /* data[0] opens no object or array: a message never begins so. */
    start_skipping(s);
    return QMP_SCAN_GARBAGE;
}

enum qmp_scan qmp_scanner_next(struct qmp_scanner *s, const uint8_t *data, size_t from, size_t len,
                               size_t *used)
{
    if (s->depth == 0 && (from == len || s->skipping || (data[from] != '{' && data[from] != '[')))
        return scan_between(s, data, len, used);
    for (size_t i = from; i < len; i++) {
        enum step step = step_value(s, data[i]);

        if (step == STEP_ON)
            continue;
        /* A newline that is itself the bad byte stays, so that it ends the skipping. */
        *used = step == STEP_DONE || data[i] != '\n' ? i + 1 : i;
        if (step == STEP_DONE)
            return QMP_SCAN_VALUE;
        start_skipping(s);
        return QMP_SCAN_GARBAGE;
    }
    return QMP_SCAN_MORE;
}

bool qmp_scanner_idle(const struct qmp_scanner *s)
{
    return s->depth == 0;
}
