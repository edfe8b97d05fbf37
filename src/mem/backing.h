/*
 * The file behind guest memory.  Tried in this order: a detached tmpfs with 2 MiB pages for mappings
 * that ask for them (needs CAP_SYS_ADMIN), a memfd; or, when a directory is named, an unlinked file there and nothing else.
 */
#ifndef GODWIT_MEM_BACKING_H
#define GODWIT_MEM_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct backing {
    int fd;             /* an unlinked file of `size` bytes, close-on-exec; the caller closes it */
    uint64_t size;      /* the size asked for, rounded up to page_size */
    uint64_t page_size; /* what a mapping must be aligned to */
    bool huge;          /* 2 MiB pages or larger, where the kernel finds them */
    bool hugetlb;       /* hugetlbfs: reserve at mmap, or the guest dies of SIGBUS later */
    char name[64];
};

/* A tmpfs with 2 MiB pages (MADV_HUGEPAGE) that is mounted nowhere: it lives as long as this descriptor and the files
 * in it.  Made before privileges are dropped; -errno without them. */
int backing_mount(void);
/* path: a directory, or NULL.  mount_fd: of backing_mount, lent; <= 0: one is made now if it can be.
 * -ENOTDIR, -ENOSPC, -errno with what to do. */
int backing_open(struct backing *b, uint64_t size, const char *path, int mount_fd, struct err *e);

#endif
