#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "block/image_lock.h"

#define STAGE       "disk"
#define SECTOR_SIZE 512U

/* A number from the queue limits of the disk that dev is, or is a partition of. 0: none. */
static uint64_t queue_limit(dev_t dev, const char *name)
{
    static const char *const places[] = {"queue", "../queue"};
    unsigned long long value = 0;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[128];
        FILE *f;

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev),
                 places[i], name);
        f = fopen(path, "re");
        if (!f)
            continue;
        if (fscanf(f, "%llu", &value) != 1)
            value = 0;
        fclose(f);
        break;
    }
    return value;
}

static int open_block_device(struct image *i, const struct stat *st, struct err *e)
{
    uint64_t size;
    int block_size;

    if (ioctl(i->fd, BLKGETSIZE64, &size) || ioctl(i->fd, BLKSSZGET, &block_size))
        return err_set_errno(e, -errno, STAGE, "cannot read the size of block device '%s'",
                             i->path);
    i->is_block_device = true;
    i->size = size;
    i->block_size = (uint32_t)block_size;
    i->can_discard = !i->readonly && queue_limit(st->st_rdev, "discard_max_bytes") > 0;
    return 0;
}

/* The alignment that direct I/O to a regular file needs; its file system says so since Linux 6.1.
 */
static uint32_t direct_alignment(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && (sx.stx_mask & STATX_DIOALIGN)) {
        uint32_t align = sx.stx_dio_offset_align;

        return align > sx.stx_dio_mem_align ? align : sx.stx_dio_mem_align;
    }
#endif
    return SECTOR_SIZE;
}

/* Asks by a hole where there is nothing to lose: behind the end of the file. */
static bool punches_holes(int fd, uint64_t size)
{
    return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)size, SECTOR_SIZE);
}

static int open_regular_file(struct image *i, const struct stat *st, struct err *e)
{
    uint64_t size = (uint64_t)st->st_size;
    uint32_t align = i->direct ? direct_alignment(i->fd) : SECTOR_SIZE;

    if (size % SECTOR_SIZE)
        return err_set(e, -EINVAL, STAGE,
                       "disk image '%s' has %llu bytes, which are not whole 512-byte sectors: "
                       "extend it with `truncate -s %%512`, or check that its format is raw",
                       i->path, (unsigned long long)size);
    if (i->direct && align == 0)
        return err_set(e, -EOPNOTSUPP, STAGE,
                       "the file system of disk image '%s' does not do direct I/O: use direct=off",
                       i->path);
    i->size = size;
    i->block_size = align <= SECTOR_SIZE ? SECTOR_SIZE : align;
    i->can_discard = !i->readonly && punches_holes(i->fd, size);
    return 0;
}

static int check_geometry(const struct image *i, struct err *e)
{
    if (i->size == 0)
        return err_set(e, -EINVAL, STAGE, "disk image '%s' is empty", i->path);
    if (i->block_size != 512 && i->block_size != 4096)
        return err_set(e, -EINVAL, STAGE,
                       "disk image '%s' has blocks of %u bytes: 512 and 4096 are supported%s",
                       i->path, i->block_size, i->direct ? "; try direct=off" : "");
    if (i->size % i->block_size)
        return err_set(e, -EINVAL, STAGE,
                       "disk image '%s' has %llu bytes, which are not whole blocks of %u%s",
                       i->path, (unsigned long long)i->size, i->block_size,
                       i->direct ? ": use direct=off" : "");
    return 0;
}

static int look_at(struct image *i, struct err *e)
{
    struct stat st;
    int ret;

    if (fstat(i->fd, &st))
        return err_set_errno(e, -errno, STAGE, "cannot stat disk image '%s'", i->path);
    if (S_ISBLK(st.st_mode))
        ret = open_block_device(i, &st, e);
    else if (S_ISREG(st.st_mode))
        ret = open_regular_file(i, &st, e);
    else
        ret = err_set(e, -EINVAL, STAGE, "'%s' is neither a regular file nor a block device",
                      i->path);
    i->can_write_zeroes = !i->readonly;
    return ret ? ret : check_geometry(i, e);
}

static int open_failed(const char *path, int error, bool readonly, bool direct, struct err *e)
{
    switch (error) {
    case EINVAL:
        if (direct)
            return err_set(e, -EINVAL, STAGE,
                           "cannot open disk image '%s': its file system may not do direct I/O; "
                           "use direct=off",
                           path);
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        if (!readonly)
            return err_set_errno(e, -error, STAGE,
                                 "cannot open disk image '%s' for writing (give this user the "
                                 "right to, or use readonly=on)",
                                 path);
        break;
    default:
        break;
    }
    return err_set_errno(e, -error, STAGE, "cannot open disk image '%s'", path);
}

int image_open(const char *path, bool readonly, bool direct, struct image **out, struct err *e)
{
    int flags = (readonly ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0);
    struct image *i;
    int ret;

    if (strlen(path) >= sizeof(i->path))
        return err_set(e, -ENAMETOOLONG, STAGE, "the path of disk image '%.64s...' is too long",
                       path);
    i = calloc(1, sizeof(*i));
    if (!i)
        return err_set(e, -ENOMEM, STAGE, "no memory for disk image '%s'", path);
    strcpy(i->path, path);
    i->readonly = readonly;
    i->direct = direct;
    /* O_NONBLOCK: not to hang on a FIFO somebody named by mistake. */
    i->fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ret = i->fd < 0 ? open_failed(path, errno, readonly, direct, e) : look_at(i, e);
    /* io_uring would take it for "fail rather than wait". */
    if (!ret && fcntl(i->fd, F_SETFL, flags))
        ret = err_set_errno(e, -errno, STAGE, "cannot set the flags of disk image '%s'", path);
    if (ret) {
        image_close(i);
        return ret;
    }
    *out = i;
    return 0;
}

void image_close(struct image *i)
{
    if (!i)
        return;
    if (i->fd >= 0) {
        image_release(i);
        close(i->fd);
    }
    free(i);
}

/* Holding a lock makes the NFS client ask its server again, so a file needs only its clean pages
 * dropped.  A block device knows no peers: its whole cache goes, where privileges allow. */
int image_invalidate_cache(struct image *i, struct err *e)
{
    int ret;

    if (i->direct)
        return 0;
    if (i->is_block_device && !ioctl(i->fd, BLKFLSBUF))
        return 0;
    ret = posix_fadvise(i->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (ret)
        return err_set_errno(e, -ret, STAGE, "cannot drop the page cache of disk image '%s'",
                             i->path);
    return 0;
}

int image_flush(struct image *i, struct err *e)
{
    if (i->readonly)
        return 0;
    if (fdatasync(i->fd))
        return err_set_errno(e, -errno, STAGE, "cannot flush disk image '%s'", i->path);
    return 0;
}
