/*
 * Memory seen, not sent: where both monitors are on one host and talk over a UNIX socket in the clear,
 * the source hands over read-only descriptors of the files behind its regions, and the destination's
 * lanes take pages from there.  One copy instead of two, and no socket in between.
 *
 * Trust.  The destination sees nothing that it would not be sent, for as long as it keeps the
 * descriptor, and cannot write; since it could open the file anew through /proc by the rights of its
 * user, only a process of the source's own user is offered any.  It takes only
 * files of memory (tmpfs, hugetlbfs, memfd), of which no read waits for another process; one that is
 * cut short under it is an error.  They are closed before the state is loaded.  In between a page may
 * change under its reader as it may on its way into a socket: then it is dirty and comes again.
 */
#ifndef GODWIT_MIGRATE_VIEW_H
#define GODWIT_MIGRATE_VIEW_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit/migrate.h"
#include "stream/native/view.h"
#include "transport/channel.h"

struct view {
    atomic_int taken[GODWIT_REGIONS_MAX]; /* the descriptor + 1; 0: none */
    uint64_t offset[GODWIT_REGIONS_MAX];  /* constant once taken is set */
};

/* The destination: takes what came with the offer on this channel.  *answer: what can be used (maybe
 * nothing, which is no failure).  -EPROTO: a second offer, or one that contradicts itself. */
int view_take(struct view *v, struct channel *c, const struct native_view *offer,
              const struct godwit_region *regions, uint32_t nregions, struct native_view *answer,
              struct err *e);
/* len bytes of the region at `at`, into memory. */
int view_read(const struct view *v, uint32_t region, uint64_t at, void *to, size_t len,
              struct err *e);
/* Nobody reads any more. */
void view_close(struct view *v);

/* The source: what there is to offer. fds: for channel_send_fds, as many as *offer has files. */
void view_offer(const struct godwit_region *regions, uint32_t nregions, struct native_view *offer,
                int fds[NATIVE_VIEW_MAX]);

#endif
