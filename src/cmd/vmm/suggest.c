#include "cmd/vmm/suggest.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Optimal string alignment: three rows of the table of distances between prefixes. */
size_t suggest_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    size_t *older = rows[0], *old = rows[1], *now = rows[2], *spare;

    if (na >= WORD_MAX || nb >= WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        old[j] = j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = min3(old[j] + 1, now[j - 1] + 1, old[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                older[j - 2] + 1 < now[j])
                now[j] = older[j - 2] + 1;
        }
        spare = older;
        older = old;
        old = now;
        now = spare;
    }
    return old[nb];
}

size_t suggest_limit(const char *given)
{
    return 1 + strlen(given) / 3;
}
