#include "vmm/backends.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "block/image.h"
#include "device/virtio/tap.h"
#include "vmm/bootimage.h"
#include "vmm/fdset.h"

static int backends_open_boot(const char *what, const char *path, int *fd, struct err *e)
{
    if (!path[0])
        return 0;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return err_set_errno(e, -errno, "boot", "-%s %s: cannot open", what, path);
    return bootimage_copy(what, fd, e);
}

static int backends_open_images(const struct machine_config *c, struct board_backends *b,
                                struct err *e)
{
    for (uint32_t i = 0; i < c->ndrives; i++) {
        const struct drive_config *d = &c->drives[i];
        struct image *image = NULL;
        int rc = image_open(d->file, d->readonly, d->direct, &image, e);

        if (rc != 0)
            return err_prefix(e, "-drive id=%s", d->id);
        memcpy(b->images[b->nimages].id, d->id, MACHINE_ID_MAX);
        b->images[b->nimages++].image = image;
        log_info("block", "drive %s: %s, locks guard %s", d->id, d->file, image_lock_reach(image));
    }
    return 0;
}

static int backends_make_tap(const struct netdev_config *n, int fd, struct board_backends *b,
                             struct err *e)
{
    struct tap *tap = NULL;
    int rc = tap_new(n->ifname, fd, &tap, e);

    if (rc != 0)
        return err_prefix(e, "-netdev id=%s", n->id);
    memcpy(b->taps[b->ntaps].id, n->id, MACHINE_ID_MAX);
    b->taps[b->ntaps++].tap = tap;
    return 0;
}

/* Those with a descriptor's name have to wait for it: see backends_take_fds. */
static int backends_make_taps(const struct machine_config *c, struct board_backends *b,
                              struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < c->nnetdevs; i++)
        if (!c->netdevs[i].fdname[0])
            rc = backends_make_tap(&c->netdevs[i], c->netdevs[i].fd, b, e);
    return rc;
}

int backends_take_fds(struct board_backends *b, const struct machine_config *c, struct fdset *fds,
                      struct err *e)
{
    for (uint32_t i = 0; i < c->nnetdevs; i++) {
        const struct netdev_config *n = &c->netdevs[i];
        int fd, rc;

        if (!n->fdname[0] || backends_tap(b, n->id))
            continue;
        fd = fdset_take(fds, n->fdname);
        if (fd < 0)
            return err_set(e, -ENOENT, "net",
                           "-netdev id=%s: no descriptor '%s' was passed by getfd: start with "
                           "-incoming defer and pass it before migrate-incoming",
                           n->id, n->fdname);
        rc = backends_make_tap(n, fd, b, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int backends_open(const struct machine_config *c, struct board_backends *b, struct err *e)
{
    int rc;

    memset(b, 0, sizeof(*b));
    b->kernel_fd = b->initrd_fd = -1;
    rc = backends_open_boot("kernel", c->kernel, &b->kernel_fd, e);
    if (rc == 0)
        rc = backends_open_boot("initrd", c->initrd, &b->initrd_fd, e);
    if (rc == 0)
        rc = backends_open_images(c, b, e);
    if (rc == 0)
        rc = backends_make_taps(c, b, e);
    if (rc != 0)
        backends_close(b);
    return rc;
}

void backends_close(struct board_backends *b)
{
    for (uint32_t i = 0; i < b->nimages; i++)
        image_close(b->images[i].image);
    for (uint32_t i = 0; i < b->ntaps; i++)
        tap_free(b->taps[i].tap);
    if (b->kernel_fd >= 0)
        close(b->kernel_fd);
    if (b->initrd_fd >= 0)
        close(b->initrd_fd);
    memset(b, 0, sizeof(*b));
    b->kernel_fd = b->initrd_fd = -1;
}

static int backends_each_image(struct board_backends *b,
                               int (*fn)(struct image *i, struct err *e), struct err *e)
{
    for (uint32_t i = 0; i < b->nimages; i++) {
        int rc = fn(b->images[i].image, e);

        if (rc != 0) {
            backends_release(b);
            return err_prefix(e, "drive %s", b->images[i].id);
        }
    }
    return 0;
}

static int backends_attach_taps(struct board_backends *b, struct err *e)
{
    for (uint32_t i = 0; i < b->ntaps; i++) {
        int rc = tap_attach(b->taps[i].tap, e);

        if (rc != 0) {
            backends_release(b);
            return err_prefix(e, "netdev %s", b->taps[i].id);
        }
    }
    return 0;
}

int backends_acquire(struct board_backends *b, struct err *e)
{
    int rc = backends_each_image(b, image_lock, e);

    return rc != 0 ? rc : backends_attach_taps(b, e);
}

int backends_reserve(struct board_backends *b, struct err *e)
{
    return backends_each_image(b, image_reserve, e);
}

int backends_take_over(struct board_backends *b, struct err *e)
{
    int rc = backends_each_image(b, image_take_over, e);

    if (rc == 0)
        rc = backends_each_image(b, image_invalidate_cache, e);
    return rc != 0 ? rc : backends_attach_taps(b, e);
}

void backends_release(struct board_backends *b)
{
    for (uint32_t i = 0; i < b->nimages; i++)
        image_release(b->images[i].image);
    for (uint32_t i = 0; i < b->ntaps; i++)
        tap_detach(b->taps[i].tap);
}

struct image *backends_image(const struct board_backends *b, const char *id)
{
    for (uint32_t i = 0; i < b->nimages; i++)
        if (!strcmp(b->images[i].id, id))
            return b->images[i].image;
    return NULL;
}

struct tap *backends_tap(const struct board_backends *b, const char *id)
{
    for (uint32_t i = 0; i < b->ntaps; i++)
        if (!strcmp(b->taps[i].id, id))
            return b->taps[i].tap;
    return NULL;
}
