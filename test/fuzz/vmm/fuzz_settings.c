/* Migration parameters (an object) and capabilities (a list), as any client may send them. */
#include "fuzz.h"

#include <string.h>

#include "vmm/migrate_caps.h"
#include "vmm/migrate_params.h"

/* Whatever was taken is told again in words that are taken. */
static void check_told(const struct migrate_settings *s)
{
    struct migrate_settings again = *s;
    struct err e = ERR_INIT;
    json_t *params = migrate_params_query(s), *caps = migrate_caps_query(s);

    FUZZ_CHECK(migrate_params_set(&again, params, &e) == 0);
    FUZZ_CHECK(migrate_caps_set(&again, caps, true, &e) == 0);
    FUZZ_CHECK(memcmp(s, &again, sizeof(again)) == 0);
    json_decref(params);
    json_decref(caps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *input = json_loadb((const char *)data, size, 0, NULL);
    struct migrate_settings s, before;
    struct godwit_params p;
    struct err e = ERR_INIT;
    int rc;

    memset(&s, 0, sizeof(s));
    migrate_settings_init(&s);
    before = s;
    if (!json_is_object(input) && !json_is_array(input)) {
        json_decref(input);
        return 0;
    }
    rc = json_is_object(input) ? migrate_params_set(&s, input, &e)
                               : migrate_caps_set(&s, input, true, &e);
    FUZZ_CHECK(rc == 0 || (rc < 0 && e.text[0] && memcmp(&s, &before, sizeof(s)) == 0));
    check_told(&s);
    migrate_settings_engine(&s, &p);
    FUZZ_CHECK(p.lanes <= GODWIT_LANES_MAX && p.downtime_limit_ms > 0 && p.throttle_max < 100);
    FUZZ_CHECK(p.on_timeout != GODWIT_TIMEOUT_POSTCOPY && p.compression < GODWIT_COMPRESS_COUNT);
    FUZZ_CHECK(s.announce.initial_ms <= s.announce.max_ms && s.announce.max_ms > 0);
    json_decref(input);
    return 0;
}
