/* CRC-32C (Castagnoli, reflected, initial and final xor 0xffffffff), as iSCSI's (RFC 3720 B.4). */
#ifndef GODWIT_WIRE_CRC_H
#define GODWIT_WIRE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* crc of data continuing from `crc` (0 to begin). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
