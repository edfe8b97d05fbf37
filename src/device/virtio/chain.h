/*
 * A buffer that the guest's driver made available: segments the device reads, then segments it
 * writes (virtio 1.2, sec. 2.6).  All of them lie in RAM (virtq_pop saw to it).  How a driver cuts
 * its buffer into segments means nothing (sec. 2.7.4), so bytes are taken through cursors.
 */
#ifndef GODWIT_DEVICE_VIRTIO_CHAIN_H
#define GODWIT_DEVICE_VIRTIO_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/guest_mem.h"

#define CHAIN_MAX 256 /* segments */

struct chain {
    uint16_t head;
    uint32_t nout, nin; /* iov[0 .. nout) is read, iov[nout .. nout+nin) is written */
    uint64_t out_len, in_len;
    struct iovec iov[CHAIN_MAX];
    uint64_t gpa[CHAIN_MAX];
};

/* A place in the segments of a chain.  Moving it changes the chain's iov in place, so that iov and
 * n are always what is left, ready for readv and writev. */
struct cursor {
    struct iovec *iov;
    uint64_t *gpa;
    uint32_t n;
};

struct cursor chain_out(struct chain *c);
struct cursor chain_in(struct chain *c);
/* Cuts the last byte off the part the device writes (a status); false when there is none. */
bool chain_cut_last(struct chain *c, uint8_t **host, uint64_t *gpa);

uint64_t cursor_left(const struct cursor *cur);
/* len: at most cursor_left */
void cursor_skip(struct cursor *cur, uint64_t len);
/* Copies and moves on; bytes copied, fewer than len at the end. */
size_t cursor_read(struct cursor *cur, void *out, size_t len);
size_t cursor_write(struct cursor *cur, struct guest_mem *mem, const void *data, size_t len);
/* Marks the next len bytes dirty. */
void cursor_mark(const struct cursor *cur, struct guest_mem *mem, uint64_t len);
/* True when every segment left begins and ends at a multiple of align in host memory. */
bool cursor_aligned(const struct cursor *cur, uint32_t align);

#endif
