/*
 * Guest memory: one shared file mapped once, seen by the guest as up to two ranges (below the PCI
 * hole, and from 4 GiB on).  Everything that touches guest memory goes through here: an address and
 * a length come in, overflow-checked, and what the monitor writes is marked dirty, so that a
 * migration sees it (KVM's log only knows what vCPUs wrote).
 *
 * Backing, first that works: O_TMPFILE on a detached tmpfs with 2 MiB pages (needs privileges, so
 * made before they are dropped), then memfd; or a file under -mem-path (hugetlbfs or a directory).
 * All functions but new/free are thread-safe.  Pointers stay valid until guest_mem_free.
 */
#ifndef GODWIT_MEM_GUEST_MEM_H
#define GODWIT_MEM_GUEST_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define GUEST_PAGE_SIZE  4096U
#define GUEST_MEM_RANGES 2

struct guest_range {
    uint64_t gpa;    /* first guest-physical address */
    uint64_t size;   /* bytes, multiple of GUEST_PAGE_SIZE */
    uint64_t offset; /* in the file and from guest_mem.host */
};

struct guest_mem_config {
    uint64_t size;    /* bytes, 2 MiB multiple */
    uint64_t low_max; /* RAM below this GPA (the start of the hole); the rest from 4 GiB on */
    const char *path; /* -mem-path or NULL */
    bool prealloc;    /* -mem-prealloc: touch every page now, or fail now */
    bool arriving;    /* 2 MiB pages only where guest_mem_dense says, up to guest_mem_arrived */
    int mount_fd;     /* backing_mount() of an earlier, privileged moment; <= 0: none */
};

struct guest_mem {
    uint8_t *host;   /* the whole file, mapped shared, contiguous */
    uint64_t size;   /* bytes of RAM */
    uint64_t mapped; /* size, rounded up to the pages of the backing */
    int fd;
    uint32_t nranges;
    struct guest_range ranges[GUEST_MEM_RANGES];
    uint64_t *dirty; /* bit per page of the file: writes by the monitor */
    bool huge;       /* 2 MiB pages asked for and given */
    bool hugetlb;    /* all of it is, from a fixed pool */
    uint8_t *dense;  /* arriving: the file mapped again, with 2 MiB pages; else NULL */
    bool preallocated;
    _Atomic uint64_t known_data; /* pages that were touched: first << 32 | end; 0: none known */
    char backing[64]; /* "tmpfs huge", "memfd", "file /dev/hugepages" for the log */
};

int guest_mem_new(const struct guest_mem_config *c, struct guest_mem **out, struct err *e);
void guest_mem_free(struct guest_mem *m);

/* Host address of [gpa, gpa+len), NULL unless all of it is RAM inside one range.  For reading; a
 * writer must call guest_mem_mark afterwards (after completion, for asynchronous I/O). */
void *guest_mem_ptr(const struct guest_mem *m, uint64_t gpa, uint64_t len);
/* Marks [gpa, gpa+len) as written by the monitor. Ranges outside RAM are ignored. */
void guest_mem_mark(struct guest_mem *m, uint64_t gpa, uint64_t len);

/* Copies; -EFAULT when any byte is outside RAM (then nothing was copied). */
int guest_mem_read(const struct guest_mem *m, uint64_t gpa, void *out, size_t len);
int guest_mem_write(struct guest_mem *m, uint64_t gpa, const void *data, size_t len);

/* Moves the monitor's dirty bits into bitmap (or'ed) and clears them here, word by word, atomic. */
void guest_mem_dirty_fetch(struct guest_mem *m, uint64_t *bitmap);
/* Clears them: all pages are going to be read after this. */
void guest_mem_dirty_forget(struct guest_mem *m);
/* Next range of the file that was ever touched at or after offset (SEEK_DATA): *start == size when
 * none.  More may follow at *end.  -errno never loses data: on doubt the rest counts as touched. */
int guest_mem_next_data(struct guest_mem *m, uint64_t offset, uint64_t *start, uint64_t *end);
/* Whether the page at offset (< size) was ever touched; on doubt it was.  Always quick. */
bool guest_mem_touched(const struct guest_mem *m, uint64_t offset);
/* For a machine that arrives: pages [first, first + n) of the file are about to be written, most of
 * them, so 2 MiB pages are taken for the whole blocks among them that have none yet.  Elsewhere a
 * write takes 4 KiB, and a machine that used little of its RAM stays small. */
void guest_mem_dense(const struct guest_mem *m, uint64_t first, uint64_t n);
/* It has arrived: what the guest touches from now on gets 2 MiB pages.  Nobody is in
 * guest_mem_dense. */
void guest_mem_arrived(struct guest_mem *m);
/* Another descriptor of the file, which nobody can write through; -errno: there is none to be had. */
int guest_mem_open_to_read(const struct guest_mem *m);
/* Gives all RAM back to the host (punches the file); contents become zero. */
void guest_mem_discard(struct guest_mem *m);

#endif
