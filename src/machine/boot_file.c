#include "machine/boot_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_file_init(struct boot_file *f, int fd, const char *path, uint64_t max, struct err *e)
{
    struct stat st;

    *f = (struct boot_file){.fd = fd, .path = path};
    if (fstat(fd, &st) < 0)
        return err_set_errno(e, -errno, BOOT_STAGE, "cannot look at '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, BOOT_STAGE, "'%s' is not a regular file", path);
    if (st.st_size <= 0)
        return err_set(e, -EINVAL, BOOT_STAGE, "'%s' is empty", path);
    if ((uint64_t)st.st_size > max)
        return err_set(e, -EFBIG, BOOT_STAGE, "'%s' has %jd bytes; at most %" PRIu64 " are taken",
                       path, (intmax_t)st.st_size, max);
    f->size = (uint64_t)st.st_size;
    return 0;
}

int boot_file_read(const struct boot_file *f, uint64_t offset, void *out, size_t len,
                   const char *what, struct err *e)
{
    uint8_t *p = out;

    if (offset > f->size || len > f->size - offset)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "'%s': %s at 0x%" PRIx64 "+0x%zx lies beyond the end of the file (0x%" PRIx64
                       " bytes)",
                       f->path, what, offset, len, f->size);
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(f->fd, p + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, -errno, BOOT_STAGE, "cannot read '%s'", f->path);
        if (n == 0)
            return err_set(e, -EINVAL, BOOT_STAGE, "'%s' became shorter while it was read",
                           f->path);
        done += (size_t)n;
    }
    return 0;
}

int boot_file_load(const struct boot_file *f, uint64_t offset, uint64_t filesz,
                   struct guest_mem *mem, uint64_t gpa, uint64_t memsz, const char *what,
                   struct err *e)
{
    uint8_t *to = guest_mem_ptr(mem, gpa, memsz);
    int ret;

    if (filesz > memsz)
        return err_set(e, -EINVAL, BOOT_STAGE,
                       "'%s': %s has 0x%" PRIx64 " bytes in the file but 0x%" PRIx64 " in memory",
                       f->path, what, filesz, memsz);
    if (!to)
        return err_set(e, -EFAULT, BOOT_STAGE,
                       "'%s': %s at 0x%" PRIx64 "+0x%" PRIx64
                       " does not fit into RAM: more memory (-m) is needed",
                       f->path, what, gpa, memsz);
    ret = boot_file_read(f, offset, to, filesz, what, e);
    if (ret)
        return ret;
    memset(to + filesz, 0, memsz - filesz);
    guest_mem_mark(mem, gpa, memsz);
    return 0;
}
