/*
 * The dirty ring: KVM appends each page that a vCPU writes to that vCPU's own ring, and re-arms
 * (write-protects) the page when the entry has been taken out and the rings are reset.
 *
 * Theory of operation.  What is taken out is kept in one bitmap, so that get and clear mean what
 * they mean with KVM's own bitmap.  The order is what makes that true: entries are gathered, then
 * reset, and only then published in the bitmap.  So whoever sees a bit, clears it and reads the
 * page, reads a page that has been re-armed: a later write makes a new entry.  Were the bit
 * published first, a write between clear and reset would be seen by nobody.
 *
 * All of that is under ring_lock: a reset re-arms whatever any thread has gathered, and a bit is
 * missing from the bitmap only while the lock is held.  A vCPU whose ring is full empties it on its
 * own thread, between two entries into the guest.
 *
 * KVM stops a vCPU some hundred entries before its ring is full to the last.  A ring that is found
 * so has been overrun, or nearly: a KVM that emulates long stretches of kernel code without looking
 * up does that.  What is lost then is not to be had again, so the log says so instead of lying.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "hv/kvm_priv.h"

/* ---- set up ---- */

/* The variant whose ordering rules are written down, where there is one. */
static uint32_t ring_cap(const struct hv_vm *vm, uint32_t *entries_max)
{
    static const uint32_t caps[] = {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING};

    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        int bytes = kvm_ioctl_value(vm->fd, KVM_CHECK_EXTENSION, caps[i]);

        if (bytes > 0) {
            *entries_max = (uint32_t)bytes / sizeof(struct kvm_dirty_gfn);
            return caps[i];
        }
    }
    *entries_max = 0;
    return 0;
}

uint32_t kvm_ring_max(const struct hv_vm *vm)
{
    uint32_t max;

    ring_cap(vm, &max);
    return max;
}

int kvm_ring_enable(struct hv_vm *vm, uint32_t entries, struct err *e)
{
    uint32_t max, cap = ring_cap(vm, &max);
    struct kvm_enable_cap c = {.cap = cap, .args = {entries * sizeof(struct kvm_dirty_gfn)}};
    int rc;

    if (!cap)
        return err_set(e, -ENOTSUP, STAGE,
                       "this host's KVM has no dirty ring (Linux 5.11 has): leave out "
                       "dirty-ring-size, and the dirty bitmap is used");
    if (entries > max)
        return err_set(e, -EINVAL, STAGE, "a dirty ring of %u entries: this host allows %u",
                       entries, max);
    rc = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &c);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "a dirty ring of %u entries", entries);
    vm->caps.dirty_ring = entries;
    return 0;
}

int kvm_ring_map(struct hv_vcpu *v, struct err *e)
{
    uint32_t n = v->vm->caps.dirty_ring;
    void *area;

    if (!n)
        return 0;
    area = mmap(NULL, n * sizeof(struct kvm_dirty_gfn), PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
                (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));
    if (area == MAP_FAILED)
        return err_set_errno(e, -errno, STAGE, "vCPU %u: dirty ring", v->index);
    v->ring.entries = area;
    v->ring.gathered = calloc(n, sizeof(uint64_t));
    return v->ring.gathered ? 0 : err_set_errno(e, -ENOMEM, STAGE, "vCPU %u: dirty ring", v->index);
}

void kvm_ring_unmap(struct hv_vcpu *v)
{
    if (v->ring.entries)
        munmap(v->ring.entries, v->vm->caps.dirty_ring * sizeof(struct kvm_dirty_gfn));
    free(v->ring.gathered);
}

/* ---- harvest; ring_lock is held ---- */

/* The page of the memory file that an entry names; false: of no slot of ours. */
static bool page_of(const struct hv_vm *vm, uint32_t slot, uint64_t offset, uint64_t *page)
{
    const struct guest_range *r;

    if (slot >= vm->mem->nranges) /* the upper half is the address space: 0 outside SMM */
        return false;
    r = &vm->mem->ranges[slot];
    if (offset >= r->size / GUEST_PAGE_SIZE)
        return false;
    *page = r->offset / GUEST_PAGE_SIZE + offset;
    return true;
}

static void gather(struct hv_vcpu *v)
{
    struct kvm_ring *ring = &v->ring;
    uint32_t mask = v->vm->caps.dirty_ring - 1, seen = 0;

    for (ring->ngathered = 0; seen <= mask; seen++, ring->next++) {
        struct kvm_dirty_gfn *g = &ring->entries[ring->next & mask];

        if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
            break;
        if (page_of(v->vm, g->slot, g->offset, &ring->gathered[ring->ngathered]))
            ring->ngathered++;
        __atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
    if (seen > mask)
        v->vm->ring_overrun = true;
    __atomic_fetch_add(&ring->dirtied, ring->ngathered, __ATOMIC_RELAXED);
}

static void publish(const struct hv_vm *vm, const struct kvm_ring *ring)
{
    for (uint32_t i = 0; vm->ring_dirty && i < ring->ngathered; i++)
        __atomic_fetch_or(&vm->ring_dirty[ring->gathered[i] / 64], 1ULL << (ring->gathered[i] % 64),
                          __ATOMIC_RELAXED);
}

static int reset(struct hv_vm *vm)
{
    int rc = kvm_ioctl_value(vm->fd, KVM_RESET_DIRTY_RINGS, 0);

    if (rc >= 0 && vm->ring_overrun)
        return -EOVERFLOW;
    return rc < 0 ? rc : 0;
}

static int ring_error(struct err *e, int code)
{
    if (code == -EOVERFLOW)
        return err_set(e, code, STAGE,
                       "KVM overran a vCPU's dirty ring, and what the guest wrote is not known any "
                       "more: start the machine without dirty-ring-size on this host");
    return err_set_errno(e, code, STAGE, "dirty rings");
}

static int harvest_all(struct hv_vm *vm)
{
    uint32_t n = 0;
    int rc;

    for (uint32_t i = 0; i < vm->nvcpus; i++) {
        gather(vm->vcpus[i]);
        n += vm->vcpus[i]->ring.ngathered;
    }
    if (n == 0)
        return vm->ring_overrun ? -EOVERFLOW : 0;
    rc = reset(vm);
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        publish(vm, &vm->vcpus[i]->ring);
    return rc;
}

int kvm_ring_full(struct hv_vcpu *v)
{
    struct hv_vm *vm = v->vm;
    int rc;

    pthread_mutex_lock(&vm->ring_lock);
    gather(v);
    rc = reset(vm);
    publish(vm, &v->ring);
    if (rc == -EOVERFLOW && v->ring.ngathered > 0)
        rc = 0; /* the guest may run on; it is the log that ends */
    pthread_mutex_unlock(&vm->ring_lock);
    return rc;
}

/* ---- the dirty log by the ring ---- */

static uint64_t page_count(const struct hv_vm *vm)
{
    return vm->mem->size / GUEST_PAGE_SIZE;
}

/* Lock held; the last user is going, or the first could not begin. */
static void switch_off(struct hv_vm *vm)
{
    kvm_slots_set(vm, 0, NULL);
    bitmap_free(vm->ring_dirty, page_count(vm));
    vm->ring_dirty = NULL;
    harvest_all(vm); /* what was not asked for any more must not fill the rings */
}

int kvm_ring_start(struct hv_vm *vm, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&vm->ring_lock);
    if (vm->ring_users == 0) {
        vm->ring_dirty = bitmap_new(page_count(vm));
        rc = vm->ring_dirty ? kvm_slots_set(vm, KVM_MEM_LOG_DIRTY_PAGES, e)
                            : err_set_errno(e, -ENOMEM, STAGE, "dirty log");
        if (rc < 0 && vm->ring_dirty)
            switch_off(vm);
    }
    if (rc == 0)
        vm->ring_users++;
    pthread_mutex_unlock(&vm->ring_lock);
    return rc;
}

void kvm_ring_stop(struct hv_vm *vm)
{
    pthread_mutex_lock(&vm->ring_lock);
    if (vm->ring_users > 0 && --vm->ring_users == 0)
        switch_off(vm);
    pthread_mutex_unlock(&vm->ring_lock);
}

int kvm_ring_get(struct hv_vm *vm, uint64_t *bitmap, struct err *e)
{
    int rc = -EINVAL;

    pthread_mutex_lock(&vm->ring_lock);
    if (vm->ring_dirty)
        rc = harvest_all(vm);
    for (size_t w = 0; vm->ring_dirty && w < BITMAP_WORDS(page_count(vm)); w++)
        bitmap[w] |= __atomic_load_n(&vm->ring_dirty[w], __ATOMIC_RELAXED);
    pthread_mutex_unlock(&vm->ring_lock);
    return rc < 0 ? ring_error(e, rc) : 0;
}

/* No lock: lanes do this at once, on words of their own; the bits are atomic for publish's sake. */
void kvm_ring_clear(struct hv_vm *vm, uint64_t first, uint64_t n, const uint64_t *bits)
{
    for (size_t w = 0; vm->ring_dirty && w < BITMAP_WORDS(n); w++)
        if (bits[w])
            __atomic_fetch_and(&vm->ring_dirty[first / 64 + w], ~bits[w], __ATOMIC_ACQ_REL);
}

int hv_dirty_counts(struct hv_vm *vm, uint64_t *pages, uint32_t n, struct err *e)
{
    int rc;

    if (!vm->caps.dirty_ring)
        return err_set(e, -ENOTSUP, STAGE,
                       "what each vCPU dirties is known with the dirty ring only (-accel "
                       "kvm,dirty-ring-size=4096)");
    pthread_mutex_lock(&vm->ring_lock);
    rc = harvest_all(vm);
    for (uint32_t i = 0; i < n && i < vm->nvcpus; i++)
        pages[i] = vm->vcpus[i]->ring.dirtied;
    pthread_mutex_unlock(&vm->ring_lock);
    return rc < 0 ? ring_error(e, rc) : 0;
}
