#include "machine/boot.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define INITRD_ALIGN 4096U

int boot_write(const struct boot_request *r, uint64_t gpa, const void *data, size_t len,
               const char *what, struct err *e)
{
    int ret = guest_mem_write(r->mem, gpa, data, len);

    return ret ? err_set_errno(e, ret, BOOT_STAGE, "%s at 0x%" PRIx64 "+0x%zx", what, gpa, len) : 0;
}

int boot_put_cmdline(const struct boot_request *r, uint64_t max, struct err *e)
{
    size_t len = strlen(r->cmdline);

    if (len > max)
        return err_set(e, -E2BIG, BOOT_STAGE,
                       "-append has %zu bytes; this kernel takes at most %" PRIu64, len, max);
    return boot_write(r, BOOT_CMDLINE, r->cmdline, len + 1, "command line", e);
}

static uint64_t low_ram_end(const struct guest_mem *mem)
{
    return mem->ranges[0].gpa + mem->ranges[0].size;
}

int boot_put_initrd(const struct boot_request *r, uint64_t kernel_end, uint64_t last,
                    struct boot_initrd *out, struct err *e)
{
    uint64_t end = low_ram_end(r->mem), at;

    *out = (struct boot_initrd){0, 0};
    if (!r->initrd)
        return 0;
    if (last < end - 1)
        end = last + 1;
    at = r->initrd->size <= end ? (end - r->initrd->size) & ~(uint64_t)(INITRD_ALIGN - 1) : 0;
    if (at < kernel_end)
        return err_set(e, -EFBIG, BOOT_STAGE,
                       "initrd '%s' (%" PRIu64 " bytes) does not fit between the kernel's end at "
                       "0x%" PRIx64 " and 0x%" PRIx64 ": more memory (-m) is needed",
                       r->initrd->path, r->initrd->size, kernel_end, end);
    *out = (struct boot_initrd){at, r->initrd->size};
    return boot_file_load(r->initrd, 0, r->initrd->size, r->mem, at, r->initrd->size, "initrd", e);
}

/* Files that are handed over by mistake and would otherwise pass for a flat image. */
static const struct {
    uint16_t at;
    uint8_t len;
    uint8_t magic[6];
    const char *what;
} mistakes[] = {
    {0,  2, {0x1f, 0x8b},                   "compressed with gzip: uncompress it first" },
    {0,  6, {0xfd, '7', 'z', 'X', 'Z', 0},  "compressed with xz: uncompress it first"   },
    {0,  4, {0x28, 0xb5, 0x2f, 0xfd},       "compressed with zstd: uncompress it first" },
    {0,  3, {'B', 'Z', 'h'},                "compressed with bzip2: uncompress it first"},
    {0,  4, {0x02, 0x21, 0x4c, 0x18},       "compressed with lz4: uncompress it first"  },
    {0,  4, {0x04, 0x22, 0x4d, 0x18},       "compressed with lz4: uncompress it first"  },
    {0,  6, {'0', '7', '0', '7', '0', '1'}, "a cpio archive: give it with -initrd"      },
    {56, 4, {'A', 'R', 'M', 0x64},          "a kernel for arm64"                        },
    {56, 4, {'R', 'S', 'C', 5},             "a kernel for RISC-V"                       },
    {0,  2, {'M', 'Z'},                     "an EFI program without Linux's boot header"},
    {0,  2, {'#', '!'},                     "a script"                                  },
    {0,  6, {'Q', 'F', 'I', 0xfb, 0, 0},    "a qcow2 disk image"                        },
};

static int check_flat(const struct boot_request *r, const uint8_t *head, struct err *e)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
        if (!memcmp(head + mistakes[i].at, mistakes[i].magic, mistakes[i].len))
            return err_set(e, -EINVAL, BOOT_STAGE, "kernel '%s' is %s", r->kernel->path,
                           mistakes[i].what);
    if (r->kernel->size < BOOT_HEAD_SIZE)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "kernel '%s' is no bzImage and no ELF, and %" PRIu64
                       " bytes are too short for a flat image",
                       r->kernel->path, r->kernel->size);
    return 0;
}

int boot_load(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    uint8_t head[BOOT_HEAD_SIZE] = {0};
    size_t len = r->kernel->size < sizeof(head) ? r->kernel->size : sizeof(head);
    int ret = boot_file_read(r->kernel, 0, head, len, "its beginning", e);

    if (ret)
        return ret;
    if (boot_is_bzimage(head))
        return boot_bzimage(r, entry, e);
    if (boot_is_elf(head))
        return boot_elf(r, entry, e);
    ret = check_flat(r, head, e);
    return ret ? ret : boot_flat(r, entry, e);
}
