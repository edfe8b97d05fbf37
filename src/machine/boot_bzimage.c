/* bzImage (Documentation/arch/x86/boot.rst): real-mode sectors with the setup header, then the
 * protected-mode kernel, which is loaded where it prefers to be and entered at +0x200. */
#include "machine/boot_linux.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "wire/reader.h"

#define SECTOR          512U
#define HEADER_AT       0x1f1
#define BOOT_FLAG_AT    0x1fe
#define MAGIC_AT        0x202
#define MAGIC           0x53726448 /* "HdrS" */
#define BOOT_FLAG       0xaa55
#define JUMP_OFFSET_AT  0x201 /* the header ends so far behind MAGIC_AT */
#define DEFAULT_SECTORS 4
#define ENTRY_64        0x200
#define VERSION_XLOAD   0x020c /* xloadflags came with 2.12 */

_Static_assert(offsetof(struct setup_header, boot_flag) == BOOT_FLAG_AT - HEADER_AT, "boot.rst");
_Static_assert(offsetof(struct setup_header, header) == MAGIC_AT - HEADER_AT, "boot.rst");
_Static_assert(offsetof(struct setup_header, init_size) == 0x260 - HEADER_AT, "boot.rst");

bool boot_is_bzimage(const uint8_t head[BOOT_HEAD_SIZE])
{
    struct reader r;

    reader_init(&r, head, BOOT_HEAD_SIZE);
    reader_view(&r, BOOT_FLAG_AT);
    if (reader_u16(&r) != BOOT_FLAG)
        return false;
    reader_u16(&r);
    return reader_u32(&r) == MAGIC;
}

/* The header as far as the file has it; what it has not is zero. */
static int read_header(const struct boot_file *f, struct setup_header *h, struct err *e)
{
    uint8_t jump;
    size_t len;
    int ret = boot_file_read(f, JUMP_OFFSET_AT, &jump, 1, "setup header", e);

    if (ret)
        return ret;
    len = (size_t)(MAGIC_AT + jump - HEADER_AT);
    memset(h, 0, sizeof(*h));
    return boot_file_read(f, HEADER_AT, h, len < sizeof(*h) ? len : sizeof(*h), "setup header", e);
}

static int check_header(const struct boot_file *f, const struct setup_header *h, struct err *e)
{
    if (h->version < VERSION_XLOAD || !(h->xloadflags & XLF_KERNEL_64))
        return err_set(e, -ENOTSUP, BOOT_STAGE,
                       "bzImage '%s' (boot protocol %u.%02u) has no 64-bit entry: a 64-bit kernel "
                       "of Linux 3.8 or newer is needed",
                       f->path, h->version >> 8, h->version & 0xff);
    if (!(h->loadflags & LOADED_HIGH))
        return err_set(e, -ENOTSUP, BOOT_STAGE,
                       "'%s' is a zImage, loaded below 1 MiB: a bzImage "
                       "is needed",
                       f->path);
    if (h->pref_address < MEMORY_HIGH_START || h->pref_address >= MEMORY_4G)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "bzImage '%s' wants to be loaded at 0x%" PRIx64 ", which is not between 1 "
                       "MiB and 4 GiB",
                       f->path, (uint64_t)h->pref_address);
    return 0;
}

/* Loads the protected-mode part with the room it needs to unpack itself. */
static int load_kernel(const struct boot_request *r, const struct setup_header *h, uint64_t *end,
                       struct err *e)
{
    uint64_t skip = (h->setup_sects ? h->setup_sects : DEFAULT_SECTORS) * SECTOR + SECTOR;
    uint64_t size, room;

    if (skip >= r->kernel->size)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "bzImage '%s' is cut short: %u real-mode sectors and no kernel behind them",
                       r->kernel->path, h->setup_sects);
    size = r->kernel->size - skip;
    room = h->init_size > size ? h->init_size : size;
    if (size <= ENTRY_64)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "bzImage '%s' is cut short: %" PRIu64 " bytes of kernel", r->kernel->path,
                       size);
    *end = h->pref_address + room;
    if (!guest_mem_ptr(r->mem, h->pref_address, room))
        return err_set(e, -EFBIG, BOOT_STAGE,
                       "bzImage '%s' needs RAM from 0x%" PRIx64 " to 0x%" PRIx64
                       ": more memory (-m) is needed",
                       r->kernel->path, (uint64_t)h->pref_address, *end);
    return boot_file_load(r->kernel, skip, size, r->mem, h->pref_address, size, "kernel", e);
}

int boot_bzimage(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    struct boot_params bp = {0};
    struct boot_initrd initrd;
    uint64_t end = 0;
    int ret = read_header(r->kernel, &bp.hdr, e);

    if (!ret)
        ret = check_header(r->kernel, &bp.hdr, e);
    if (!ret)
        ret = boot_put_cmdline(r, bp.hdr.cmdline_size, e);
    if (!ret)
        ret = load_kernel(r, &bp.hdr, &end, e);
    if (!ret)
        ret = boot_put_initrd(r, end, bp.hdr.initrd_addr_max, &initrd, e);
    if (ret)
        return ret;
    bp.hdr.code32_start = (uint32_t)bp.hdr.pref_address;
    return boot_linux_enter(r, &bp, &initrd, bp.hdr.pref_address + ENTRY_64, entry, e);
}
