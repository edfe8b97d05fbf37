#include "stream/native/native.h"

#include <stddef.h>

#include "stream/native/pages.h"

#define KIB 1024U
#define MIB (1024U * KIB)

/* The manifest and the state have the public header's maxima; the slack is for what frames them. */
#define SLACK       (16U * KIB)
#define UNKNOWN_MAX (64U * KIB)

struct native_kind {
    const char *name;
    uint64_t max;
};

static const struct native_kind kinds[] = {
    [0] = {"unknown",   UNKNOWN_MAX            },
    [NATIVE_HELLO] = {"hello",     256                    },
    [NATIVE_WELCOME] = {"welcome",   256                    },
    [NATIVE_ERROR] = {"error",     4 * KIB                },
    [NATIVE_MANIFEST] = {"manifest",  4 * MIB + SLACK        },
    [NATIVE_ACCEPT] = {"accept",    256                    },
    [NATIVE_ROUND] = {"round",     256                    },
    [NATIVE_PAGES] = {"pages",     NATIVE_PAGES_LENGTH_MAX},
    [NATIVE_MARK] = {"mark",      256                    },
    [NATIVE_STATE] = {"state",     64 * MIB + SLACK       },
    [NATIVE_READY] = {"ready",     4 * KIB                },
    [NATIVE_COMMIT] = {"commit",    4 * KIB                },
    [NATIVE_RUNNING] = {"running",   4 * KIB                },
    [NATIVE_NEVER_RAN] = {"never-ran", 4 * KIB                },
    [NATIVE_ABORT] = {"abort",     4 * KIB                },
    [NATIVE_QUERY] = {"query",     4 * KIB                },
    [NATIVE_PING] = {"ping",      256                    },
    [NATIVE_PONG] = {"pong",      256                    },
    [NATIVE_PASSED] = {"passed",    256                    },
    [NATIVE_PACKED] = {"packed",    512 * KIB              },
    [NATIVE_RESUME] = {"resume",    4 * KIB                },
    [NATIVE_REHEARSAL] = {"rehearsal", 64 * MIB + SLACK       },
    [NATIVE_REHEARSED] = {"rehearsed", 256                    },
    [NATIVE_TIMES] = {"times",     256                    },
    [NATIVE_DIGEST] = {"digest",    256                    },
    [NATIVE_DIFFERS] = {"differs",   MIB                    },
    [NATIVE_VIEW] = {"view",      256                    },
    [NATIVE_SEEN] = {"seen",      NATIVE_PAGES_HEAD_MAX  },
};

_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == NATIVE_TYPE_END, "a kind for every type");

bool native_type_known(uint32_t type)
{
    return type > 0 && type < NATIVE_TYPE_END;
}

const char *native_type_name(uint32_t type)
{
    return kinds[native_type_known(type) ? type : 0].name;
}

uint64_t native_type_max(uint32_t type)
{
    return kinds[native_type_known(type) ? type : 0].max;
}

const char *native_arch_name(uint32_t arch)
{
    switch (arch) {
    case NATIVE_ARCH_X86_64:
        return "x86_64";
    case NATIVE_ARCH_AARCH64:
        return "aarch64";
    default:
        return "unknown";
    }
}

uint32_t native_arch_self(void)
{
#if defined(__x86_64__)
    return NATIVE_ARCH_X86_64;
#elif defined(__aarch64__)
    return NATIVE_ARCH_AARCH64;
#else
#error "this architecture has no number in the stream yet"
#endif
}
