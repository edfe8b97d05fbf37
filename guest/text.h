/* Building one line of text in a fixed buffer. What does not fit is cut off, never overrun. */
#ifndef WITNESS_TEXT_H
#define WITNESS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX 1024

struct text {
    size_t len;
    char buf[TEXT_MAX];
};

void text_str(struct text *t, const char *s);
void text_dec(struct text *t, uint64_t v);
void text_hex(struct text *t, uint64_t v);

/* " key=value", as every line of the witness is made of. */
void text_kv(struct text *t, const char *key, uint64_t v);
void text_kx(struct text *t, const char *key, uint64_t v);
void text_ks(struct text *t, const char *key, const char *v);

#endif
