/*
 * The dirty ring against a model of KVM's side of it: one that stops its vCPU in time, and one that
 * writes over what was not taken out yet.  Whatever it does, no write may be missed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "hv/kvm_priv.h"

#define ENTRIES 1024U
#define KEPT    576U /* KVM calls a ring full so many entries before it is */
#define PAGES   8192U

/* What KVM knows of the one vCPU's ring. */
static struct {
    struct kvm_dirty_gfn entries[ENTRIES];
    uint32_t written, reset; /* not masked */
    bool armed[PAGES];
    bool logging;
    uint32_t armed_anew; /* how often all pages were */
    uint32_t in_parts;   /* a reset ends after so many entries; 0: never */
    uint32_t race;       /* so many pages are written in the middle of the next reset */
} kvm;

static bool dirty[PAGES]; /* written since it was last cleared: what the bitmap must show */
static uint32_t next_page;

static void guest_writes(uint32_t page)
{
    dirty[page] = true;
    if (!kvm.logging || !kvm.armed[page])
        return;
    kvm.armed[page] = false;
    kvm.entries[kvm.written++ % ENTRIES] =
        (struct kvm_dirty_gfn){.flags = KVM_DIRTY_GFN_F_DIRTY, .offset = page};
}

static void guest_writes_many(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        guest_writes(next_page++ % PAGES);
}

static bool is_full(void)
{
    return kvm.written - kvm.reset >= ENTRIES - KEPT;
}

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    fail_msg("%lx", request);
    return -1;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
    int n = 0;

    assert_int_equal(request, KVM_RESET_DIRTY_RINGS);
    while (!kvm.in_parts || n < (int)kvm.in_parts) {
        struct kvm_dirty_gfn *g = &kvm.entries[kvm.reset % ENTRIES];

        if (!(g->flags & KVM_DIRTY_GFN_F_RESET))
            break;
        if (g->offset < PAGES)
            kvm.armed[g->offset] = true;
        g->flags = 0;
        kvm.reset++;
        n++;
        if (kvm.race) {
            uint32_t many = kvm.race;

            kvm.race = 0;
            guest_writes_many(many);
        }
    }
    return n;
}

int kvm_slots_set(struct hv_vm *vm, uint32_t flags, struct err *e)
{
    bool on = flags & KVM_MEM_LOG_DIRTY_PAGES;

    if (on && !kvm.logging) {
        memset(kvm.armed, 1, sizeof(kvm.armed));
        kvm.armed_anew++;
    }
    kvm.logging = on;
    return 0;
}

/* ---- the machine ---- */

static struct guest_mem mem = {
    .size = (uint64_t)PAGES * GUEST_PAGE_SIZE,
    .nranges = 1,
    .ranges = {{.gpa = 0, .size = (uint64_t)PAGES * GUEST_PAGE_SIZE, .offset = 0}},
};
static uint64_t gathered[ENTRIES], bitmap[BITMAP_WORDS(PAGES)];
static struct hv_vcpu vcpu, *vcpus[] = {&vcpu};
static struct hv_vm vm;

static int begin(void **state)
{
    memset(&kvm, 0, sizeof(kvm));
    memset(dirty, 0, sizeof(dirty));
    next_page = 0;
    vm = (struct hv_vm){.mem = &mem,
                        .nvcpus = 1,
                        .vcpus = vcpus,
                        .caps = {.dirty_ring = ENTRIES},
                        .ring_lock = PTHREAD_MUTEX_INITIALIZER};
    vcpu = (struct hv_vcpu){
        .vm = &vm, .ring = {.entries = kvm.entries, .gathered = gathered}
    };
    assert_int_equal(kvm_ring_start(&vm, NULL), 0);
    kvm.armed_anew = 0;
    return 0;
}

static int end(void **state)
{
    kvm_ring_stop(&vm);
    return 0;
}

/* What is written while the bitmap is being made may be in the next one. */
static void nothing_is_missed(void)
{
    static bool before[PAGES];

    memcpy(before, dirty, sizeof(before));
    memset(bitmap, 0, sizeof(bitmap));
    assert_int_equal(kvm_ring_get(&vm, bitmap, NULL), 0);
    for (uint32_t i = 0; i < PAGES; i++)
        if (before[i] && !bitmap_test(bitmap, i))
            fail_msg("page %u was written, and the bitmap does not show it", i);
}

static void all_is_sent(void)
{
    nothing_is_missed();
    kvm_ring_clear(&vm, 0, PAGES, bitmap);
    for (uint32_t i = 0; i < PAGES; i++)
        dirty[i] = dirty[i] && !bitmap_test(bitmap, i);
}

/* As the vCPU's thread does; how often until there is room again. */
static void makes_room(void)
{
    uint32_t times = 0;

    while (is_full()) {
        assert_int_equal(kvm_ring_full(&vcpu), 0);
        assert_true(++times < 100);
    }
    assert_true(kvm.written - kvm.reset < ENTRIES);
}

/* ---- the tests ---- */

static void a_ring_in_time(void **state)
{
    for (int i = 0; i < 50; i++) {
        guest_writes_many(300);
        all_is_sent();
        assert_true(bitmap_count(bitmap, PAGES) == 300);
    }
    assert_int_equal(kvm.armed_anew, 0);
    assert_int_equal(vcpu.ring.overruns, 0);
}

static void a_reset_in_parts(void **state)
{
    kvm.in_parts = 7;
    a_ring_in_time(state);
}

/* By little, by a lot, by a whole ring and more: the vCPU goes on, and so does the log. */
static void an_overrun_costs_time_alone(void **state)
{
    static const uint32_t over[] = {0, 1, 100, 500, 1023, 1024, 1025, 2048, 3000};

    for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
        guest_writes_many(ENTRIES + over[i]);
        makes_room();
        assert_true(kvm.armed_anew > i);
        guest_writes_many(10);
        all_is_sent();
        for (int k = 0; k < 5; k++) { /* in step again: what it says is exact */
            guest_writes_many(400);
            makes_room();
            all_is_sent();
        }
        assert_int_equal(bitmap_count(bitmap, PAGES), 400);
    }
    assert_true(vcpu.ring.overruns >= sizeof(over) / sizeof(over[0]));
}

/* It is the engine's thread that finds it so, and the guest goes on meanwhile. */
static void an_overrun_while_it_is_taken(void **state)
{
    for (uint32_t many = 500; many < 3000; many += 333) {
        guest_writes_many(400);
        kvm.race = many;
        all_is_sent();
        guest_writes_many(200);
        all_is_sent();
        makes_room();
        guest_writes_many(200);
        all_is_sent();
    }
    assert_true(vcpu.ring.overruns > 0);
}

static void whatever_happens(void **state)
{
    srand(1);
    for (int i = 0; i < 3000; i++) {
        uint32_t many = (uint32_t)rand() % (rand() % 8 ? 300 : 2500);

        next_page = (uint32_t)rand();
        if (rand() % 10 == 0)
            kvm.race = (uint32_t)rand() % 2500;
        guest_writes_many(many);
        if (rand() % 2)
            makes_room();
        if (rand() % 3)
            all_is_sent();
    }
    nothing_is_missed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ring_in_time, begin, end),
        cmocka_unit_test_setup_teardown(a_reset_in_parts, begin, end),
        cmocka_unit_test_setup_teardown(an_overrun_costs_time_alone, begin, end),
        cmocka_unit_test_setup_teardown(an_overrun_while_it_is_taken, begin, end),
        cmocka_unit_test_setup_teardown(whatever_happens, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
