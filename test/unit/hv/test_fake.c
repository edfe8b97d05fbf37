/* The fake keeps the contract of hv.h where devices rely on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "hv/fake.h"

#define SIZE  (4ULL << 20)
#define PAGES (SIZE / GUEST_PAGE_SIZE)

struct rig {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct hv_vcpu *vcpu;
};

static int set_up(void **state)
{
    static struct rig r;
    const struct guest_mem_config mc = {.size = SIZE, .low_max = 2ULL << 20};
    struct hv_vm_config c = {.vcpus = 1};
    struct x86_cpuid cpuid;

    if (guest_mem_new(&mc, &r.mem, NULL) < 0)
        return -1;
    c.mem = r.mem;
    *state = &r;
    return hv_vm_new(&c, &r.vm, NULL) || hv_vm_supported_cpuid(r.vm, &cpuid, NULL) ||
           hv_vcpu_new(r.vm, 0, &cpuid, &r.vcpu, NULL);
}

static int tear_down(void **state)
{
    struct rig *r = *state;

    hv_vm_free(r->vm);
    guest_mem_free(r->mem);
    return 0;
}

static void msis_are_counted_with_their_route(void **state)
{
    struct rig *r = *state;
    struct fake_msi seen;
    struct hv_msi *m;

    assert_int_equal(hv_msi_new(r->vm, &m, NULL), 0);
    assert_false(fake_msi_route(m, &seen));
    hv_msi_raise(m);
    assert_int_equal(fake_msi_lost(r->vm), 1);
    assert_int_equal(fake_msi_count(r->vm), 0);
    assert_int_equal(hv_msi_route(m, 0xfee00000, 0x41, NULL), 0);
    hv_msi_raise(m);
    assert_int_equal(hv_msi_route(m, 0xfee01000, 0x42, NULL), 0);
    hv_msi_raise(m);
    assert_int_equal(fake_msi_count(r->vm), 2);
    assert_int_equal(fake_msi_raised(m), 3);
    assert_true(fake_msi_get(r->vm, 0, &seen) && seen.data == 0x41);
    assert_true(fake_msi_get(r->vm, 1, &seen) && seen.address == 0xfee01000);
    assert_false(fake_msi_get(r->vm, 2, &seen));
    fake_msi_clear(r->vm);
    assert_int_equal(fake_msi_count(r->vm), 0);
    hv_msi_free(m);
}

static void lines_have_levels_and_edges(void **state)
{
    struct rig *r = *state;

    assert_int_equal(hv_irq_set_level(r->vm, 4, true), 0);
    assert_int_equal(hv_irq_set_level(r->vm, 4, true), 0);
    assert_true(fake_irq_level(r->vm, 4));
    assert_int_equal(fake_irq_edges(r->vm, 4), 1);
    assert_int_equal(hv_irq_set_level(r->vm, 4, false), 0);
    assert_false(fake_irq_level(r->vm, 4));
    assert_int_equal(hv_irq_set_level(r->vm, 99, true), -EINVAL);
}

static void doorbells_ring(void **state)
{
    struct rig *r = *state;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t n = 0;

    assert_int_equal(hv_ioeventfd_add(r->vm, false, 0xfe000000, 2, true, 3, fd, NULL), 0);
    assert_int_equal(hv_ioeventfd_add(r->vm, false, 0xfe000000, 2, true, 3, fd, NULL), -EEXIST);
    assert_int_equal(fake_doorbell_count(r->vm), 1);
    assert_false(fake_doorbell(r->vm, false, 0xfe000000, 2, 4));
    assert_false(fake_doorbell(r->vm, true, 0xfe000000, 2, 3));
    assert_false(fake_doorbell(r->vm, false, 0xfe000000, 4, 3));
    assert_true(fake_doorbell(r->vm, false, 0xfe000000, 2, 3));
    assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
    assert_int_equal(n, 1);
    hv_ioeventfd_del(r->vm, false, 0xfe000000, 2, true, 3, fd);
    assert_false(fake_doorbell(r->vm, false, 0xfe000000, 2, 3));
    close(fd);
}

static void guest_writes_are_logged_while_the_log_is_on(void **state)
{
    struct rig *r = *state;
    uint64_t bits[BITMAP_WORDS(PAGES)] = {0};
    const char text[] = "guest";

    assert_int_equal(fake_guest_write(r->vm, 0x1000, text, sizeof(text)), 0);
    assert_int_equal(hv_dirty_get(r->vm, bits, NULL), -EINVAL);
    assert_int_equal(hv_dirty_start(r->vm, NULL), 0);
    assert_true(fake_dirty_on(r->vm));
    assert_int_equal(fake_guest_write(r->vm, 0x100000ffc, text, sizeof(text)), 0);
    assert_int_equal(fake_guest_write(r->vm, 0x200000, text, sizeof(text)), -EFAULT);
    assert_int_equal(hv_dirty_get(r->vm, bits, NULL), 0);
    assert_int_equal(bitmap_count(bits, PAGES), 2);
    assert_true(fake_dirty_test(r->vm, 512) && fake_dirty_test(r->vm, 513));
    assert_int_equal(hv_dirty_clear(r->vm, 512, 64, bits + 512 / 64, NULL), 0);
    assert_false(fake_dirty_test(r->vm, 512));
    assert_int_equal(hv_dirty_clear(r->vm, 3, 64, bits, NULL), -EINVAL);
    hv_dirty_stop(r->vm);
    assert_false(fake_dirty_on(r->vm));
}

static void *kick(void *vcpu)
{
    hv_vcpu_kick(vcpu);
    return NULL;
}

static void a_vcpu_gives_what_was_queued_and_takes_kicks(void **state)
{
    struct rig *r = *state;
    uint8_t byte = 7;
    struct hv_exit x = {
        .kind = HV_EXIT_IO,
        .write = true,
        .io = {.port = 0x3f8, .size = 1, .count = 1, .data = &byte}
    };
    struct hv_exit got;
    pthread_t t;

    assert_int_equal(fake_vcpu_exit(r->vcpu, &x), 0);
    assert_int_equal(fake_vcpu_exit(r->vcpu, &x), -EBUSY);
    assert_int_equal(hv_vcpu_run(r->vcpu, &got, NULL), 0);
    assert_int_equal(got.io.port, 0x3f8);
    assert_int_equal(pthread_create(&t, NULL, kick, r->vcpu), 0);
    assert_int_equal(hv_vcpu_run(r->vcpu, &got, NULL), 0); /* waits for it */
    assert_int_equal(got.kind, HV_EXIT_INTR);
    pthread_join(t, NULL);
}

static void state_goes_round(void **state)
{
    static struct x86_vcpu_state s;
    struct rig *r = *state;
    struct x86_sregs sregs;
    struct x86_regs regs;

    assert_int_equal(hv_vcpu_get_state(r->vcpu, &s, NULL), 0);
    assert_int_equal(s.regs.rip, 0xfff0);
    s.regs.rip = 0x1234;
    assert_int_equal(hv_vcpu_set_state(r->vcpu, &s, NULL), 0);
    assert_int_equal(hv_vcpu_get_regs(r->vcpu, &regs, &sregs, NULL), 0);
    assert_int_equal(regs.rip, 0x1234);
    assert_int_equal(hv_vcpu_reset(r->vcpu, NULL), 0);
    assert_int_equal(hv_vcpu_get_regs(r->vcpu, &regs, &sregs, NULL), 0);
    assert_int_equal(regs.rip, 0xfff0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(msis_are_counted_with_their_route),
        TEST(lines_have_levels_and_edges),
        TEST(doorbells_ring),
        TEST(guest_writes_are_logged_while_the_log_is_on),
        TEST(a_vcpu_gives_what_was_queued_and_takes_kicks),
        TEST(state_goes_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
