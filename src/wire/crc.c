#include "wire/crc.h"

#include <isa-l/crc.h>

/* crc32_iscsi counts in int. */
#define CHUNK_MAX (1U << 30)

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    /* It neither inverts what it is given nor what it returns. */
    crc = ~crc;
    while (len > 0) {
        size_t n = len < CHUNK_MAX ? len : CHUNK_MAX;

        crc = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)n, crc);
        p += n;
        len -= n;
    }
    return ~crc;
}
