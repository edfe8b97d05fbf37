#include "cmd/vmm/keyval.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct key keys[] = {
    {.name = "path",                     .type = KEY_STRING, .flags = KEY_FIRST | KEY_REQUIRED, .max = 20},
    {.name = "id", .type = KEY_ID, .max = 8},
    {.name = "wait",                                  .type = KEY_BOOL},
    {.name = "mode",                    .type = KEY_CHOICE, .allowed = "fast|slow"},
    {.name = "count",                                  .type = KEY_UINT, .min = 1, .max = 9},
    {.name = "size",.type = KEY_SIZE, .min = 1 << 20, .max = 1 << 30},
    {.name = "mac",                     .type = KEY_MAC},
    {.name = "addr",            .type = KEY_PCI_ADDR},
    {0                   }
};

static void test_values_come_out(void **state)
{
    struct keyval kv;
    char small[8];

    assert_int_equal(
        keyval_parse(&kv, "-x", keys, "a,,b=c,id=d1,nowait,mode=slow,count=0x3,size=2", NULL), 0);
    assert_string_equal(keyval_string(&kv, "path", NULL), "a,b=c");
    assert_true(keyval_copy(&kv, "id", small, sizeof(small)));
    assert_string_equal(small, "d1");
    assert_false(keyval_bool(&kv, "wait", true));
    assert_string_equal(keyval_string(&kv, "mode", ""), "slow");
    assert_int_equal(keyval_uint(&kv, "count", 0), 3);
    assert_int_equal(keyval_size(&kv, "size", 0), 2 << 20);
    assert_null(keyval_string(&kv, "mac", NULL));
    assert_int_equal(keyval_uint(&kv, "addr", 77), 77);
    assert_false(keyval_copy(&kv, "mac", small, sizeof(small)));
    keyval_fini(&kv);
    /* The first word by its name, and a flag by its own. */
    assert_int_equal(keyval_parse(&kv, "-x", keys, "wait,path=p", NULL), -EINVAL);
    assert_int_equal(keyval_parse(&kv, "-x", keys, "path=p,wait", NULL), 0);
    assert_string_equal(keyval_string(&kv, "path", NULL), "p");
    assert_true(keyval_bool(&kv, "wait", false));
    keyval_fini(&kv);
}

static void refused(const char *text, const char *message)
{
    struct keyval kv;
    struct err e = ERR_INIT;

    assert_int_equal(keyval_parse(&kv, "-x", keys, text, &e), -EINVAL);
    assert_string_equal(e.text, message);
}

static void test_refusals(void **state)
{
    char many[1024] = "p";

    refused("", "-x '': something is missing after it");
    refused("p,", "-x 'p,': something is missing beside a comma");
    refused("p,id=a,,,wait", "-x id=a,: not a valid value (allowed: a name of at most 8 letters, "
                             "digits, '-', '.', '_' that begins with a letter)");
    refused("id=a", "-x lacks path=");
    refused("path=", "-x : not a valid value (allowed: a text of 1 to 20 bytes)");
    refused("123456789012345678901",
            "-x 123456789012345678901: not a valid value (allowed: a text of 1 to 20 bytes)");
    refused("p,id=123", "-x id=123: not a valid value (allowed: a name of at most 8 letters, "
                        "digits, '-', '.', '_' that begins with a letter)");
    refused("p,wait=maybe", "-x wait=maybe: not a valid value (allowed: on|off)");
    refused("p,mode=quick", "-x mode=quick: not a valid value (allowed: fast|slow)");
    refused("p,count=0", "-x count=0: not a valid value (allowed: 1 to 9)");
    refused("p,count=10", "-x count=10: not a valid value (allowed: 1 to 9)");
    refused("p,size=2G",
            "-x size=2G: not a valid value (allowed: 1M to 1G, in MiB or with a suffix K, M, G)");
    refused("p,mac=1", "-x mac=1: not a valid value (allowed: six bytes as in 52:54:00:12:34:56, "
                       "no group address)");
    refused("p,addr=20",
            "-x addr=20: not a valid value (allowed: a slot from 0x0 to 0x1f (hexadecimal), "
            "function 0)");
    refused("p,cuont=3", "-x has no 'cuont'; did you mean 'count'?");
    refused("p,elephant=3",
            "-x has no 'elephant'; it takes path, id, wait, mode, count, size, mac, addr");
    refused("p,elephant",
            "-x has no 'elephant'; it takes path, id, wait, mode, count, size, mac, addr");
    refused("p,mode", "-x: 'mode' lacks its value, write mode=...");
    refused("p,wait,nowait", "-x has wait= twice");
    for (int i = 0; i < 40; i++)
        strcat(many, ",q=1");
    refused(many, "-x has no 'q'; it takes path, id, wait, mode, count, size, mac, addr");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_come_out),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
