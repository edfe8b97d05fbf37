#include "cmd/vmm/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE "start"

/* True when path still names the file that is open: its last owner may have removed it between our
 * open and our lock. */
static int still_there(int fd, const char *path)
{
    struct stat a, b;

    return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int open_locked(const char *path, int *out)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd, ret;

    for (;;) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return -errno;
        if (fcntl(fd, F_OFD_SETLK, &lock)) {
            ret = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
            close(fd);
            return ret;
        }
        if (still_there(fd, path))
            break;
        close(fd);
    }
    *out = fd;
    return 0;
}

int pidfile_open(struct pidfile *p, const char *path, struct err *e)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    int fd = -1, ret = open_locked(path, &fd);

    if (ret == -EBUSY)
        return err_set(e, ret, STAGE, "-pidfile %s is locked: the machine it belongs to still runs",
                       path);
    if (ret)
        return err_set_errno(e, ret, STAGE, "cannot open -pidfile %s", path);
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len) {
        ret = errno ? -errno : -EIO;
        close(fd);
        return err_set_errno(e, ret, STAGE, "cannot write -pidfile %s", path);
    }
    p->fd = fd;
    p->path = path;
    return 0;
}

void pidfile_close(struct pidfile *p)
{
    if (p->fd < 0)
        return;
    unlink(p->path);
    close(p->fd);
    p->fd = -1;
}
