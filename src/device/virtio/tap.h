/*
 * A tap: the host's end of a guest's network card.  On one host two machines cannot hold a tap of the
 * same name (EBUSY), so a destination attaches late: tap_new remembers what to open, tap_attach opens
 * it (needs the interface to exist and be this user's, or CAP_NET_ADMIN), tap_detach gives it back.
 */
#ifndef GODWIT_DEVICE_VIRTIO_TAP_H
#define GODWIT_DEVICE_VIRTIO_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct tap {
    char ifname[16];
    int fd;          /* -1 while detached */
    int ctl_fd;      /* /dev/net/tun, opened before privileges and paths are dropped; -1: by fd= */
    int spare_fd;    /* another: to attach again after a move that failed */
    bool vnet_hdr;   /* IFF_VNET_HDR with 12-byte headers (virtio 1.x) */
    bool borrowed;   /* fd= given: stays open over detach */
    uint32_t offloads; /* TUN_F_* last set, applied again on attach */
};

/* fd >= 0: that descriptor (owned from now on) is attached already. */
int tap_new(const char *ifname, int fd, struct tap **out, struct err *e);
void tap_free(struct tap *t);
/* No-op when attached.  A busy tap is waited for, for a moment: another process may be letting go. */
int tap_attach(struct tap *t, struct err *e);
/* Gives it back, at once for this process, soon for others. */
void tap_detach(struct tap *t);
int tap_set_offloads(struct tap *t, uint32_t tun_f);

#endif
