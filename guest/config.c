#include "config.h"

#include <stdbool.h>
#include <stddef.h>

#include "layout.h"

static const char *const idle_names[] = {
    [IDLE_HLT] = "hlt",
    [IDLE_SPIN] = "spin",
    [IDLE_OFF] = "off",
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct option {
    const char *key;
    size_t offset;
    uint64_t initial, min, max;
    bool is_idle;
} options[] = {
    {"static_mib", offsetof(struct config, static_mib), 32,       0,  1 << 20,   false},
    {"ws_mib",     offsetof(struct config, ws_mib),     32,       0,  1 << 20,   false},
    {"rate",       offsetof(struct config, rate),       100,      0,  1 << 16,   false},
    {"verify_ms",  offsetof(struct config, verify_ms),  4000,     0,  3600000,   false},
    {"smp",        offsetof(struct config, smp),        1,        1,  MAX_CPUS,  false},
    {"seed",       offsetof(struct config, seed),       1,        0,  ~0ull,     false},
    {"text",       offsetof(struct config, text),       0,        0,  1,         false},
    {"period_ms",  offsetof(struct config, period_ms),  1000,     10, 3600000,   false},
    {"idle",       offsetof(struct config, idle),       IDLE_HLT, 0,  0,         true },
    {"idle_us",    offsetof(struct config, idle_us),    1000,     10, 1000000,   false},
    {"above4g",    offsetof(struct config, above4g),    0,        0,  1,         false},
    {"state",      offsetof(struct config, state),      1,        0,  1,         false},
    {"tsc_khz",    offsetof(struct config, tsc_khz),    0,        0,  100000000, false},
    {"pm1a",       offsetof(struct config, pm1a),       0x604,    1,  0xffff,    false},
    {"off_ms",     offsetof(struct config, off_ms),     0,        0,  ~0ull,     false},
    {"reset_ms",   offsetof(struct config, reset_ms),   0,        0,  ~0ull,     false},
};

struct word {
    const char *text;
    size_t len;
};

/* The length of key when the word begins with "key=", else 0. */
static size_t match_key(const struct word *w, const char *key)
{
    size_t n = 0;

    while (key[n] && n < w->len && w->text[n] == key[n])
        n++;
    return !key[n] && n < w->len && w->text[n] == '=' ? n : 0;
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Decimal, or hexadecimal after 0x; the whole of the text. */
static bool parse_number(const char *s, size_t n, uint64_t *value)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (n > 2 && s[0] == '0' && s[1] == 'x') {
        base = 16;
        s += 2;
        n -= 2;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned d = digit_of(s[i]);

        if (d >= base || v > (~0ull - d) / base)
            return false;
        v = v * base + d;
    }
    *value = v;
    return n > 0;
}

static bool parse_idle(const char *s, size_t n, uint64_t *value)
{
    for (unsigned i = 0; i < COUNT(idle_names); i++) {
        const char *name = idle_names[i];
        size_t k = 0;

        while (k < n && name[k] && name[k] == s[k])
            k++;
        if (k == n && !name[k]) {
            *value = i;
            return true;
        }
    }
    return false;
}

static void remember(char to[24], const struct word *w)
{
    size_t n = w->len < 23 ? w->len : 23;

    if (to[0])
        return;
    for (size_t i = 0; i < n; i++)
        to[i] = w->text[i];
    to[n] = 0;
}

static void parse_word(struct config *c, const struct word *w)
{
    for (size_t i = 0; i < COUNT(options); i++) {
        const struct option *o = &options[i];
        size_t n = match_key(w, o->key);
        uint64_t v = 0;

        if (!n)
            continue;
        if (o->is_idle
                ? !parse_idle(w->text + n + 1, w->len - n - 1, &v)
                : !parse_number(w->text + n + 1, w->len - n - 1, &v) || v < o->min || v > o->max)
            remember(c->wrong, w);
        else
            *(uint64_t *)((char *)c + o->offset) = v;
        return;
    }
    remember(c->unknown, w);
}

void config_parse(struct config *c, const char *line)
{
    c->unknown[0] = c->wrong[0] = 0;
    for (size_t i = 0; i < COUNT(options); i++)
        *(uint64_t *)((char *)c + options[i].offset) = options[i].initial;
    while (*line) {
        struct word w = {line, 0};

        while (w.text[w.len] && w.text[w.len] != ' ')
            w.len++;
        if (w.len)
            parse_word(c, &w);
        line += w.len;
        while (*line == ' ')
            line++;
    }
}

const char *config_idle_name(const struct config *c)
{
    return idle_names[c->idle];
}
