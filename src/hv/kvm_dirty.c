/*
 * The dirty log by KVM's bitmap (by the rings: kvm_ring.c): what vCPUs (and KVM itself) wrote.  With manual protect, getting the log does not
 * re-arm it; clearing does, range by range, so that the cost of write-protecting 64 GiB is spread
 * over the round and paid by the lanes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "hv/kvm_priv.h"

#define PAGE_ALIGN 64 /* KVM_CLEAR_DIRTY_LOG works on words of its bitmap */

static uint64_t first_page(const struct guest_range *r)
{
    return r->offset / GUEST_PAGE_SIZE;
}

static uint64_t page_count(const struct guest_range *r)
{
    return r->size / GUEST_PAGE_SIZE;
}

static void free_scratch(struct hv_vm *vm)
{
    for (uint32_t i = 0; i < GUEST_MEM_RANGES; i++) {
        free(vm->dirty_scratch[i]);
        vm->dirty_scratch[i] = NULL;
    }
}

int hv_dirty_start(struct hv_vm *vm, struct err *e)
{
    int rc;

    if (vm->caps.dirty_ring)
        return kvm_ring_start(vm, e);
    for (uint32_t i = 0; i < vm->mem->nranges; i++) {
        const struct guest_range *r = &vm->mem->ranges[i];

        if (first_page(r) % PAGE_ALIGN)
            return err_set(e, -EINVAL, STAGE, "RAM range %u is not aligned for the dirty log", i);
        if (!vm->dirty_scratch[i])
            vm->dirty_scratch[i] = calloc(BITMAP_WORDS(page_count(r)), sizeof(uint64_t));
        if (!vm->dirty_scratch[i])
            return err_set_errno(e, -ENOMEM, STAGE, "dirty log");
    }
    rc = kvm_slots_set(vm, KVM_MEM_LOG_DIRTY_PAGES, e);
    if (rc < 0)
        hv_dirty_stop(vm);
    return rc;
}

void hv_dirty_stop(struct hv_vm *vm)
{
    if (vm->caps.dirty_ring) {
        kvm_ring_stop(vm);
        return;
    }
    kvm_slots_set(vm, 0, NULL);
    free_scratch(vm);
}

int hv_dirty_get(struct hv_vm *vm, uint64_t *bitmap, struct err *e)
{
    if (vm->caps.dirty_ring)
        return kvm_ring_get(vm, bitmap, e);
    for (uint32_t i = 0; i < vm->mem->nranges; i++) {
        const struct guest_range *r = &vm->mem->ranges[i];
        struct kvm_dirty_log log = {.slot = i, .dirty_bitmap = vm->dirty_scratch[i]};
        uint64_t *out = bitmap + first_page(r) / 64;
        int rc = vm->dirty_scratch[i] ? kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) : -EINVAL;

        if (rc < 0)
            return err_set_errno(e, rc, STAGE, "dirty log of RAM range %u", i);
        for (size_t w = 0; w < BITMAP_WORDS(page_count(r)); w++)
            out[w] |= vm->dirty_scratch[i][w];
    }
    return 0;
}

/* Clears words [from, to) of one slot's log, less the empty ones at both ends: an unset bit costs
 * KVM next to nothing, but an ioctl is an ioctl. */
static int clear_slot(struct hv_vm *vm, uint32_t slot, uint64_t from, uint64_t to,
                      const uint64_t *bits)
{
    uint64_t pages = page_count(&vm->mem->ranges[slot]);
    struct kvm_clear_dirty_log log = {.slot = slot};

    while (from < to && *bits == 0) {
        from++;
        bits++;
    }
    while (from < to && bits[to - from - 1] == 0)
        to--;
    if (from == to)
        return 0;
    log.first_page = from * 64;
    log.num_pages = (uint32_t)((to * 64 < pages ? to * 64 : pages) - from * 64);
    log.dirty_bitmap = (void *)(uintptr_t)bits; /* KVM only reads it */
    return kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log);
}

int hv_dirty_clear(struct hv_vm *vm, uint64_t first, uint64_t n, const uint64_t *bits,
                   struct err *e)
{
    uint64_t all = vm->mem->size / GUEST_PAGE_SIZE;

    if (first % PAGE_ALIGN || first > all || n > all - first ||
        (n % PAGE_ALIGN && first + n != all))
        return err_set(e, -EINVAL, STAGE, "dirty log: pages %" PRIu64 "+%" PRIu64 " of %" PRIu64,
                       first, n, all);
    if (vm->caps.dirty_ring) {
        kvm_ring_clear(vm, first, n, bits);
        return 0;
    }
    for (uint32_t i = 0; i < vm->mem->nranges; i++) {
        uint64_t base = first_page(&vm->mem->ranges[i]);
        uint64_t end = base + page_count(&vm->mem->ranges[i]);
        uint64_t from = first > base ? first : base, to = first + n < end ? first + n : end;
        int rc;

        if (from >= to)
            continue;
        rc = clear_slot(vm, i, (from - base) / 64, BITMAP_WORDS(to - base),
                        bits + (from - first) / 64);
        if (rc < 0)
            return err_set_errno(e, rc, STAGE, "clearing the dirty log of RAM range %u", i);
    }
    return 0;
}
