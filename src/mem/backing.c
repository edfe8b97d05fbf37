#include "mem/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_PAGE (2U << 20)

/* glibc 2.36 has wrappers, older ones have not; the numbers are the same on every architecture. */
static int sys_fsopen(const char *fs, unsigned int flags)
{
    return (int)syscall(SYS_fsopen, fs, flags);
}

static int sys_fsconfig(int fd, unsigned int cmd, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, fd, cmd, key, value, 0);
}

static int sys_fsmount(int fd, unsigned int flags)
{
    return (int)syscall(SYS_fsmount, fd, flags, 0);
}

int backing_mount(void)
{
    int fs, mnt = -1;

    fs = sys_fsopen("tmpfs", 0x1 /* FSOPEN_CLOEXEC */);
    if (fs < 0)
        return -errno;
    if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", "0" /* no limit */) == 0 &&
        sys_fsconfig(fs, FSCONFIG_SET_STRING, "huge", "advise") == 0 &&
        sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0700") == 0 &&
        sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) == 0)
        mnt = sys_fsmount(fs, FSMOUNT_CLOEXEC);
    if (mnt < 0)
        mnt = -errno;
    close(fs);
    return mnt;
}

static int open_tmpfs(struct backing *b, int mount_fd)
{
    int mnt = mount_fd > 0 ? mount_fd : backing_mount(), rc = 0;

    if (mnt < 0)
        return mnt;
    b->fd = openat(mnt, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (b->fd < 0)
        rc = -errno;
    if (mnt != mount_fd)
        close(mnt);
    if (rc < 0)
        return rc;
    b->page_size = HUGE_PAGE;
    b->huge = true;
    snprintf(b->name, sizeof(b->name), "tmpfs huge");
    return 0;
}

static int open_memfd(struct backing *b, struct err *e)
{
    b->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (b->fd < 0)
        return err_set_errno(e, -errno, "memory", "memfd for guest memory");
    fchmod(b->fd, 0600); /* it is born open to all */
    b->page_size = HUGE_PAGE; /* a mapping aligned so can still be given huge pages */
    snprintf(b->name, sizeof(b->name), "memfd");
    return 0;
}

/* Filesystems without O_TMPFILE (old hugetlbfs, NFS): a named file, unlinked at once. */
static int open_named(const char *dir)
{
    char name[4096];
    int n = snprintf(name, sizeof(name), "%s/godwit-ram-XXXXXX", dir), fd;

    if (n < 0 || (size_t)n >= sizeof(name))
        return -ENAMETOOLONG;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (unlink(name) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static int open_in_directory(struct backing *b, const char *dir, struct err *e)
{
    struct statfs fs;
    struct stat st;

    if (stat(dir, &st) < 0)
        return err_set_errno(e, -errno, "memory", "-mem-path %s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "memory",
                       "-mem-path %s is not a directory: name one, such as /dev/hugepages", dir);
    b->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (b->fd < 0)
        b->fd = open_named(dir);
    if (b->fd < 0)
        return err_set_errno(e, b->fd, "memory", "-mem-path %s: cannot make a file there", dir);
    if (fstatfs(b->fd, &fs) < 0)
        return err_set_errno(e, -errno, "memory", "-mem-path %s", dir);
    b->page_size = HUGE_PAGE;
    if (fs.f_type == HUGETLBFS_MAGIC) {
        b->page_size = (uint64_t)fs.f_bsize;
        b->huge = b->hugetlb = true;
    }
    snprintf(b->name, sizeof(b->name), "file %.56s", dir);
    return 0;
}

int backing_open(struct backing *b, uint64_t size, const char *path, int mount_fd, struct err *e)
{
    int rc;

    *b = (struct backing){.fd = -1, .size = size};
    if (path)
        rc = open_in_directory(b, path, e);
    else if ((rc = open_tmpfs(b, mount_fd)) < 0)
        rc = open_memfd(b, e);
    if (rc < 0)
        goto fail;
    b->size = (size + b->page_size - 1) / b->page_size * b->page_size;
    if (ftruncate(b->fd, (off_t)b->size) < 0) {
        rc = err_set_errno(e, -errno, "memory", "%s: cannot hold %" PRIu64 " MiB", b->name,
                           b->size >> 20);
        goto fail;
    }
    /* Whoever is lent a descriptor cannot cut it short under the guest; of a memfd alone. */
    fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return 0;
fail:
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    return rc;
}
