/* A kernel or initrd by its descriptor (lent: machine/backend.h): read at offsets with every length
 * checked, never mapped. */
#ifndef GODWIT_MACHINE_BOOT_FILE_H
#define GODWIT_MACHINE_BOOT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/guest_mem.h"

#define BOOT_STAGE      "boot"
#define BOOT_KERNEL_MAX (1ULL << 30)
#define BOOT_INITRD_MAX (4ULL << 30)

struct boot_file {
    int fd;
    uint64_t size;
    const char *path; /* what to call it; maybe a path on another host */
};

/* A regular file of 1 to max bytes. */
int boot_file_init(struct boot_file *f, int fd, const char *path, uint64_t max, struct err *e);
/* All len bytes or -EINVAL (the file ends before; `what` is named) or -errno. */
int boot_file_read(const struct boot_file *f, uint64_t offset, void *out, size_t len,
                   const char *what, struct err *e);
/* [offset, offset+filesz) to gpa, followed by zeros up to memsz; -EFAULT: not RAM. */
int boot_file_load(const struct boot_file *f, uint64_t offset, uint64_t filesz,
                   struct guest_mem *mem, uint64_t gpa, uint64_t memsz, const char *what,
                   struct err *e);

#endif
