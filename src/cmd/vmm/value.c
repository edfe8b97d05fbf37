#include "cmd/vmm/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int value_bool(const char *s, bool *out)
{
    if (!strcmp(s, "on") || !strcmp(s, "true"))
        *out = true;
    else if (!strcmp(s, "off") || !strcmp(s, "false"))
        *out = false;
    else
        return -EINVAL;
    return 0;
}

/* strtoull takes blanks, signs and octal; options do not. */
static int parse_number(const char *s, int base, const char **end, uint64_t *out)
{
    char *stop;

    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    if (base == 16 ? !isxdigit((unsigned char)s[0]) : !isdigit((unsigned char)s[0]))
        return -EINVAL;
    errno = 0;
    *out = strtoull(s, &stop, base);
    *end = stop;
    return errno ? -ERANGE : 0;
}

int value_uint(const char *s, uint64_t *out)
{
    const char *end;
    int ret = parse_number(s, 10, &end, out);

    return ret ? ret : *end ? -EINVAL : 0;
}

static int suffix_shift(char c)
{
    static const char suffixes[] = "BKMGT";
    const char *p = strchr(suffixes, toupper((unsigned char)c));

    return p && *p ? (int)(p - suffixes) * 10 : -1;
}

int value_size(const char *s, uint64_t unit, uint64_t *out)
{
    const char *end;
    uint64_t n;
    int shift, ret = parse_number(s, 10, &end, &n);

    if (ret)
        return ret;
    if (*end) {
        shift = suffix_shift(end[0]);
        if (shift < 0 || end[1])
            return -EINVAL;
        unit = 1ULL << shift;
    }
    return __builtin_mul_overflow(n, unit, out) ? -ERANGE : 0;
}

int value_mac(const char *s, uint8_t out[6])
{
    uint8_t mac[6], any = 0;

    for (int i = 0; i < 6; i++) {
        if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]) ||
            s[2] != (i < 5 ? ':' : '\0'))
            return -EINVAL;
        mac[i] = (uint8_t)strtoul((char[]){s[0], s[1], '\0'}, NULL, 16);
        any |= mac[i];
        s += 3;
    }
    if (!any || (mac[0] & 1))
        return -EINVAL;
    memcpy(out, mac, sizeof(mac));
    return 0;
}

int value_pci_addr(const char *s, int *slot)
{
    const char *end;
    uint64_t n, function = 0;

    if (parse_number(s, 16, &end, &n) || n > 0x1f)
        return -EINVAL;
    if (*end == '.' && parse_number(end + 1, 16, &end, &function))
        return -EINVAL;
    if (*end || function)
        return -EINVAL;
    *slot = (int)n;
    return 0;
}

int value_uuid(const char *s, char out[37])
{
    if (strlen(s) != 36)
        return -EINVAL;
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return -EINVAL;
    }
    for (int i = 0; i < 37; i++)
        out[i] = (char)tolower((unsigned char)s[i]);
    return 0;
}

bool value_is_id(const char *s)
{
    if (!isalpha((unsigned char)s[0]))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-._", *s))
            return false;
    return true;
}

bool value_in_list(const char *s, const char *list)
{
    size_t len = strlen(s), word;

    for (; list; list = list[word] ? list + word + 1 : NULL) {
        word = strcspn(list, "|");
        if (word == len && !memcmp(s, list, len))
            return true;
    }
    return false;
}
