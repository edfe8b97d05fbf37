/* Synthetic kernels, as bytes that tests bend. */
#ifndef GODWIT_TEST_UNIT_MACHINE_IMAGES_H
#define GODWIT_TEST_UNIT_MACHINE_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX 16384

struct image_bytes {
    size_t len;
    uint8_t data[IMAGE_MAX];
};

void put16(struct image_bytes *i, size_t at, uint16_t v);
void put32(struct image_bytes *i, size_t at, uint32_t v);
void put64(struct image_bytes *i, size_t at, uint64_t v);

/* Boot protocol 2.15, one setup sector, 4096 bytes of kernel (0x90 each) for 16 MiB. */
void image_bzimage(struct image_bytes *i);

#define ELF_PADDR 0x200000
#define ELF_ENTRY 0x200010
#define ELF_PVH   0x200020
/* Offsets of what tests bend. */
#define ELF_PHDR(n)    (64 + 56 * (n))
#define ELF_NOTE_AT    0x200
#define ELF_SEGMENT_AT 0x1000
/* One segment of 256 bytes (0xcc each), 4096 in memory; a PVH note when asked for. */
void image_elf(struct image_bytes *i, int pvh);

#endif
