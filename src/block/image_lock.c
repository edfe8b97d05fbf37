#include "block/image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define STAGE "disk lock"

static int set_lock(const struct image *i, off_t byte, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(i->fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

static short wanted_type(const struct image *i)
{
    return i->readonly ? F_RDLCK : F_WRLCK;
}

static int lock_failed(const struct image *i, int ret, const char *held_by, struct err *e)
{
    if (ret == -EAGAIN || ret == -EACCES)
        return err_set(e, -EAGAIN, STAGE,
                       "disk image '%s' is in use: %s (on %s). Stop that machine, or use "
                       "readonly=on in all of them",
                       i->path, held_by, image_lock_reach(i));
    return err_set_errno(e, ret, STAGE, "cannot lock disk image '%s'", i->path);
}

static int take_reservation(struct image *i, struct err *e)
{
    int ret;

    if (i->reservation_held)
        return 0;
    ret = set_lock(i, IMAGE_LOCK_RESERVATION, wanted_type(i));
    if (ret)
        return lock_failed(i, ret,
                           "a machine that is just starting, or the destination of a migration, "
                           "has reserved it",
                           e);
    i->reservation_held = true;
    return 0;
}

static void drop_reservation(struct image *i)
{
    if (i->reservation_held)
        set_lock(i, IMAGE_LOCK_RESERVATION, F_UNLCK);
    i->reservation_held = false;
}

static int take_owner(struct image *i, struct err *e)
{
    int ret;

    if (i->owner_held)
        return 0;
    ret = set_lock(i, IMAGE_LOCK_OWNER, wanted_type(i));
    if (ret)
        return lock_failed(
            i, ret,
            i->readonly ? "another machine holds it for writing" : "another machine holds it", e);
    i->owner_held = true;
    return 0;
}

int image_lock(struct image *i, struct err *e)
{
    bool reserved = i->reservation_held;
    int ret = take_reservation(i, e);

    if (ret)
        return ret;
    ret = take_owner(i, e);
    if (!ret || !reserved)
        drop_reservation(i);
    return ret;
}

int image_reserve(struct image *i, struct err *e)
{
    return take_reservation(i, e);
}

int image_take_over(struct image *i, struct err *e)
{
    int ret = take_owner(i, e);

    if (!ret)
        drop_reservation(i);
    return ret;
}

void image_release(struct image *i)
{
    if (i->owner_held)
        set_lock(i, IMAGE_LOCK_OWNER, F_UNLCK);
    i->owner_held = false;
    drop_reservation(i);
}

const char *image_lock_reach(const struct image *i)
{
    return i->is_block_device ? "this host only" : "this host and NFSv4 peers";
}
