#include "text.h"

static void put(struct text *t, char c)
{
    if (t->len < TEXT_MAX)
        t->buf[t->len++] = c;
}

void text_str(struct text *t, const char *s)
{
    while (*s)
        put(t, *s++);
}

static void number(struct text *t, uint64_t v, unsigned base)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n)
        put(t, digits[--n]);
}

void text_dec(struct text *t, uint64_t v)
{
    number(t, v, 10);
}

void text_hex(struct text *t, uint64_t v)
{
    text_str(t, "0x");
    number(t, v, 16);
}

static void key_of(struct text *t, const char *key)
{
    put(t, ' ');
    text_str(t, key);
    put(t, '=');
}

void text_kv(struct text *t, const char *key, uint64_t v)
{
    key_of(t, key);
    text_dec(t, v);
}

void text_kx(struct text *t, const char *key, uint64_t v)
{
    key_of(t, key);
    text_hex(t, v);
}

void text_ks(struct text *t, const char *key, const char *v)
{
    key_of(t, key);
    text_str(t, v);
}
