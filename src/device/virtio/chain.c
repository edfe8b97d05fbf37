#include "device/virtio/chain.h"

#include <string.h>

struct cursor chain_out(struct chain *c)
{
    return (struct cursor){.iov = c->iov, .gpa = c->gpa, .n = c->nout};
}

struct cursor chain_in(struct chain *c)
{
    return (struct cursor){.iov = c->iov + c->nout, .gpa = c->gpa + c->nout, .n = c->nin};
}

bool chain_cut_last(struct chain *c, uint8_t **host, uint64_t *gpa)
{
    struct iovec *v;

    if (c->nin == 0)
        return false;
    v = &c->iov[c->nout + c->nin - 1];
    v->iov_len--;
    *host = (uint8_t *)v->iov_base + v->iov_len;
    *gpa = c->gpa[c->nout + c->nin - 1] + v->iov_len;
    c->in_len--;
    if (v->iov_len == 0)
        c->nin--;
    return true;
}

uint64_t cursor_left(const struct cursor *cur)
{
    uint64_t left = 0;

    for (uint32_t i = 0; i < cur->n; i++)
        left += cur->iov[i].iov_len;
    return left;
}

/* Moves inside the first segment. */
static void advance(struct cursor *cur, size_t n)
{
    cur->iov->iov_base = (uint8_t *)cur->iov->iov_base + n;
    cur->iov->iov_len -= n;
    *cur->gpa += n;
    if (cur->iov->iov_len == 0) {
        cur->iov++;
        cur->gpa++;
        cur->n--;
    }
}

static size_t in_first(const struct cursor *cur, uint64_t len)
{
    return cur->iov->iov_len < len ? cur->iov->iov_len : (size_t)len;
}

void cursor_skip(struct cursor *cur, uint64_t len)
{
    while (cur->n && len) {
        size_t n = in_first(cur, len);

        advance(cur, n);
        len -= n;
    }
}

size_t cursor_read(struct cursor *cur, void *out, size_t len)
{
    size_t done = 0;

    while (cur->n && done < len) {
        size_t n = in_first(cur, len - done);

        memcpy((uint8_t *)out + done, cur->iov->iov_base, n);
        advance(cur, n);
        done += n;
    }
    return done;
}

size_t cursor_write(struct cursor *cur, struct guest_mem *mem, const void *data, size_t len)
{
    size_t done = 0;

    while (cur->n && done < len) {
        size_t n = in_first(cur, len - done);

        memcpy(cur->iov->iov_base, (const uint8_t *)data + done, n);
        guest_mem_mark(mem, *cur->gpa, n);
        advance(cur, n);
        done += n;
    }
    return done;
}

void cursor_mark(const struct cursor *cur, struct guest_mem *mem, uint64_t len)
{
    for (uint32_t i = 0; i < cur->n && len; i++) {
        uint64_t n = cur->iov[i].iov_len < len ? cur->iov[i].iov_len : len;

        guest_mem_mark(mem, cur->gpa[i], n);
        len -= n;
    }
}

bool cursor_aligned(const struct cursor *cur, uint32_t align)
{
    for (uint32_t i = 0; i < cur->n; i++)
        if ((uintptr_t)cur->iov[i].iov_base % align || cur->iov[i].iov_len % align)
            return false;
    return true;
}
