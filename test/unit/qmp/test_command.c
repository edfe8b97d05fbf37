#include "qmp/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int run_sum(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    (*(int *)opaque)++;
    *ret = json_integer(json_integer_value(json_object_get(args, "a")) +
                        json_integer_value(json_object_get(args, "b")));
    return 0;
}

static int run_nothing(void *opaque, struct qmp_call *call, json_t *args, json_t **ret,
                       struct err *e)
{
    assert_true(json_is_object(args));
    return 0;
}

/* Fails after it made an answer: that one must go. */
static int run_fail(void *opaque, struct qmp_call *call, json_t *args, json_t **ret, struct err *e)
{
    *ret = json_object();
    call->error_class = QMP_DEVICE_NOT_FOUND;
    return err_set(e, -ENODEV, "test", "no device \xff");
}

static int run_silent(void *opaque, struct qmp_call *call, json_t *args, json_t **ret,
                      struct err *e)
{
    return -EBUSY;
}

static const struct qmp_arg sum_args[] = {
    {"a",   QMP_TYPE_INT, true},
    {"b", QMP_TYPE_UINT, false},
    {0  }
};
static const struct qmp_arg type_args[] = {
    {"string", QMP_TYPE_STRING, false},
    {"bool",   QMP_TYPE_BOOL, false},
    {"int",   QMP_TYPE_INT, false},
    {"uint",   QMP_TYPE_UINT, false},
    {"number",    QMP_TYPE_NUMBER, false},
    {"object",   QMP_TYPE_OBJECT, false},
    {"array",   QMP_TYPE_ARRAY, false},
    {"any",   QMP_TYPE_ANY, false},
    {0}
};
static const struct qmp_command commands[] = {
    {"sum",     run_sum,     sum_args},
    {"nothing", run_nothing, NULL    },
    {"fail",    run_fail,    NULL    },
    {"silent",  run_silent,  NULL    }
};

static int runs;

static void check(const char *request, const char *expected)
{
    const struct qmp_table table = {commands, sizeof(commands) / sizeof(commands[0]), &runs};
    json_t *r = json_loads(request, JSON_DECODE_ANY, NULL);
    struct qmp_call call = {0};
    json_t *reply = qmp_execute(&table, r, &call);
    char *text = json_dumps(reply, JSON_COMPACT);

    assert_non_null(r);
    assert_string_equal(text, expected);
    free(text);
    json_decref(reply);
    json_decref(r);
}

#define GENERIC(desc) "{\"error\":{\"class\":\"GenericError\",\"desc\":\"" desc "\"}}"

static void test_answers(void **state)
{
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":-1,\"b\":3}}", "{\"return\":2}");
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":4}}", "{\"return\":4}");
    check("{\"execute\":\"nothing\"}", "{\"return\":{}}");
    check("{\"execute\":\"nothing\",\"arguments\":{}}", "{\"return\":{}}");
    check("{\"execute\":\"fail\"}",
          "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"no device ?\"}}");
    check("{\"execute\":\"silent\"}", GENERIC("Device or resource busy"));
}

static void test_ids_of_any_type_come_back(void **state)
{
    static const char *const ids[] = {
        "1", "-1.5", "\"x\"", "null", "true", "[1]", "{\"a\":{\"b\":0}}"};
    char request[128], expected[256];

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        snprintf(request, sizeof(request), "{\"execute\":\"nothing\",\"id\":%s}", ids[i]);
        snprintf(expected, sizeof(expected), "{\"return\":{},\"id\":%s}", ids[i]);
        check(request, expected);
        snprintf(request, sizeof(request), "{\"execute\":\"none\",\"id\":%s}", ids[i]);
        snprintf(expected, sizeof(expected),
                 "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command none has not "
                 "been found\"},\"id\":%s}",
                 ids[i]);
        check(request, expected);
    }
    check("{\"id\":7}", "{\"error\":{\"class\":\"GenericError\",\"desc\":\"QMP input lacks member "
                        "'execute'\"},\"id\":7}");
}

static void test_arguments_are_checked_before_the_run(void **state)
{
    runs = 0;
    check("{\"execute\":\"sum\"}", GENERIC("Parameter 'a' is missing"));
    check("{\"execute\":\"sum\",\"arguments\":{\"b\":1}}", GENERIC("Parameter 'a' is missing"));
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":1,\"c\":1}}",
          GENERIC("Parameter 'c' is unexpected"));
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":\"1\"}}",
          GENERIC("Invalid parameter type for 'a', expected: integer"));
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":1.0}}",
          GENERIC("Invalid parameter type for 'a', expected: integer"));
    check("{\"execute\":\"sum\",\"arguments\":{\"a\":1,\"b\":-1}}",
          GENERIC("Invalid parameter type for 'b', expected: integer >= 0"));
    check("{\"execute\":\"nothing\",\"arguments\":{\"x\":1}}",
          GENERIC("Parameter 'x' is unexpected"));
    assert_int_equal(runs, 0);
}

static void test_malformed_requests(void **state)
{
    check("[]", GENERIC("QMP input must be a JSON object"));
    check("3", GENERIC("QMP input must be a JSON object"));
    check("{}", GENERIC("QMP input lacks member 'execute'"));
    check("{\"execute\":1}", GENERIC("QMP input member 'execute' must be of type string"));
    check("{\"execute\":\"sum\",\"arguments\":[]}",
          GENERIC("QMP input member 'arguments' must be of type object"));
    check("{\"execute\":\"sum\",\"control\":1}",
          GENERIC("QMP input member 'control' is unexpected"));
    check("{\"exec-oob\":\"sum\"}", GENERIC("QMP input member 'exec-oob' is unexpected"));
}

/* Each type takes its own values and no others. */
static void test_types(void **state)
{
    static const struct {
        const char *value, *takes;
    } cases[] = {
        {"\"s\"", " string any "         },
        {"true",  " bool any "           },
        {"1",     " int uint number any "},
        {"-1",    " int number any "     },
        {"1.5",   " number any "         },
        {"{}",    " object any "         },
        {"[]",    " array any "          },
        {"null",  " any "                },
    };
    char request[64], word[16];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (const struct qmp_arg *a = type_args; a->name; a++) {
            json_t *args;

            snprintf(request, sizeof(request), "{\"%s\":%s}", a->name, cases[i].value);
            snprintf(word, sizeof(word), " %s ", a->name);
            args = json_loads(request, 0, NULL);
            assert_int_equal(qmp_args_check(type_args, args, NULL),
                             strstr(cases[i].takes, word) ? 0 : -EINVAL);
            json_decref(args);
        }
}

static void test_take_fd(void **state)
{
    int fds[] = {5, 6};
    struct qmp_call call = {.fds = fds, .nfds = 2};

    assert_int_equal(qmp_call_take_fd(&call), 5);
    assert_int_equal(qmp_call_take_fd(&call), 6);
    assert_int_equal(qmp_call_take_fd(&call), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_ids_of_any_type_come_back),
        cmocka_unit_test(test_arguments_are_checked_before_the_run),
        cmocka_unit_test(test_malformed_requests),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_take_fd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
