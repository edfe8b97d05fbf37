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
 * KVM stops a vCPU some hundred entries before its ring is full to the last.  A KVM that emulates
 * long stretches of kernel code without looking up may overrun it all the same: then it writes over
 * entries that nobody has seen.  Which pages those were is not to be had again, and they are not
 * armed any more, so all pages are armed anew and then all count as dirty: a great deal is sent
 * again, and nothing is missed.  From there on KVM writes some entries ahead of the place it resets
 * from (as many as it had written over).  A ring is known to be overrun when it
 * was found full, or when a reset stopped short of what had been gathered: at an entry that was
 * written over meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/log.h"
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

static struct kvm_dirty_gfn *entry(const struct hv_vcpu *v, uint32_t i)
{
    return &v->ring.entries[(v->ring.next + i) & (v->vm->caps.dirty_ring - 1)];
}

static uint32_t flags_of(const struct hv_vcpu *v, uint32_t i)
{
    return __atomic_load_n(&entry(v, i)->flags, __ATOMIC_ACQUIRE);
}

static void hand_back(const struct hv_vcpu *v, uint32_t i)
{
    __atomic_store_n(&entry(v, i)->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/* How many entries there are.  After an overrun some may have been left out: they count, and are
 * handed back as they are (to arm a page once more does no harm). */
static uint32_t extent(const struct hv_vcpu *v)
{
    uint32_t n = 0, size = v->vm->caps.dirty_ring;

    if (v->ring.overruns) {
        for (n = size; n > 0 && !flags_of(v, n - 1); n--)
            ;
        return n;
    }
    while (n < size && flags_of(v, n))
        n++;
    return n;
}

/* How many entries are now KVM's to reset. */
static uint32_t gather(struct hv_vcpu *v)
{
    struct kvm_ring *ring = &v->ring;
    uint32_t n = extent(v);

    ring->ngathered = 0;
    for (uint32_t i = 0; i < n; i++) {
        if ((flags_of(v, i) & KVM_DIRTY_GFN_F_DIRTY) &&
            page_of(v->vm, entry(v, i)->slot, entry(v, i)->offset,
                    &ring->gathered[ring->ngathered]))
            ring->ngathered++;
        hand_back(v, i);
    }
    __atomic_fetch_add(&ring->dirtied, ring->ngathered, __ATOMIC_RELAXED);
    return n;
}

static void publish(const struct hv_vm *vm, const struct kvm_ring *ring)
{
    for (uint32_t i = 0; vm->ring_dirty && i < ring->ngathered; i++)
        __atomic_fetch_or(&vm->ring_dirty[ring->gathered[i] / 64], 1ULL << (ring->gathered[i] % 64),
                          __ATOMIC_RELAXED);
}

/* Of n entries; how many were, or -errno.  KVM may do it in parts: a signal ends one. */
static int reset(struct hv_vm *vm, uint32_t n)
{
    uint32_t done = 0;

    while (done < n) {
        int rc = kvm_ioctl_value(vm->fd, KVM_RESET_DIRTY_RINGS, 0);

        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        done += (uint32_t)rc;
    }
    return (int)done;
}

static void overran(struct hv_vcpu *v)
{
    if (v->ring.overruns++ == 0)
        log_warn("kvm",
                 "vCPU %u: KVM overran its dirty ring; all memory counts as dirty each time that "
                 "happens (without dirty-ring-size this host would do better)",
                 v->index);
    v->vm->ring_lost = true;
}

/* One vCPU's ring, into the bitmap.  One at a time: what a reset returns tells where KVM stands. */
static int take(struct hv_vcpu *v, uint32_t *seen)
{
    int done;

    *seen = gather(v);
    done = reset(v->vm, *seen);
    publish(v->vm, &v->ring);
    if (done < 0) {
        v->vm->ring_lost = true;
        return done;
    }
    v->ring.next += (uint32_t)done;
    if (done > 0)
        v->ring.full_of_nothing = false;
    if ((uint32_t)done < *seen || *seen == v->vm->caps.dirty_ring)
        overran(v);
    return 0;
}

/* After entries were lost: arms everything, by switching the log off and on, and calls it dirty.
 * What fails is tried again before the bitmap is shown to anyone. */
static int recover(struct hv_vm *vm, struct err *e)
{
    int rc;

    if (!vm->ring_lost || !vm->ring_dirty)
        return 0;
    rc = kvm_slots_set(vm, 0, e);
    if (rc == 0)
        rc = kvm_slots_set(vm, KVM_MEM_LOG_DIRTY_PAGES, e);
    if (rc < 0)
        return rc;
    bitmap_set_range_atomic(vm->ring_dirty, 0, vm->mem->size / GUEST_PAGE_SIZE);
    vm->ring_lost = false;
    return 0;
}

static int harvest_all(struct hv_vm *vm, struct err *e)
{
    uint32_t seen;

    for (uint32_t i = 0; i < vm->nvcpus; i++) {
        int rc = take(vm->vcpus[i], &seen);

        if (rc < 0)
            return err_set_errno(e, rc, STAGE, "dirty rings");
    }
    return recover(vm, e);
}

/* KVM calls a ring full in which there is nothing, twice, and nobody took anything out meanwhile:
 * it counts what it wrote over.  A quarter is less than it must count to call a ring full. */
static int skip_quarter(struct hv_vcpu *v)
{
    uint32_t n = v->vm->caps.dirty_ring / 4;
    int done;

    for (uint32_t i = 0; i < n; i++)
        hand_back(v, i);
    done = reset(v->vm, n);
    if (done < 0)
        return done;
    v->ring.next += (uint32_t)done;
    return 0;
}

int kvm_ring_full(struct hv_vcpu *v)
{
    struct hv_vm *vm = v->vm;
    uint32_t seen;
    int rc;

    pthread_mutex_lock(&vm->ring_lock);
    rc = take(v, &seen);
    if (rc == 0 && seen == 0 && v->ring.overruns) {
        if (v->ring.full_of_nothing)
            rc = skip_quarter(v);
        v->ring.full_of_nothing = true;
    }
    recover(vm, NULL);
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
    harvest_all(vm, NULL); /* what was not asked for any more must not fill the rings */
}

int kvm_ring_start(struct hv_vm *vm, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&vm->ring_lock);
    if (vm->ring_users == 0) {
        vm->ring_dirty = bitmap_new(page_count(vm));
        vm->ring_lost = false; /* of what was lost while nobody asked */
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
    int rc;

    pthread_mutex_lock(&vm->ring_lock);
    rc = vm->ring_dirty ? harvest_all(vm, e)
                        : err_set(e, -EINVAL, STAGE, "the dirty log has not been started");
    for (size_t w = 0; vm->ring_dirty && w < BITMAP_WORDS(page_count(vm)); w++)
        bitmap[w] |= __atomic_load_n(&vm->ring_dirty[w], __ATOMIC_RELAXED);
    pthread_mutex_unlock(&vm->ring_lock);
    return rc;
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
    rc = harvest_all(vm, e);
    for (uint32_t i = 0; i < n && i < vm->nvcpus; i++)
        pages[i] = vm->vcpus[i]->ring.dirtied;
    pthread_mutex_unlock(&vm->ring_lock);
    return rc;
}
