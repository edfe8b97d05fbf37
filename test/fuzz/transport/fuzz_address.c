/* Any string as an address: what is taken must come back the same through address_format. */
#include "fuzz.h"

#include <string.h>

#include "transport/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct address a, b;
    char uri[512], text[384];

    if (size >= sizeof(uri))
        return 0;
    memcpy(uri, data, size);
    uri[size] = '\0';
    if (address_parse(uri, &a, &e)) {
        FUZZ_CHECK(e.code < 0 && e.text[0]);
        return 0;
    }
    address_format(&a, text, sizeof(text));
    FUZZ_CHECK(strlen(text) < sizeof(text) - 1);
    FUZZ_CHECK(!address_parse(text, &b, NULL));
    FUZZ_CHECK(!memcmp(&a, &b, sizeof(a)));
    return 0;
}
