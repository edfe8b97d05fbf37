#include "images.h"

#include <string.h>

void put16(struct image_bytes *i, size_t at, uint16_t v)
{
    memcpy(i->data + at, &v, sizeof(v));
}

void put32(struct image_bytes *i, size_t at, uint32_t v)
{
    memcpy(i->data + at, &v, sizeof(v));
}

void put64(struct image_bytes *i, size_t at, uint64_t v)
{
    memcpy(i->data + at, &v, sizeof(v));
}

void image_bzimage(struct image_bytes *i)
{
    memset(i, 0, sizeof(*i));
    i->data[0x1f1] = 1; /* setup sectors */
    put16(i, 0x1fe, 0xaa55);
    i->data[0x200] = 0xeb; /* jmp */
    i->data[0x201] = 0x6a;
    memcpy(i->data + 0x202, "HdrS", 4);
    put16(i, 0x206, 0x020f);
    i->data[0x211] = 0x01; /* loaded high */
    put32(i, 0x22c, 0x7fffffff);
    put32(i, 0x230, 0x200000);
    i->data[0x234] = 1;   /* relocatable */
    put16(i, 0x236, 0x3); /* 64-bit entry; may be above 4 GiB */
    put32(i, 0x238, 2047);
    put64(i, 0x258, 0x1000000);
    put32(i, 0x260, 0x800000);
    memset(i->data + 1024, 0x90, 4096);
    i->len = 1024 + 4096;
}

static void program_header(struct image_bytes *i, int n, uint32_t type, uint64_t offset,
                           uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    size_t at = ELF_PHDR((size_t)n);

    put32(i, at, type);
    put64(i, at + 8, offset);
    put64(i, at + 16, 0xffffffff80000000 + paddr);
    put64(i, at + 24, paddr);
    put64(i, at + 32, filesz);
    put64(i, at + 40, memsz);
    put64(i, at + 48, 4);
}

void image_elf(struct image_bytes *i, int pvh)
{
    memset(i, 0, sizeof(*i));
    memcpy(i->data,
           "\x7f"
           "ELF\x02\x01\x01",
           7);
    put16(i, 16, 2);  /* executable */
    put16(i, 18, 62); /* x86-64 */
    put32(i, 20, 1);
    put64(i, 24, ELF_ENTRY);
    put64(i, 32, 64); /* program headers */
    put16(i, 52, 64);
    put16(i, 54, 56);
    put16(i, 56, pvh ? 2 : 1);
    program_header(i, 0, 1, ELF_SEGMENT_AT, ELF_PADDR, 256, 4096);
    memset(i->data + ELF_SEGMENT_AT, 0xcc, 256);
    i->len = ELF_SEGMENT_AT + 256;
    if (!pvh)
        return;
    program_header(i, 1, 4, ELF_NOTE_AT, 0, 16 + 4 + 24, 0);
    put32(i, ELF_NOTE_AT, 4); /* another note first */
    put32(i, ELF_NOTE_AT + 4, 4);
    put32(i, ELF_NOTE_AT + 8, 6);
    memcpy(i->data + ELF_NOTE_AT + 12, "Xen\0ver5", 8);
    put32(i, ELF_NOTE_AT + 20, 4);
    put32(i, ELF_NOTE_AT + 24, 8);
    put32(i, ELF_NOTE_AT + 28, 18); /* PHYS32_ENTRY */
    memcpy(i->data + ELF_NOTE_AT + 32, "Xen", 4);
    put64(i, ELF_NOTE_AT + 36, ELF_PVH);
}
