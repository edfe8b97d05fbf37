#include "transport/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void every_form_is_taken_and_comes_back(void **state)
{
    static const struct {
        const char *uri, *host;
        uint16_t port;
    } good[] = {
        {"tcp:192.0.2.7:4446",         "192.0.2.7",            4446 },
        {"tcp:host-1.example_x.org:1", "host-1.example_x.org", 1    },
        {"tcp:[2001:db8::7]:65535",    "2001:db8::7",          65535},
        {"tcp:[::]:4446",              "::",                   4446 },
        {"tcp:[fe80::1%eth0]:4446",    "fe80::1%eth0",         4446 },
        {"tcp::0",                     "",                     0    },
        {"tcp:0:4446",                 "0",                    4446 },
    };
    char text[384];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address a;

        assert_int_equal(address_parse(good[i].uri, &a, NULL), 0);
        assert_int_equal(a.kind, ADDRESS_TCP);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        address_format(&a, text, sizeof(text));
        assert_string_equal(text, good[i].uri);
    }
}

static void unix_paths_are_taken_whole(void **state)
{
    static const char *const good[] = {"unix:/run/g.sock", "unix:relative", "unix:a:b,c=d [x]",
                                       "unix::", "unix:unix:x"};
    char text[384];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address a;

        assert_int_equal(address_parse(good[i], &a, NULL), 0);
        assert_int_equal(a.kind, ADDRESS_UNIX);
        assert_string_equal(a.path, good[i] + 5);
        address_format(&a, text, sizeof(text));
        assert_string_equal(text, good[i]);
    }
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *uri, *says;
    } bad[] = {
        {"",                              "none of tcp:, unix:, fd:"     },
        {"192.0.2.7:4446",                "none of tcp:, unix:, fd:"     },
        {"TCP:h:1",                       "none of tcp:, unix:, fd:"     },
        {"exec:rm",                       "none of tcp:, unix:, fd:"     },
        {"fd:2",                          "a number from 3"              },
        {"fd:link",                       "a number from 3"              },
        {"file:",                         "the path is missing"          },
        {"file:,offset=1",                "the path is missing"          },
        {"file:/x,offset=1z",             "a number of bytes"            },
        {"tcp:",                          "port is missing"              },
        {"tcp:host",                      "port is missing"              },
        {"tcp:host:",                     "port must be a number"        },
        {"tcp:host:x",                    "port must be a number"        },
        {"tcp:host:-1",                   "port must be a number"        },
        {"tcp:host:+1",                   "port must be a number"        },
        {"tcp:host: 1",                   "port must be a number"        },
        {"tcp:host:1 ",                   "port must be a number"        },
        {"tcp:host:65536",                "port must be a number"        },
        {"tcp:host:4294967297",           "port must be a number"        }, /* 1, were it cut to 32 bits */
        {"tcp:host:99999999999999999999", "port must be a number"        },
        {"tcp:2001:db8::7:4446",          "must stand in brackets"       },
        {"tcp:::1:4446",                  "must stand in brackets"       },
        {"tcp:[2001:db8::7:4446",         "bracket is not closed"        },
        {"tcp:[2001:db8::7]4446",         "port must follow"             },
        {"tcp:[2001:db8::7]",             "port must follow"             },
        {"tcp:[]:1",                      "neither a name nor an address"},
        {"tcp:[host]:1",                  "neither a name nor an address"},
        {"tcp:ho st:1",                   "neither a name nor an address"},
        {"tcp:host/x:1",                  "neither a name nor an address"},
        {"tcp:h\nx:1",                    "neither a name nor an address"},
        {"unix:",                         "path is missing"              },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;
        struct address a;

        assert_int_equal(address_parse(bad[i].uri, &a, &e), -EINVAL);
        if (!strstr(e.text, bad[i].says))
            fail_msg("'%s' gives '%s', not '%s'", bad[i].uri, e.text, bad[i].says);
        assert_non_null(strstr(e.text, "allowed are tcp:HOST:PORT"));
        assert_non_null(strstr(e.text, bad[i].uri));
    }
}

static void lengths_are_bounded(void **state)
{
    char uri[1000], text[384];
    struct err e = ERR_INIT;
    struct address a;

    for (size_t len = 1; len < 600; len++) {
        memset(uri, 'a', sizeof(uri));
        memcpy(uri, "tcp:", 4);
        strcpy(uri + 4 + len, ":65535");
        assert_int_equal(address_parse(uri, &a, &e), len <= 255 ? 0 : -EINVAL);
        if (len <= 255) {
            address_format(&a, text, sizeof(text));
            assert_string_equal(text, uri);
        }
        memset(uri, 'a', sizeof(uri));
        memcpy(uri, "unix:", 5);
        uri[5 + len] = '\0';
        assert_int_equal(address_parse(uri, &a, &e), len <= 107 ? 0 : -EINVAL);
    }
    assert_non_null(strstr(e.text, "107 bytes"));
    assert_non_null(strstr(e.text, "unix:PATH")); /* what is allowed is not cut off by a long URI */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_taken_and_comes_back),
        cmocka_unit_test(unix_paths_are_taken_whole),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(lengths_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
