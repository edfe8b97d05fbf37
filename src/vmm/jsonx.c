#include "vmm/jsonx.h"

#include <errno.h>
#include <string.h>

static void jsonx_fail(struct jsonx *x, const char *key, const char *wanted)
{
    if (x->rc == 0)
        x->rc = err_set(x->e, -EPROTO, x->stage, "'%s' is missing or not %s", key, wanted);
}

json_t *jsonx_object(struct jsonx *x, json_t *o, const char *key)
{
    json_t *v = x->rc == 0 ? json_object_get(o, key) : NULL;

    if (!json_is_object(v)) {
        jsonx_fail(x, key, "an object");
        return NULL;
    }
    return v;
}

json_t *jsonx_array(struct jsonx *x, json_t *o, const char *key, size_t max)
{
    json_t *v = x->rc == 0 ? json_object_get(o, key) : NULL;

    if (!json_is_array(v)) {
        jsonx_fail(x, key, "an array");
        return NULL;
    }
    if (json_array_size(v) > max) {
        x->rc = err_set(x->e, -EPROTO, x->stage, "'%s' has %zu elements, more than %zu", key,
                        json_array_size(v), max);
        return NULL;
    }
    return v;
}

uint64_t jsonx_uint(struct jsonx *x, json_t *o, const char *key, uint64_t max)
{
    json_t *v = x->rc == 0 ? json_object_get(o, key) : NULL;

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        jsonx_fail(x, key, "a number from 0 up");
        return 0;
    }
    if ((uint64_t)json_integer_value(v) > max) {
        x->rc = err_set(x->e, -EPROTO, x->stage, "'%s' is %lld, above the maximum of %llu", key,
                        (long long)json_integer_value(v), (unsigned long long)max);
        return 0;
    }
    return (uint64_t)json_integer_value(v);
}

bool jsonx_bool(struct jsonx *x, json_t *o, const char *key)
{
    json_t *v = x->rc == 0 ? json_object_get(o, key) : NULL;

    if (!json_is_boolean(v))
        jsonx_fail(x, key, "true or false");
    return json_is_true(v);
}

void jsonx_string(struct jsonx *x, json_t *o, const char *key, char *out, size_t cap)
{
    json_t *v = x->rc == 0 ? json_object_get(o, key) : NULL;

    memset(out, 0, cap);
    if (!json_is_string(v)) {
        jsonx_fail(x, key, "a string");
        return;
    }
    if (json_string_length(v) >= cap || strlen(json_string_value(v)) != json_string_length(v)) {
        x->rc = err_set(x->e, -EPROTO, x->stage, "'%s' is longer than %zu bytes", key, cap - 1);
        return;
    }
    memcpy(out, json_string_value(v), json_string_length(v));
}

void jsonx_u32s(struct jsonx *x, json_t *array, uint32_t *out, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_array_get(array, i);

        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) > UINT32_MAX) {
            jsonx_fail(x, what, "an array of 32-bit numbers");
            return;
        }
        out[i] = (uint32_t)json_integer_value(v);
    }
}
