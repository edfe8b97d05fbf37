/* The scanner must find the same messages however the bytes are cut, none past its input; and each
 * of them gets exactly one answer. */
#include "fuzz.h"

#include <string.h>

#include "qmp/command.h"
#include "qmp/scanner.h"

#define FINDS_MAX 256

struct finds {
    size_t n;
    struct {
        enum qmp_scan what;
        size_t start, len;
    } at[FINDS_MAX];
};

static void find(const uint8_t *data, size_t size, size_t step, struct finds *f)
{
    struct qmp_scanner s = {0};
    size_t start = 0, seen = 0, visible = 0, used;

    f->n = 0;
    while (f->n < FINDS_MAX) {
        enum qmp_scan what = qmp_scanner_next(&s, data + start, seen, visible - start, &used);

        if (what == QMP_SCAN_MORE) {
            seen = visible - start;
            if (visible == size)
                return;
            visible = size - visible > step ? visible + step : size;
            continue;
        }
        FUZZ_CHECK(used <= visible - start);
        if (what != QMP_SCAN_BLANK) {
            f->at[f->n].what = what;
            f->at[f->n].start = start;
            f->at[f->n++].len = used;
        }
        start += used;
        seen = 0;
    }
}

static int run(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    FUZZ_CHECK(json_is_string(json_object_get(args, "name")));
    return 0;
}

static void execute(const uint8_t *text, size_t len)
{
    static const struct qmp_arg args[] = {
        {"name",  QMP_TYPE_STRING, true},
        {"count",   QMP_TYPE_UINT, false},
        {0}
    };
    static const struct qmp_command command = {"take", run, args};
    const struct qmp_table table = {&command, 1, NULL};
    json_t *request = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    struct qmp_call call = {0};
    json_t *reply;

    if (!request)
        return;
    reply = qmp_execute(&table, request, &call);
    FUZZ_CHECK(!json_object_get(reply, "return") == !!json_object_get(reply, "error"));
    FUZZ_CHECK(json_equal(json_object_get(request, "id"), json_object_get(reply, "id")) ||
               !json_object_get(request, "id"));
    json_decref(reply);
    json_decref(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct finds whole, bytes;

    if (size == 0)
        return 0;
    find(data, size, size, &whole);
    find(data, size, 1, &bytes);
    FUZZ_CHECK(whole.n == bytes.n && !memcmp(whole.at, bytes.at, whole.n * sizeof(whole.at[0])));
    for (size_t i = 0; i < whole.n; i++)
        if (whole.at[i].what == QMP_SCAN_VALUE)
            execute(data + whole.at[i].start, whole.at[i].len);
    return 0;
}
