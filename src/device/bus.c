/*
 * Theory of operation.  The ranges are an array of pointers sorted by base, guarded by a rwlock
 * that is held for the lookup only.  A handler runs with its entry counted as in use instead, so
 * that it may add and remove other ranges (a write to configuration space moves a BAR), and a
 * removal can wait for the handlers it overtakes.  GONE in the count tells the last user that
 * someone waits.
 */
#include "device/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE "device"
#define GONE  0x80000000U

struct entry {
    struct bus_range range;
    atomic_uint users; /* handlers inside; GONE once removed */
    bool drained;      /* the last user left after GONE; guarded by bus.wait_lock */
};

struct bus {
    char name[16];
    pthread_rwlock_t lock; /* guards n, cap, entries */
    size_t n, cap;
    struct entry **entries;
    pthread_mutex_t wait_lock; /* guards entry.drained */
    pthread_cond_t drained;
};

struct bus *bus_new(const char *name)
{
    struct bus *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    snprintf(b->name, sizeof(b->name), "%s", name);
    pthread_rwlock_init(&b->lock, NULL);
    pthread_mutex_init(&b->wait_lock, NULL);
    pthread_cond_init(&b->drained, NULL);
    return b;
}

void bus_free(struct bus *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++)
        free(b->entries[i]);
    free(b->entries);
    pthread_cond_destroy(&b->drained);
    pthread_mutex_destroy(&b->wait_lock);
    pthread_rwlock_destroy(&b->lock);
    free(b);
}

/* The number of ranges that begin at or below addr: the last of them may hold it. */
static size_t upper_bound(const struct bus *b, uint64_t addr)
{
    size_t lo = 0, hi = b->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (b->entries[mid]->range.base <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int overlap(const struct bus *b, const struct bus_range *r, const struct bus_range *with,
                   struct err *e)
{
    return err_set(e, -EEXIST, STAGE,
                   "%s: '%s' at 0x%" PRIx64 "+0x%" PRIx64 " overlaps '%s' at 0x%" PRIx64
                   "+0x%" PRIx64,
                   b->name, r->dev->id, r->base, r->size, with->dev->id, with->base, with->size);
}

/* Where r goes, or the error that it cannot; lock held for writing. */
static int find_place(struct bus *b, const struct bus_range *r, size_t *at, struct err *e)
{
    size_t i = upper_bound(b, r->base);

    if (i > 0) {
        const struct bus_range *below = &b->entries[i - 1]->range;

        if (r->base - below->base < below->size)
            return overlap(b, r, below, e);
    }
    if (i < b->n && b->entries[i]->range.base - r->base < r->size)
        return overlap(b, r, &b->entries[i]->range, e);
    *at = i;
    return 0;
}

static int insert(struct bus *b, struct entry *n, struct err *e)
{
    size_t at = 0;
    int ret = find_place(b, &n->range, &at, e);

    if (ret)
        return ret;
    if (b->n == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 16;
        struct entry **grown = realloc(b->entries, cap * sizeof(*grown));

        if (!grown)
            return err_set(e, -ENOMEM, STAGE, "%s: no memory for a range", b->name);
        b->entries = grown;
        b->cap = cap;
    }
    memmove(&b->entries[at + 1], &b->entries[at], (b->n - at) * sizeof(struct entry *));
    b->entries[at] = n;
    b->n++;
    return 0;
}

int bus_add(struct bus *b, const struct bus_range *r, struct err *e)
{
    struct entry *n;
    int ret;

    if (r->size == 0 || r->base + r->size - 1 < r->base)
        return err_set(e, -EINVAL, STAGE,
                       "%s: '%s' asks for an impossible range 0x%" PRIx64 "+0x%" PRIx64, b->name,
                       r->dev->id, r->base, r->size);
    n = calloc(1, sizeof(*n));
    if (!n)
        return err_set(e, -ENOMEM, STAGE, "%s: no memory for a range", b->name);
    n->range = *r;
    pthread_rwlock_wrlock(&b->lock);
    ret = insert(b, n, e);
    pthread_rwlock_unlock(&b->lock);
    if (ret)
        free(n);
    return ret;
}

/* Takes the entry that begins at base out of the array; NULL: there is none. */
static struct entry *unlink_entry(struct bus *b, uint64_t base)
{
    struct entry *found = NULL;
    size_t i;

    pthread_rwlock_wrlock(&b->lock);
    i = upper_bound(b, base);
    if (i > 0 && b->entries[i - 1]->range.base == base) {
        found = b->entries[i - 1];
        memmove(&b->entries[i - 1], &b->entries[i], (b->n - i) * sizeof(struct entry *));
        b->n--;
    }
    pthread_rwlock_unlock(&b->lock);
    return found;
}

void bus_remove(struct bus *b, uint64_t base)
{
    struct entry *gone = unlink_entry(b, base);

    if (!gone)
        return;
    if (atomic_fetch_or(&gone->users, GONE) > 0) {
        pthread_mutex_lock(&b->wait_lock);
        while (!gone->drained)
            pthread_cond_wait(&b->drained, &b->wait_lock);
        pthread_mutex_unlock(&b->wait_lock);
    }
    free(gone);
}

/* The entry that holds all of [addr, addr+len), counted as in use; NULL: nobody answers. */
static struct entry *enter(struct bus *b, uint64_t addr, uint32_t len)
{
    struct entry *found = NULL;
    size_t i;

    pthread_rwlock_rdlock(&b->lock);
    i = upper_bound(b, addr);
    if (i > 0) {
        struct entry *n = b->entries[i - 1];
        uint64_t offset = addr - n->range.base;

        if (offset < n->range.size && len <= n->range.size - offset) {
            atomic_fetch_add(&n->users, 1);
            found = n;
        }
    }
    pthread_rwlock_unlock(&b->lock);
    return found;
}

static void leave(struct bus *b, struct entry *n)
{
    if (atomic_fetch_sub(&n->users, 1) != (GONE | 1))
        return;
    pthread_mutex_lock(&b->wait_lock);
    n->drained = true; /* its remover frees it once the lock is dropped */
    pthread_cond_broadcast(&b->drained);
    pthread_mutex_unlock(&b->wait_lock);
}

/* The largest access a handler is given at offset with len bytes to go. */
static uint32_t access_size(uint32_t len)
{
    return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

void bus_read(struct bus *b, uint64_t addr, void *data, uint32_t len)
{
    struct entry *n = enter(b, addr, len);
    uint8_t *out = data;

    memset(data, 0xff, len);
    if (!n)
        return;
    pthread_mutex_lock(&n->range.dev->lock);
    for (uint32_t done = 0, size; done < len; done += size) {
        uint64_t v;

        size = access_size(len - done);
        v = n->range.read(n->range.opaque, addr - n->range.base + done, size);
        memcpy(out + done, &v, size); /* x86 hosts are little-endian, as the bus is */
    }
    pthread_mutex_unlock(&n->range.dev->lock);
    leave(b, n);
}

void bus_write(struct bus *b, uint64_t addr, const void *data, uint32_t len)
{
    struct entry *n = enter(b, addr, len);
    const uint8_t *in = data;

    if (!n)
        return;
    pthread_mutex_lock(&n->range.dev->lock);
    for (uint32_t done = 0, size; done < len; done += size) {
        uint64_t v = 0;

        size = access_size(len - done);
        memcpy(&v, in + done, size);
        n->range.write(n->range.opaque, addr - n->range.base + done, size, v);
    }
    pthread_mutex_unlock(&n->range.dev->lock);
    leave(b, n);
}
