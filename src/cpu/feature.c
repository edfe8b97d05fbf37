#include "cpu/feature.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_LEN 32

/* QEMU takes sse4_1, sse4.1 and sse4-1 for one; so do people. */
static char plain(char c)
{
    return c == '_' || c == '.' ? '-' : (char)tolower((unsigned char)c);
}

static bool same_name(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

/* Other names that are in use for the same bit. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"pni",         "sse3"          },
    {"sse41",       "sse4.1"        },
    {"sse42",       "sse4.2"        },
    {"lzcnt",       "abm"           },
    {"i64",         "lm"            },
    {"xd",          "nx"            },
    {"ffxsr",       "fxsr-opt"      },
    {"pclmuldq",    "pclmulqdq"     },
    {"sha",         "sha-ni"        },
    {"avx512-ifma", "avx512ifma"    },
    {"cet-ss",      "shstk"         },
    {"cet-ibt",     "ibt"           },
    {"kvm-steal",   "kvm-steal-time"},
};

const struct cpu_feature *cpu_feature_find(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (same_name(name, aliases[i].alias))
            name = aliases[i].name;
    for (size_t i = 0; i < cpu_nfeatures; i++)
        if (same_name(name, cpu_features[i].name))
            return &cpu_features[i];
    return NULL;
}

const struct cpu_feature *cpu_feature_at(uint32_t function, uint32_t index, char reg, uint8_t bit)
{
    for (size_t i = 0; i < cpu_nfeatures; i++) {
        const struct cpu_feature *f = &cpu_features[i];

        if (f->function == function && f->index == index && f->reg == reg && f->bit == bit)
            return f;
    }
    return NULL;
}

/* Levenshtein's distance, with what is longer than any feature's name cut off. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1], blen = strnlen(b, NAME_MAX_LEN);

    for (size_t j = 0; j <= blen; j++)
        row[j] = j;
    for (size_t i = 0; a[i] && i < NAME_MAX_LEN; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < blen; j++) {
            size_t change = diagonal + (plain(a[i]) != plain(b[j]));
            size_t gap = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;

            diagonal = row[j + 1];
            row[j + 1] = change < gap ? change : gap;
        }
    }
    return row[blen];
}

const char *cpu_feature_nearest(const char *name)
{
    const char *best = cpu_features[0].name;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < cpu_nfeatures; i++) {
        size_t d = distance(name, cpu_features[i].name);

        if (d < least) {
            least = d;
            best = cpu_features[i].name;
        }
    }
    return best;
}
