#include "mem/guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "mem/backing.h"

#define HUGE_PAGE  (2ULL << 20)
#define FOUR_GIB   (4ULL << 30)
#define LOOK_BYTES (64ULL << 20) /* that are looked at for touched pages in one go */

static uint64_t page_count(const struct guest_mem *m)
{
    return m->size / GUEST_PAGE_SIZE;
}

static int check_config(const struct guest_mem_config *c, struct err *e)
{
    if (c->size == 0 || c->size % HUGE_PAGE)
        return err_set(e, -EINVAL, "memory", "%" PRIu64 " bytes: not a multiple of 2 MiB", c->size);
    if (c->low_max == 0 || c->low_max % HUGE_PAGE || c->low_max > FOUR_GIB)
        return err_set(e, -EINVAL, "memory",
                       "PCI hole at 0x%" PRIx64 ": not a multiple of 2 MiB below 4 GiB",
                       c->low_max);
    if (c->size > INT64_MAX / 2)
        return err_set(e, -EINVAL, "memory", "%" PRIu64 " bytes: too large", c->size);
    return 0;
}

static void lay_out(struct guest_mem *m, const struct guest_mem_config *c)
{
    uint64_t low = c->size < c->low_max ? c->size : c->low_max;

    m->size = c->size;
    m->ranges[m->nranges++] = (struct guest_range){.gpa = 0, .size = low, .offset = 0};
    if (low < c->size)
        m->ranges[m->nranges++] =
            (struct guest_range){.gpa = FOUR_GIB, .size = c->size - low, .offset = low};
}

/* Maps the file at an address aligned to its pages, without which no huge page can be used.
 * NORESERVE: a sparse guest may be larger than the host. */
static int map_file(const struct backing *b, uint8_t **out, struct err *e)
{
    int flags = MAP_SHARED | MAP_FIXED | (b->hugetlb ? 0 : MAP_NORESERVE);
    size_t room = b->size + b->page_size;
    uintptr_t start, aligned;
    void *area;

    area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return err_set_errno(e, -errno, "memory", "address space for %" PRIu64 " MiB",
                             b->size >> 20);
    start = (uintptr_t)area;
    aligned = (start + b->page_size - 1) / b->page_size * b->page_size;
    if (mmap((void *)aligned, b->size, PROT_READ | PROT_WRITE, flags, b->fd, 0) == MAP_FAILED) {
        int rc = -errno;
        munmap(area, room);
        return err_set_errno(e, rc, "memory",
                             "%s: cannot map %" PRIu64 " MiB (for hugetlbfs: raise "
                             "/proc/sys/vm/nr_hugepages)",
                             b->name, b->size >> 20);
    }
    if (aligned > start)
        munmap(area, aligned - start);
    if (start + room > aligned + b->size)
        munmap((void *)(aligned + b->size), start + room - (aligned + b->size));
    *out = (uint8_t *)aligned;
    madvise(*out, b->size, MADV_DONTDUMP);
    return 0;
}

/* A second mapping asks for large pages, where they pay; the first finds them in the file.  To
 * advise parts of the first would cut it into thousands of pieces. */
static int map_memory(struct guest_mem *m, const struct backing *b, bool arriving, struct err *e)
{
    int rc = map_file(b, &m->host, e);

    if (rc < 0)
        return rc;
    m->mapped = b->size;
    if (!arriving || b->hugetlb) {
        madvise(m->host, m->mapped, MADV_HUGEPAGE);
        return 0;
    }
    rc = map_file(b, &m->dense, e);
    if (rc == 0)
        madvise(m->dense, m->mapped, MADV_HUGEPAGE);
    return rc;
}

/* Kernels before 5.14 do not know MADV_POPULATE_WRITE; there the file is allocated instead. */
static int populate(struct guest_mem *m, struct err *e)
{
    int rc = 0;

    if (madvise(m->host, m->mapped, MADV_POPULATE_WRITE) < 0)
        rc = errno == EINVAL ? -posix_fallocate(m->fd, 0, (off_t)m->mapped) : -errno;
    if (rc < 0)
        return err_set_errno(e, rc, "memory",
                             "-mem-prealloc: the host cannot give %" PRIu64 " MiB now (%s)",
                             m->size >> 20, m->backing);
    m->preallocated = true;
    return 0;
}

int guest_mem_new(const struct guest_mem_config *c, struct guest_mem **out, struct err *e)
{
    struct guest_mem *m;
    struct backing b;
    int rc;

    *out = NULL;
    rc = check_config(c, e);
    if (rc < 0)
        return rc;
    m = calloc(1, sizeof(*m));
    if (!m)
        return err_set_errno(e, -ENOMEM, "memory", "guest memory");
    m->fd = -1;
    lay_out(m, c);
    rc = backing_open(&b, c->size, c->path, c->mount_fd, e);
    if (rc < 0)
        goto fail;
    m->fd = b.fd;
    m->huge = b.huge;
    m->hugetlb = b.hugetlb;
    snprintf(m->backing, sizeof(m->backing), "%s", b.name);
    rc = map_memory(m, &b, c->arriving && !c->prealloc, e);
    if (rc < 0)
        goto fail;
    m->dirty = bitmap_new(page_count(m));
    if (!m->dirty) {
        rc = err_set_errno(e, -ENOMEM, "memory", "dirty bitmap");
        goto fail;
    }
    if (c->prealloc)
        rc = populate(m, e);
    if (rc < 0)
        goto fail;
    *out = m;
    return 0;
fail:
    guest_mem_free(m);
    return rc;
}

void guest_mem_free(struct guest_mem *m)
{
    if (!m)
        return;
    if (m->dense)
        munmap(m->dense, m->mapped);
    if (m->host)
        munmap(m->host, m->mapped);
    if (m->dirty)
        bitmap_free(m->dirty, page_count(m));
    if (m->fd >= 0)
        close(m->fd);
    free(m);
}

/* The range that holds all of [gpa, gpa+len); written so that no sum can overflow. */
static const struct guest_range *range_of(const struct guest_mem *m, uint64_t gpa, uint64_t len)
{
    for (uint32_t i = 0; i < m->nranges; i++) {
        const struct guest_range *r = &m->ranges[i];
        if (gpa >= r->gpa && gpa - r->gpa <= r->size && len <= r->size - (gpa - r->gpa))
            return r;
    }
    return NULL;
}

void *guest_mem_ptr(const struct guest_mem *m, uint64_t gpa, uint64_t len)
{
    const struct guest_range *r = range_of(m, gpa, len);

    return r ? m->host + r->offset + (gpa - r->gpa) : NULL;
}

void guest_mem_mark(struct guest_mem *m, uint64_t gpa, uint64_t len)
{
    const struct guest_range *r = len ? range_of(m, gpa, len) : NULL;
    uint64_t first, last;

    if (!r)
        return;
    first = (r->offset + (gpa - r->gpa)) / GUEST_PAGE_SIZE;
    last = (r->offset + (gpa - r->gpa) + len - 1) / GUEST_PAGE_SIZE;
    bitmap_set_range_atomic(m->dirty, first, last - first + 1);
}

int guest_mem_read(const struct guest_mem *m, uint64_t gpa, void *out, size_t len)
{
    const void *p = guest_mem_ptr(m, gpa, len);

    if (!p)
        return -EFAULT;
    memcpy(out, p, len);
    return 0;
}

int guest_mem_write(struct guest_mem *m, uint64_t gpa, const void *data, size_t len)
{
    void *p = guest_mem_ptr(m, gpa, len);

    if (!p)
        return -EFAULT;
    memcpy(p, data, len);
    guest_mem_mark(m, gpa, len);
    return 0;
}

void guest_mem_dirty_fetch(struct guest_mem *m, uint64_t *bitmap)
{
    size_t words = BITMAP_WORDS(page_count(m));

    for (size_t i = 0; i < words; i++) {
        if (__atomic_load_n(&m->dirty[i], __ATOMIC_RELAXED))
            bitmap[i] |= __atomic_exchange_n(&m->dirty[i], 0, __ATOMIC_ACQ_REL);
    }
}

void guest_mem_dirty_forget(struct guest_mem *m)
{
    size_t words = BITMAP_WORDS(page_count(m));

    for (size_t i = 0; i < words; i++)
        if (__atomic_load_n(&m->dirty[i], __ATOMIC_RELAXED))
            __atomic_exchange_n(&m->dirty[i], 0, __ATOMIC_ACQ_REL);
}

/* hugetlbfs cannot seek data; but its pages are never swapped out, so those that were ever touched
 * are those in our page tables.  true: `offset` is in one; *end: up to where that holds, one look
 * further at most. */
static bool in_core(const struct guest_mem *m, uint64_t offset, uint64_t *end)
{
    unsigned char core[LOOK_BYTES / GUEST_PAGE_SIZE];
    uint64_t n = m->size - offset < LOOK_BYTES ? m->size - offset : LOOK_BYTES;
    uint64_t pages = n / GUEST_PAGE_SIZE, i = 1;

    *end = m->size;
    if (mincore(m->host + offset, n, core) < 0)
        return true;
    while (i < pages && (core[i] & 1) == (core[0] & 1))
        i++;
    *end = offset + i * GUEST_PAGE_SIZE;
    return core[0] & 1;
}

static void next_in_core(const struct guest_mem *m, uint64_t offset, uint64_t *start, uint64_t *end)
{
    uint64_t at = offset / GUEST_PAGE_SIZE * GUEST_PAGE_SIZE, next;

    while (at < m->size && !in_core(m, at, &next))
        at = next;
    *start = at < m->size ? (at > offset ? at : offset) : m->size;
    while (at < m->size && in_core(m, at, &next))
        at = next;
    *end = at;
}

static void next_in_file(const struct guest_mem *m, uint64_t offset, uint64_t *start, uint64_t *end)
{
    off_t data = lseek(m->fd, (off_t)offset, SEEK_DATA), hole;

    if (data < 0) {
        if (errno != ENXIO)
            *start = offset; /* a filesystem that cannot say: all of it counts */
        return;
    }
    if ((uint64_t)data >= m->size)
        return;
    *start = (uint64_t)data;
    hole = lseek(m->fd, data, SEEK_HOLE);
    if (hole > data && (uint64_t)hole < m->size)
        *end = (uint64_t)hole;
}

/* The end of a range is found by walking over its pages, and it is asked for again for every piece
 * of it: so the last one found is remembered.  What was touched stays so. */
static bool is_known(const struct guest_mem *m, uint64_t offset, uint64_t *end)
{
    uint64_t known = atomic_load_explicit(&m->known_data, memory_order_relaxed);
    uint64_t page = offset / GUEST_PAGE_SIZE, last = known & UINT32_MAX;

    if (page < known >> 32 || page >= last)
        return false;
    *end = last * GUEST_PAGE_SIZE;
    return true;
}

static void remember(struct guest_mem *m, uint64_t start, uint64_t end)
{
    uint64_t first = start / GUEST_PAGE_SIZE, last = end / GUEST_PAGE_SIZE;

    if (first < last && last <= UINT32_MAX)
        atomic_store_explicit(&m->known_data, first << 32 | last, memory_order_relaxed);
}

int guest_mem_next_data(struct guest_mem *m, uint64_t offset, uint64_t *start, uint64_t *end)
{
    *start = *end = m->size;
    if (offset >= m->size)
        return 0;
    if (is_known(m, offset, end)) {
        *start = offset;
        return 0;
    }
    if (m->hugetlb)
        next_in_core(m, offset, start, end);
    else
        next_in_file(m, offset, start, end);
    remember(m, *start, *end);
    return 0;
}

bool guest_mem_touched(const struct guest_mem *m, uint64_t offset)
{
    uint64_t page = offset / GUEST_PAGE_SIZE * GUEST_PAGE_SIZE;
    unsigned char core = 1;
    off_t data;

    if (m->hugetlb)
        return mincore(m->host + page, GUEST_PAGE_SIZE, &core) < 0 || (core & 1);
    data = lseek(m->fd, (off_t)page, SEEK_DATA);
    return data < 0 ? errno != ENXIO : (uint64_t)data < page + GUEST_PAGE_SIZE;
}

void guest_mem_dense(const struct guest_mem *m, uint64_t first, uint64_t n)
{
    uint64_t at = (first * GUEST_PAGE_SIZE + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint64_t end = (first + n) * GUEST_PAGE_SIZE / HUGE_PAGE * HUGE_PAGE;

    /* To read a byte is enough: a file of shared memory gets its page then, whoever reads.  And the
     * page stays when it is not mapped here any more, where it would count a second time. */
    for (; m->dense && at < end && at < m->size; at += HUGE_PAGE) {
        (void)*(volatile const uint8_t *)(m->dense + at);
        madvise(m->dense + at, HUGE_PAGE, MADV_DONTNEED);
    }
}

void guest_mem_arrived(struct guest_mem *m)
{
    if (!m->dense)
        return;
    madvise(m->host, m->mapped, MADV_HUGEPAGE);
    munmap(m->dense, m->mapped);
    m->dense = NULL;
}

void guest_mem_discard(struct guest_mem *m)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    if (fallocate(m->fd, mode, 0, (off_t)m->mapped) < 0 &&
        madvise(m->host, m->mapped, MADV_REMOVE) < 0)
        memset(m->host, 0, m->size);
    atomic_store(&m->known_data, 0);
    m->preallocated = false;
}

int guest_mem_open_to_read(const struct guest_mem *m)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", m->fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
