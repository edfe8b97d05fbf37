#include "cmd/vmm/value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define MIB  (1ULL << 20)
#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_bool(void **state)
{
    bool v = false;

    assert_true(!value_bool("on", &v) && v);
    assert_true(!value_bool("off", &v) && !v);
    assert_true(!value_bool("true", &v) && v);
    assert_true(!value_bool("false", &v) && !v);
    assert_int_equal(value_bool("yes", &v), -EINVAL);
    assert_int_equal(value_bool("", &v), -EINVAL);
    assert_int_equal(value_bool("ON", &v), -EINVAL);
}

static void test_uint(void **state)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x", "1k", "1.5", "a"};
    uint64_t v;

    assert_int_equal(value_uint("0", &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(value_uint("010", &v), 0);
    assert_int_equal(v, 10);
    assert_int_equal(value_uint("0x1F", &v), 0);
    assert_int_equal(v, 31);
    assert_int_equal(value_uint("18446744073709551615", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(value_uint("18446744073709551616", &v), -ERANGE);
    for (size_t i = 0; i < N(bad); i++)
        assert_int_equal(value_uint(bad[i], &v), -EINVAL);
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"256",      256 * MIB          },
        {"256M",     256 * MIB          },
        {"256m",     256 * MIB          },
        {"1G",       1024 * MIB         },
        {"512g",     512ULL * 1024 * MIB},
        {"1048576K", 1024 * MIB         },
        {"7B",       7                  },
        {"1T",       1024 * 1024 * MIB  },
    };
    static const char *const bad[] = {"", "G", "1X", "1GB", "1 G", "-1G", "1.5G", "1Gi"};
    uint64_t v;

    for (size_t i = 0; i < N(good); i++) {
        assert_int_equal(value_size(good[i].text, MIB, &v), 0);
        assert_true(v == good[i].bytes);
    }
    for (size_t i = 0; i < N(bad); i++)
        assert_int_equal(value_size(bad[i], MIB, &v), -EINVAL);
    assert_int_equal(value_size("17592186044416", MIB, &v), -ERANGE);
    assert_int_equal(value_size("99999999T", MIB, &v), -ERANGE);
}

static void test_mac(void **state)
{
    static const char *const bad[] = {"",
                                      "52:54:00:12:34",
                                      "52:54:00:12:34:5",
                                      "52:54:00:12:34:56:78",
                                      "52-54-00-12-34-56",
                                      "52:54:00:12:34:5g",
                                      "00:00:00:00:00:00",
                                      "01:00:5e:00:00:01",
                                      "ff:ff:ff:ff:ff:ff",
                                      "52:54:00:12:34:56 "};
    static const uint8_t expected[6] = {0x52, 0x54, 0x00, 0xAB, 0xcd, 0xEF};
    uint8_t mac[6];

    assert_int_equal(value_mac("52:54:00:AB:cd:EF", mac), 0);
    assert_memory_equal(mac, expected, 6);
    for (size_t i = 0; i < N(bad); i++)
        assert_int_equal(value_mac(bad[i], mac), -EINVAL);
}

static void test_pci_addr(void **state)
{
    static const struct {
        const char *text;
        int slot;
    } good[] = {
        {"0",       0   },
        {"3",       3   },
        {"0x3",     3   },
        {"1f",      31  },
        {"0x1F",    31  },
        {"10",      0x10},
        {"3.0",     3   },
        {"0x3.0",   3   },
        {"0x3.0x0", 3   }
    };
    static const char *const bad[] = {"",   "20",    "0x20", "3.1", "3.",
                                      ".0", "3.0.0", "g",    "-1",  "3,0"};
    int slot;

    for (size_t i = 0; i < N(good); i++) {
        assert_int_equal(value_pci_addr(good[i].text, &slot), 0);
        assert_int_equal(slot, good[i].slot);
    }
    for (size_t i = 0; i < N(bad); i++)
        assert_int_equal(value_pci_addr(bad[i], &slot), -EINVAL);
}

static void test_uuid(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5",
                                      "9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5bb",
                                      "9a3e5c1e093d2-4f4e-a7a0-2d1c7d2e4f5b",
                                      "9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4fgb",
                                      "{a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5}"};
    char out[37];

    assert_int_equal(value_uuid("9A3E5C1E-93d2-4f4e-a7a0-2d1c7d2e4f5b", out), 0);
    assert_string_equal(out, "9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5b");
    for (size_t i = 0; i < N(bad); i++)
        assert_int_equal(value_uuid(bad[i], out), -EINVAL);
}

static void test_words(void **state)
{
    assert_true(value_is_id("rootfs"));
    assert_true(value_is_id("a-1.b_2"));
    assert_false(value_is_id(""));
    assert_false(value_is_id("1a"));
    assert_false(value_is_id("a/b"));
    assert_false(value_is_id("a b"));
    assert_true(value_in_list("b", "a|b|c"));
    assert_true(value_in_list("c", "a|b|c"));
    assert_true(value_in_list("only", "only"));
    assert_false(value_in_list("", "a|b"));
    assert_false(value_in_list("a|b", "a|b"));
    assert_false(value_in_list("bc", "a|b|c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),  cmocka_unit_test(test_uint),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_mac),   cmocka_unit_test(test_pci_addr), cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
