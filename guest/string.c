/* The two functions a compiler may call on its own account even in freestanding code. */
#include <stddef.h>

void *memset(void *to, int c, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);

void *memset(void *to, int c, size_t n)
{
    void *p = to;

    __asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *p = to;

    __asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
    return to;
}
