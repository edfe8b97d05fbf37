#include "cmd/vmm/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/vmm/suggest.h"
#include "cmd/vmm/value.h"

#define STAGE "command line"
#define MIB   (1ULL << 20)

static void describe_size(uint64_t bytes, char *out, size_t cap)
{
    if (bytes >= 1ULL << 30 && bytes % (1ULL << 30) == 0)
        snprintf(out, cap, "%lluG", (unsigned long long)(bytes >> 30));
    else
        snprintf(out, cap, "%lluM", (unsigned long long)(bytes >> 20));
}

void key_describe(const struct key *k, char *out, size_t cap)
{
    char low[24], high[24];

    switch (k->type) {
    case KEY_STRING:
        if (k->max)
            snprintf(out, cap, "a text of 1 to %llu bytes", (unsigned long long)k->max);
        else
            snprintf(out, cap, "a text");
        break;
    case KEY_ID:
        snprintf(out, cap,
                 "a name of at most %llu letters, digits, '-', '.', '_' that begins with "
                 "a letter",
                 (unsigned long long)k->max);
        break;
    case KEY_BOOL:
        snprintf(out, cap, "on|off");
        break;
    case KEY_CHOICE:
        snprintf(out, cap, "%s", k->allowed);
        break;
    case KEY_UINT:
        snprintf(out, cap, "%llu to %llu", (unsigned long long)k->min, (unsigned long long)k->max);
        break;
    case KEY_SIZE:
        describe_size(k->min, low, sizeof(low));
        describe_size(k->max, high, sizeof(high));
        snprintf(out, cap, "%s to %s, in MiB or with a suffix K, M, G", low, high);
        break;
    case KEY_MAC:
        snprintf(out, cap, "six bytes as in 52:54:00:12:34:56, no group address");
        break;
    case KEY_PCI_ADDR:
        snprintf(out, cap, "a slot from 0x0 to 0x1f (hexadecimal), function 0");
        break;
    }
}

static bool value_ok(const struct key *k, const char *v)
{
    size_t len = strlen(v);
    uint8_t mac[6];
    uint64_t n;
    bool on;
    int slot;

    switch (k->type) {
    case KEY_STRING:
        return len > 0 && (!k->max || len <= k->max);
    case KEY_ID:
        return len <= k->max && value_is_id(v);
    case KEY_BOOL:
        return !value_bool(v, &on);
    case KEY_CHOICE:
        return value_in_list(v, k->allowed);
    case KEY_UINT:
        return !value_uint(v, &n) && n >= k->min && n <= k->max;
    case KEY_SIZE:
        return !value_size(v, MIB, &n) && n >= k->min && n <= k->max;
    case KEY_MAC:
        return !value_mac(v, mac);
    case KEY_PCI_ADDR:
        return !value_pci_addr(v, &slot);
    }
    return false;
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (; keys->name; keys++)
        if (!strcmp(keys->name, name))
            return keys;
    return NULL;
}

static const struct key *first_key(const struct key *keys)
{
    for (; keys->name; keys++)
        if (keys->flags & KEY_FIRST)
            return keys;
    return NULL;
}

/* "id, file, readonly": what an option takes. */
static void list_keys(const struct key *keys, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (; keys->name && len < cap; keys++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", keys->name);
}

static int unknown_key(const struct keyval *kv, const char *name, struct err *e)
{
    size_t best = suggest_limit(name) + 1, d;
    const char *nearest = NULL;
    char list[256];

    for (const struct key *k = kv->keys; k->name; k++) {
        d = suggest_distance(name, k->name);
        if (d < best) {
            best = d;
            nearest = k->name;
        }
    }
    if (nearest)
        return err_set(e, -EINVAL, STAGE, "%s has no '%.64s'; did you mean '%s'?", kv->option, name,
                       nearest);
    list_keys(kv->keys, list, sizeof(list));
    return err_set(e, -EINVAL, STAGE, "%s has no '%.64s'; it takes %s", kv->option, name, list);
}

static int add_pair(struct keyval *kv, const struct key *k, const char *value, struct err *e)
{
    bool first = k->flags & KEY_FIRST;
    char allowed[160];

    for (size_t i = 0; i < kv->n; i++)
        if (kv->pairs[i].key == k)
            return err_set(e, -EINVAL, STAGE, "%s has %s= twice", kv->option, k->name);
    if (kv->n == KEYVAL_MAX)
        return err_set(e, -EINVAL, STAGE, "%s has more than %d parts", kv->option, KEYVAL_MAX);
    if (!value_ok(k, value)) {
        key_describe(k, allowed, sizeof(allowed));
        return err_set(e, -EINVAL, STAGE, "%s %s%s%.160s: not a valid value (allowed: %s)",
                       kv->option, first ? "" : k->name, first ? "" : "=", value, allowed);
    }
    kv->pairs[kv->n].key = k;
    kv->pairs[kv->n++].value = value;
    return 0;
}

/* QEMU's old spellings of the two flags of sockets. */
static int add_flag(struct keyval *kv, const char *word, struct err *e)
{
    const struct key *k = find_key(kv->keys, word);

    if (!k && !strncmp(word, "no", 2)) {
        k = find_key(kv->keys, word + 2);
        if (k && k->type == KEY_BOOL)
            return add_pair(kv, k, "off", e);
        k = NULL;
    }
    if (!k)
        return unknown_key(kv, word, e);
    if (k->type != KEY_BOOL)
        return err_set(e, -EINVAL, STAGE, "%s: '%s' lacks its value, write %s=...", kv->option,
                       k->name, k->name);
    return add_pair(kv, k, "on", e);
}

static int add_word(struct keyval *kv, char *word, bool first, struct err *e)
{
    const struct key *k = first_key(kv->keys);
    char *equals = strchr(word, '=');

    /* A path may hold a '='; what stands before it is no key then. */
    if (first && k && (!equals || k->type == KEY_STRING)) {
        if (equals)
            *equals = '\0';
        if (!equals || !find_key(kv->keys, word)) {
            if (equals)
                *equals = '=';
            return add_pair(kv, k, word, e);
        }
        *equals = '=';
    }
    if (!equals)
        return add_flag(kv, word, e);
    *equals = '\0';
    k = find_key(kv->keys, word);
    return k ? add_pair(kv, k, equals + 1, e) : unknown_key(kv, word, e);
}

/* Ends the word at the next single comma, halving double ones; the start of the next word, or
 * NULL. */
static char *cut_word(char *word)
{
    char *to = word;

    for (char *from = word; *from; from++) {
        if (from[0] == ',' && from[1] == ',')
            from++;
        else if (from[0] == ',') {
            *to = '\0';
            return from + 1;
        }
        *to++ = *from;
    }
    *to = '\0';
    return NULL;
}

int keyval_check_required(const struct keyval *kv, struct err *e)
{
    for (const struct key *k = kv->keys; k->name; k++)
        if (k->flags & KEY_REQUIRED && !keyval_string(kv, k->name, NULL))
            return err_set(e, -EINVAL, STAGE, "%s lacks %s=", kv->option, k->name);
    return 0;
}

int keyval_parse(struct keyval *kv, const char *option, const struct key *keys, const char *text,
                 struct err *e)
{
    char *word, *next;
    bool first = true;
    int ret = 0;

    *kv = (struct keyval){.keys = keys, .option = option, .text = strdup(text)};
    if (!kv->text)
        return err_set(e, -ENOMEM, STAGE, "no memory");
    for (word = kv->text; word && !ret; word = next, first = false) {
        next = cut_word(word);
        ret = word[0] ? add_word(kv, word, first, e)
                      : err_set(e, -EINVAL, STAGE, "%s '%.160s': something is missing %s", option,
                                text, text[0] ? "beside a comma" : "after it");
    }
    if (!ret)
        ret = keyval_check_required(kv, e);
    if (ret)
        keyval_fini(kv);
    return ret;
}

void keyval_fini(struct keyval *kv)
{
    free(kv->text);
    *kv = (struct keyval){0};
}

const char *keyval_string(const struct keyval *kv, const char *name, const char *fallback)
{
    for (size_t i = 0; i < kv->n; i++)
        if (!strcmp(kv->pairs[i].key->name, name))
            return kv->pairs[i].value;
    return fallback;
}

bool keyval_bool(const struct keyval *kv, const char *name, bool fallback)
{
    const char *v = keyval_string(kv, name, NULL);
    bool out = fallback;

    if (v)
        value_bool(v, &out);
    return out;
}

uint64_t keyval_uint(const struct keyval *kv, const char *name, uint64_t fallback)
{
    const char *v = keyval_string(kv, name, NULL);
    uint64_t out = fallback;

    if (v)
        value_uint(v, &out);
    return out;
}

uint64_t keyval_size(const struct keyval *kv, const char *name, uint64_t fallback)
{
    const char *v = keyval_string(kv, name, NULL);
    uint64_t out = fallback;

    if (v)
        value_size(v, MIB, &out);
    return out;
}

bool keyval_copy(const struct keyval *kv, const char *name, char *out, size_t cap)
{
    const char *v = keyval_string(kv, name, NULL);

    if (v)
        snprintf(out, cap, "%s", v);
    return v;
}
