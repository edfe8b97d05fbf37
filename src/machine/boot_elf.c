/* ELF kernels (System V gABI, ch. 4 and 5): segments go to their physical addresses; a Xen note of
 * type PHYS32_ENTRY says that the kernel is entered as PVH. */
#include "machine/boot.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wire/reader.h"

#define SEGMENTS_MAX             64
#define NOTES_MAX                (64U << 10) /* bytes of one note segment */
#define XEN_ELFNOTE_PHYS32_ENTRY 18          /* xen/include/public/elfnote.h */

_Static_assert(sizeof(Elf64_Ehdr) == 64, "gABI");
_Static_assert(sizeof(Elf64_Phdr) == 56, "gABI");

struct segment {
    uint32_t type;
    uint64_t offset, paddr, filesz, memsz, align;
};

struct elf {
    const struct boot_file *file;
    uint64_t entry, phoff;
    uint32_t n;
    struct segment segments[SEGMENTS_MAX];
    bool pvh;
    uint64_t pvh_entry;
};

bool boot_is_elf(const uint8_t head[BOOT_HEAD_SIZE])
{
    return !memcmp(head, ELFMAG, SELFMAG);
}

static int check_ident(const struct boot_file *f, const uint8_t *ident, struct err *e)
{
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
        return err_set(e, -ENOTSUP, BOOT_STAGE,
                       "ELF '%s' is not 64-bit little-endian: an x86-64 kernel is needed", f->path);
    return 0;
}

static int read_header(struct elf *elf, struct err *e)
{
    uint8_t bytes[sizeof(Elf64_Ehdr)];
    uint16_t type, machine, entry_size;
    struct reader r;
    int ret = boot_file_read(elf->file, 0, bytes, sizeof(bytes), "ELF header", e);

    if (!ret)
        ret = check_ident(elf->file, bytes, e);
    if (ret)
        return ret;
    reader_init(&r, bytes, sizeof(bytes));
    reader_view(&r, EI_NIDENT);
    type = reader_u16(&r);
    machine = reader_u16(&r);
    reader_u32(&r); /* version */
    elf->entry = reader_u64(&r);
    elf->phoff = reader_u64(&r);
    reader_view(&r, 8 + 4 + 2); /* sections, flags, size of this header */
    entry_size = reader_u16(&r);
    elf->n = reader_u16(&r);
    if (machine != EM_X86_64 || (type != ET_EXEC && type != ET_DYN))
        return err_set(e, -ENOTSUP, BOOT_STAGE,
                       "ELF '%s' is of machine %u and type %u: an x86-64 executable is needed",
                       elf->file->path, machine, type);
    if (entry_size != sizeof(Elf64_Phdr) || elf->n == 0 || elf->n > SEGMENTS_MAX)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "ELF '%s' has %u program headers of %u bytes: 1 to %d of %zu are taken",
                       elf->file->path, elf->n, entry_size, SEGMENTS_MAX, sizeof(Elf64_Phdr));
    return 0;
}

static int read_segments(struct elf *elf, struct err *e)
{
    uint8_t bytes[SEGMENTS_MAX * sizeof(Elf64_Phdr)];
    size_t len = elf->n * sizeof(Elf64_Phdr);
    struct reader r;
    int ret = boot_file_read(elf->file, elf->phoff, bytes, len, "program headers", e);

    if (ret)
        return ret;
    reader_init(&r, bytes, len);
    for (uint32_t i = 0; i < elf->n; i++) {
        struct segment *s = &elf->segments[i];

        s->type = reader_u32(&r);
        reader_u32(&r); /* flags */
        s->offset = reader_u64(&r);
        reader_u64(&r); /* virtual address */
        s->paddr = reader_u64(&r);
        s->filesz = reader_u64(&r);
        s->memsz = reader_u64(&r);
        s->align = reader_u64(&r);
    }
    return 0;
}

/* Loads what is to be loaded and says where the last byte lies. */
static int load_segments(const struct elf *elf, const struct boot_request *r, uint64_t *end,
                         struct err *e)
{
    uint64_t total = 0;
    int ret;

    *end = 0;
    for (uint32_t i = 0; i < elf->n; i++) {
        const struct segment *s = &elf->segments[i];

        if (s->type != PT_LOAD || s->memsz == 0)
            continue;
        if (s->memsz > BOOT_KERNEL_MAX - total || s->paddr < MEMORY_HIGH_START ||
            s->paddr >= MEMORY_4G)
            return err_set(e, -EINVAL, BOOT_STAGE,
                           "ELF '%s': segment %u at physical 0x%" PRIx64 "+0x%" PRIx64
                           " is too large or not between 1 MiB and 4 GiB",
                           elf->file->path, i, s->paddr, s->memsz);
        ret = boot_file_load(elf->file, s->offset, s->filesz, r->mem, s->paddr, s->memsz,
                             "a segment", e);
        if (ret)
            return ret;
        total += s->memsz;
        if (s->paddr + s->memsz > *end)
            *end = s->paddr + s->memsz;
    }
    return *end ? 0
                : err_set(e, -EINVAL, BOOT_STAGE, "ELF '%s' has nothing to load", elf->file->path);
}

static bool loaded(const struct elf *elf, uint64_t addr)
{
    for (uint32_t i = 0; i < elf->n; i++) {
        const struct segment *s = &elf->segments[i];

        if (s->type == PT_LOAD && addr >= s->paddr && addr - s->paddr < s->memsz)
            return true;
    }
    return false;
}

/* Looks through the notes of one segment; a note cut short ends the search. */
static void find_pvh(struct elf *elf, const uint8_t *notes, size_t len, size_t align)
{
    struct reader r;

    reader_init(&r, notes, len);
    while (!r.failed && reader_left(&r) >= sizeof(Elf64_Nhdr)) {
        uint32_t name_len = reader_u32(&r), desc_len = reader_u32(&r), type = reader_u32(&r);
        const uint8_t *name = reader_view(&r, name_len), *desc;
        struct reader value;

        reader_align(&r, align);
        desc = reader_view(&r, desc_len);
        reader_align(&r, align);
        if (!name || !desc || name_len != 4 || memcmp(name, "Xen", 4) != 0 ||
            type != XEN_ELFNOTE_PHYS32_ENTRY || (desc_len != 4 && desc_len != 8))
            continue;
        reader_init(&value, desc, desc_len);
        elf->pvh_entry = desc_len == 4 ? reader_u32(&value) : reader_u64(&value);
        elf->pvh = true;
    }
}

static int read_notes(struct elf *elf, struct err *e)
{
    uint8_t *notes = malloc(NOTES_MAX);
    int ret = 0;

    if (!notes)
        return err_set(e, -ENOMEM, BOOT_STAGE, "no memory for the notes of '%s'", elf->file->path);
    for (uint32_t i = 0; i < elf->n && !ret && !elf->pvh; i++) {
        const struct segment *s = &elf->segments[i];

        if (s->type != PT_NOTE || s->filesz > NOTES_MAX)
            continue;
        ret = boot_file_read(elf->file, s->offset, notes, s->filesz, "notes", e);
        if (!ret)
            find_pvh(elf, notes, s->filesz, s->align == 8 ? 8 : 4);
    }
    free(notes);
    return ret;
}

int boot_elf(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    struct elf elf = {.file = r->kernel};
    uint64_t end = 0, at;
    int ret = read_header(&elf, e);

    if (!ret)
        ret = read_segments(&elf, e);
    if (!ret)
        ret = load_segments(&elf, r, &end, e);
    if (!ret)
        ret = read_notes(&elf, e);
    if (ret)
        return ret;
    at = elf.pvh ? elf.pvh_entry : elf.entry;
    if (!loaded(&elf, at))
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "ELF '%s': its %s entry 0x%" PRIx64 " lies in no loaded segment",
                       r->kernel->path, elf.pvh ? "PVH" : "64-bit", at);
    return elf.pvh ? boot_pvh(r, (uint32_t)at, end, entry, e)
                   : boot_linux_headerless(r, at, end, entry, e);
}
