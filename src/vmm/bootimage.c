#include "vmm/bootimage.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/manifest.h"

static const char *const bootimage_names[BOOTIMAGE_COUNT] = {"kernel", "initrd"};

static int *bootimage_fd(struct board_backends *b, int which)
{
    return which == 0 ? &b->kernel_fd : &b->initrd_fd;
}

static uint64_t bootimage_pages(uint64_t size)
{
    return (size + GODWIT_PAGE_SIZE - 1) & ~(uint64_t)(GODWIT_PAGE_SIZE - 1);
}

int bootimage_copy(const char *what, int *fd, struct err *e)
{
    struct stat st;
    off_t at = 0;
    int copy;

    if (fstat(*fd, &st) != 0)
        return err_set_errno(e, -errno, "boot", "-%s: cannot stat", what);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > MANIFEST_BOOT_MAX)
        return err_set(e, -EINVAL, "boot", "-%s: not a regular file of 1 byte to 1 GiB", what);
    copy = memfd_create(what, MFD_CLOEXEC);
    if (copy < 0)
        return err_set_errno(e, -errno, "boot", "-%s: no memory to hold it", what);
    while (at < st.st_size) {
        ssize_t n = sendfile(copy, *fd, &at, (size_t)(st.st_size - at));

        if (n <= 0) {
            close(copy);
            return err_set_errno(e, n < 0 ? -errno : -EIO, "boot", "-%s: cannot read", what);
        }
    }
    close(*fd);
    *fd = copy;
    return 0;
}

static int bootimage_map_one(int fd, struct bootimage *i, int which, struct err *e)
{
    i->mapped = bootimage_pages(i->size);
    /* Shared: what a migration fills in is what the board reads by descriptor. */
    i->host = mmap(NULL, i->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (i->host != MAP_FAILED)
        return 0;
    i->host = NULL;
    return err_set_errno(e, -errno, "boot", "cannot map the %s", bootimage_names[which]);
}

int bootimage_map(const struct board_backends *b, struct bootimage images[BOOTIMAGE_COUNT],
                  struct err *e)
{
    const int fds[BOOTIMAGE_COUNT] = {b->kernel_fd, b->initrd_fd};

    for (int i = 0; i < BOOTIMAGE_COUNT; i++) {
        struct stat st;
        int rc;

        images[i] = (struct bootimage){.host = NULL};
        if (fds[i] < 0)
            continue;
        if (fstat(fds[i], &st) != 0)
            return err_set_errno(e, -errno, "boot", "cannot stat the %s", bootimage_names[i]);
        images[i].size = (uint64_t)st.st_size;
        rc = bootimage_map_one(fds[i], &images[i], i, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int bootimage_make(struct board_backends *b, uint64_t kernel_size, uint64_t initrd_size,
                   struct bootimage images[BOOTIMAGE_COUNT], struct err *e)
{
    const uint64_t sizes[BOOTIMAGE_COUNT] = {kernel_size, initrd_size};

    for (int i = 0; i < BOOTIMAGE_COUNT; i++) {
        int *fd = bootimage_fd(b, i), rc;

        images[i] = (struct bootimage){.size = sizes[i]};
        if (*fd >= 0)
            close(*fd); /* a file of this host: what the source booted counts */
        *fd = -1;
        if (sizes[i] == 0)
            continue;
        *fd = memfd_create(bootimage_names[i], MFD_CLOEXEC);
        if (*fd < 0 || ftruncate(*fd, (off_t)bootimage_pages(sizes[i])) != 0)
            return err_set_errno(e, -errno, "boot", "no memory for the %s", bootimage_names[i]);
        rc = bootimage_map_one(*fd, &images[i], i, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int bootimage_seal(struct board_backends *b, const struct bootimage images[BOOTIMAGE_COUNT],
                   struct err *e)
{
    for (int i = 0; i < BOOTIMAGE_COUNT; i++)
        if (images[i].size && ftruncate(*bootimage_fd(b, i), (off_t)images[i].size) != 0)
            return err_set_errno(e, -errno, "boot", "cannot size the %s", bootimage_names[i]);
    return 0;
}

uint32_t bootimage_regions(const struct bootimage images[BOOTIMAGE_COUNT],
                           struct godwit_region *regions, uint32_t first_id)
{
    uint32_t n = 0;

    for (int i = 0; i < BOOTIMAGE_COUNT; i++) {
        if (!images[i].host)
            continue;
        regions[n] = (struct godwit_region){
            .id = first_id + n, .size = images[i].mapped, .host = images[i].host};
        snprintf(regions[n].name, sizeof(regions[n].name), "%s", bootimage_names[i]);
        n++;
    }
    return n;
}

void bootimage_unmap(struct bootimage images[BOOTIMAGE_COUNT])
{
    for (int i = 0; i < BOOTIMAGE_COUNT; i++) {
        if (images[i].host)
            munmap(images[i].host, images[i].mapped);
        images[i].host = NULL;
    }
}
