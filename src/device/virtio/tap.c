#include "device/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define STAGE      "tap"
#define TUN_PATH   "/dev/net/tun"
#define VNET_BYTES 12
/* Patience with one that another process is giving back. */
#define BUSY_LIMIT_NS (200 * NS_PER_MS)
#define BUSY_STEP_NS  (200 * NS_PER_US)

_Static_assert(sizeof(((struct tap *)0)->ifname) == IFNAMSIZ, "an interface's name");

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What fd needs to carry our frames; its interface is there already. */
static int prepare(struct tap *t, struct err *e)
{
    int size = VNET_BYTES, flags = fcntl(t->fd, F_GETFL);

    if (flags < 0 || fcntl(t->fd, F_SETFL, flags | O_NONBLOCK))
        return err_set_errno(e, -errno, STAGE, "cannot use the descriptor of tap '%s'", t->ifname);
    if (!t->vnet_hdr)
        return 0;
    if (ioctl(t->fd, TUNSETVNETHDRSZ, &size) || ioctl(t->fd, TUNSETOFFLOAD, t->offloads))
        return err_set_errno(e, -errno, STAGE, "cannot set headers and offloads of tap '%s'",
                             t->ifname);
    return 0;
}

static int adopt(struct tap *t, int fd, struct err *e)
{
    struct ifreq ifr = {.ifr_flags = 0};
    int ret;

    if (ioctl(fd, TUNGETIFF, &ifr))
        return err_set_errno(e, -errno, STAGE, "fd=%d is not a tap", fd);
    if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
        return err_set(e, -EINVAL, STAGE, "fd=%d must be a tap (not a tun) without packet info",
                       fd);
    t->fd = fd;
    t->vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
    memcpy(t->ifname, ifr.ifr_name, sizeof(t->ifname) - 1);
    ret = prepare(t, e);
    if (ret)
        t->fd = -1;
    else
        t->borrowed = true;
    return ret;
}

static int open_tun(struct err *e)
{
    int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(e, -errno, STAGE,
                             "cannot open " TUN_PATH " (is the module 'tun' there, and may this "
                             "user open it?)");
    return fd;
}

static int remember(struct tap *t, const char *ifname, struct err *e)
{
    if (!*ifname || strlen(ifname) >= sizeof(t->ifname))
        return err_set(e, -EINVAL, STAGE, "interface name '%.32s' must have 1 to %zu characters",
                       ifname, sizeof(t->ifname) - 1);
    strcpy(t->ifname, ifname);
    t->vnet_hdr = true;
    t->ctl_fd = open_tun(e);
    if (t->ctl_fd < 0)
        return t->ctl_fd;
    t->spare_fd = open_tun(e);
    return t->spare_fd < 0 ? t->spare_fd : 0;
}

int tap_new(const char *ifname, int fd, struct tap **out, struct err *e)
{
    struct tap *t = calloc(1, sizeof(*t));
    int ret;

    if (!t)
        return err_set(e, -ENOMEM, STAGE, "no memory for a tap");
    t->fd = t->ctl_fd = t->spare_fd = -1;
    ret = fd >= 0 ? adopt(t, fd, e) : remember(t, ifname, e);
    if (ret) {
        tap_free(t);
        return ret;
    }
    *out = t;
    return 0;
}

void tap_free(struct tap *t)
{
    if (!t)
        return;
    close_fd(&t->fd);
    close_fd(&t->ctl_fd);
    close_fd(&t->spare_fd);
    free(t);
}

static int attach_failed(const struct tap *t, int error, struct err *e)
{
    switch (error) {
    case EBUSY:
        return err_set(e, -EBUSY, STAGE,
                       "tap '%s' is in use by another process: stop that machine, or use another "
                       "tap",
                       t->ifname);
    case EPERM:
        return err_set(e, -EPERM, STAGE,
                       "tap '%s' does not exist or is not this user's: make it as root with `ip "
                       "tuntap add dev %s mode tap vnet_hdr user NAME`",
                       t->ifname, t->ifname);
    case EINVAL:
        return err_set(e, -EINVAL, STAGE,
                       "'%s' is not a tap that can be used here (a tun, or one with multi_queue)",
                       t->ifname);
    default:
        return err_set_errno(e, -error, STAGE, "cannot attach to tap '%s'", t->ifname);
    }
}

/* An attached descriptor cannot be given back but by closing it, so each attach takes a new one. */
static int next_tun(struct tap *t, struct err *e)
{
    int *from = t->ctl_fd >= 0 ? &t->ctl_fd : &t->spare_fd;
    int fd = *from;

    *from = -1;
    return fd >= 0 ? fd : open_tun(e);
}

/* Whoever had the tap may just be letting go of it. */
static int set_iff(int fd, struct ifreq *ifr)
{
    uint64_t give_up = clock_now_ns() + BUSY_LIMIT_NS;

    while (ioctl(fd, TUNSETIFF, ifr)) {
        if (errno != EBUSY || clock_now_ns() > give_up)
            return -errno;
        clock_sleep_ns(BUSY_STEP_NS);
    }
    return 0;
}

int tap_attach(struct tap *t, struct err *e)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd, ret;

    if (t->fd >= 0)
        return 0;
    fd = next_tun(t, e);
    if (fd < 0)
        return fd;
    memcpy(ifr.ifr_name, t->ifname, sizeof(ifr.ifr_name));
    ret = set_iff(fd, &ifr);
    if (ret) {
        attach_failed(t, -ret, e);
        /* Still unattached: good for the next try. */
        *(t->ctl_fd < 0 ? &t->ctl_fd : &t->spare_fd) = fd;
        return ret;
    }
    t->fd = fd;
    ret = prepare(t, e);
    if (ret)
        close_fd(&t->fd);
    return ret;
}

static void *close_later(void *fd)
{
    close((int)(intptr_t)fd);
    return NULL;
}

/* The kernel waits for all its processors while it closes a tap, tens of milliseconds on a busy host,
 * and nobody here needs to. */
void tap_detach(struct tap *t)
{
    pthread_t thread;

    if (t->borrowed || t->fd < 0)
        return;
    if (pthread_create(&thread, NULL, close_later, (void *)(intptr_t)t->fd) == 0)
        pthread_detach(thread);
    else
        close(t->fd);
    t->fd = -1;
}

int tap_set_offloads(struct tap *t, uint32_t tun_f)
{
    t->offloads = tun_f;
    if (t->fd < 0 || !t->vnet_hdr)
        return 0;
    return ioctl(t->fd, TUNSETOFFLOAD, tun_f) ? -errno : 0;
}
