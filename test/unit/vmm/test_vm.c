/* Machines on the real /dev/kvm: pausing, slowing down, and the dress rehearsal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"
#include "vmm/vmstate.h"

#define CODE    0x1000U
#define COUNTER 0x2000U
#define RAM     (128ULL << 20)

static const struct board_backends no_backends = {.kernel_fd = -1, .initrd_fd = -1};

struct rig {
    struct loop *loop;
    struct vm *vm;
    struct err e;
    bool crashed;
};

static void ok(struct rig *r, int rc)
{
    if (rc != 0)
        fail_msg("%d: %s: %s", rc, r->e.stage, r->e.text);
}

static void request(void *opaque, enum vm_request what)
{
    ((struct rig *)opaque)->crashed = true;
}

static void rig_init(struct rig *r, uint32_t vcpus, uint32_t dirty_ring, const struct vm_cpu *cpu)
{
    struct machine_config c;
    struct vm_params p = {
        .config = &c,
        .dirty_ring = dirty_ring,
        .host = {.opaque = r, .request = request},
        .backends = &no_backends,
        .arriving = cpu != NULL,
        .cpu = cpu
    };

    memset(r, 0, sizeof(*r));
    machine_config_init(&c);
    c.ram_size = RAM;
    c.vcpus = vcpus;
    ok(r, machine_config_check(&c, &r->e));
    r->loop = p.loop = loop_new();
    assert_non_null(r->loop);
    ok(r, vm_new(&p, &r->vm, &r->e));
}

static void rig_fini(struct rig *r)
{
    assert_false(r->crashed);
    vm_free(r->vm);
    loop_free(r->loop);
}

/* Points the first vCPU at a loop that counts; the others wait to be started. */
static void begin(struct rig *r)
{
    /* inc dword [0x2000]; jmp to it */
    static const uint8_t code[] = {0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9};
    struct hv_vcpu *v = r->vm->vcpus[0]->hv;
    struct x86_sregs sregs;
    struct x86_regs regs;

    assert_int_equal(guest_mem_write(r->vm->mem, CODE, code, sizeof(code)), 0);
    ok(r, hv_vcpu_get_regs(v, &regs, &sregs, &r->e));
    regs = (struct x86_regs){.rip = CODE, .rsp = 0x8000, .rflags = 2};
    sregs.cs.base = sregs.cs.selector = 0;
    ok(r, hv_vcpu_set_regs(v, &regs, &sregs, &r->e));
    ok(r, vm_resume(r->vm, &r->e));
}

static uint32_t counter(const struct rig *r)
{
    return __atomic_load_n((uint32_t *)guest_mem_ptr(r->vm->mem, COUNTER, 4), __ATOMIC_RELAXED);
}

/* The guest goes on; how fast depends on who else is running, whether does not. */
static void goes_on(struct rig *r)
{
    uint32_t before = counter(r);
    uint64_t give_up = clock_now_ns() + 30 * NS_PER_S;

    while (counter(r) == before) {
        if (clock_now_ns() > give_up)
            fail_msg("the guest stands still");
        clock_sleep_ns(NS_PER_MS);
    }
}

static void stands_still(struct rig *r)
{
    uint32_t before = counter(r);

    clock_sleep_ns(20 * NS_PER_MS);
    assert_int_equal(counter(r), before);
}

static void stops_and_goes_on(void **state)
{
    uint64_t asked;
    struct rig r;

    rig_init(&r, 2, 0, NULL);
    begin(&r);
    for (int i = 0; i < 20; i++) {
        goes_on(&r);
        asked = clock_now_ns();
        vm_pause(r.vm);
        assert_true(vm_paused_since(r.vm) >= asked && vm_paused_since(r.vm) <= clock_now_ns());
        asked = clock_now_ns();
        ok(&r, vm_resume(r.vm, &r.e));
        assert_true(vm_running_since(r.vm) >= asked && vm_running_since(r.vm) <= clock_now_ns());
    }
    vm_pause(r.vm);
    stands_still(&r);
    rig_fini(&r);
}

/* ---- throttle ---- */

static uint64_t cpu_ns(const struct rig *r, uint32_t vcpu)
{
    struct timespec t;
    clockid_t id;

    assert_int_equal(pthread_getcpuclockid(r->vm->vcpus[vcpu]->thread, &id), 0);
    assert_int_equal(clock_gettime(id, &t), 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Percent of half a second that the first vCPU had. */
static uint32_t share(struct rig *r)
{
    uint64_t wall = clock_now_ns(), cpu = cpu_ns(r, 0);

    clock_sleep_ns(500 * NS_PER_MS);
    return (uint32_t)((cpu_ns(r, 0) - cpu) * 100 / (clock_now_ns() - wall));
}

static void time_is_withheld(void **state)
{
    static const uint32_t percents[] = {20, 50, 80, 95, 0};
    struct rig r;

    rig_init(&r, 2, 0, NULL);
    begin(&r);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        uint32_t p = percents[i], had;

        vm_throttle(r.vm, VM_THROTTLE_ENGINE, 0, p);
        assert_int_equal(vm_throttled(r.vm, 0), p);
        assert_int_equal(vm_throttled(r.vm, 1), 0);
        had = share(&r);
        print_message("%u %% withheld: it had %u %%\n", p, had);
        assert_true(had <= 100 - p + 8); /* a busy host gives less, never more */
        goes_on(&r);
    }
    rig_fini(&r);
}

static void the_larger_say_counts(void **state)
{
    struct rig r;

    rig_init(&r, 2, 0, NULL);
    vm_throttle(r.vm, VM_THROTTLE_ENGINE, VM_ALL_VCPUS, 30);
    vm_throttle(r.vm, VM_THROTTLE_LIMIT, 1, 60);
    assert_int_equal(vm_throttled(r.vm, 0), 30);
    assert_int_equal(vm_throttled(r.vm, 1), 60);
    vm_throttle(r.vm, VM_THROTTLE_ENGINE, VM_ALL_VCPUS, 0);
    assert_int_equal(vm_throttled(r.vm, 0), 0);
    assert_int_equal(vm_throttled(r.vm, 1), 60);
    rig_fini(&r);
}

/* At 99 % a vCPU rests for a tenth of a second at a time: were a pause to wait for that, twenty of
 * them would take a second. */
static void a_pause_waits_for_no_rest(void **state)
{
    uint64_t spent = 0;
    struct rig r;

    rig_init(&r, 1, 0, NULL);
    begin(&r);
    vm_throttle(r.vm, VM_THROTTLE_ENGINE, VM_ALL_VCPUS, 99);
    for (int i = 0; i < 20; i++) {
        uint64_t asked;

        clock_sleep_ns(7 * NS_PER_MS);
        asked = clock_now_ns();
        vm_pause(r.vm);
        spent += clock_now_ns() - asked;
        ok(&r, vm_resume(r.vm, &r.e));
    }
    print_message("20 pauses: %llu us\n", (unsigned long long)(spent / NS_PER_US));
    assert_true(spent < 500 * NS_PER_MS);
    rig_fini(&r);
}

/* ---- the rehearsal ---- */

static void rehearsed_and_moved(uint32_t vcpus, uint32_t dirty_ring)
{
    const struct vmstate_note ran = {.running = 1};
    uint64_t stop_ns, save_ns, load_ns = 0;
    struct buf bytes, real;
    struct vmstate_note note;
    struct rig a, b;

    rig_init(&a, vcpus, dirty_ring, NULL);
    begin(&a);
    rig_init(&b, vcpus, 0, &a.vm->cpu);
    for (int i = 0; i < 3; i++) {
        goes_on(&a);
        buf_init(&bytes, 64 << 20);
        ok(&a, vmstate_rehearse(a.vm, &bytes, &stop_ns, &save_ns, &a.e));
        assert_true(save_ns > 0);
        ok(&b, vmstate_rehearse_load(b.vm, bytes.data, bytes.len, &load_ns, &b.e));
        assert_true(load_ns > 0);
        if (i < 2)
            buf_fini(&bytes);
    }
    goes_on(&a);
    vm_pause(a.vm);
    assert_true(vm_idle(a.vm));
    buf_init(&real, 64 << 20);
    ok(&a, vmstate_save(a.vm, &ran, &real, &a.e));
    assert_int_equal(real.len, bytes.len);
    memcpy(b.vm->mem->host, a.vm->mem->host, RAM);
    ok(&b, vmstate_load(b.vm, real.data, real.len, &note, &b.e));
    assert_int_equal(note.running, 1);
    ok(&b, vm_resume(b.vm, &b.e));
    goes_on(&b);
    stands_still(&a);
    print_message("%u vCPUs: stop %llu, save %llu, load %llu us\n", vcpus,
                  (unsigned long long)(stop_ns / NS_PER_US),
                  (unsigned long long)(save_ns / NS_PER_US),
                  (unsigned long long)(load_ns / NS_PER_US));
    buf_fini(&bytes);
    buf_fini(&real);
    rig_fini(&b);
    rig_fini(&a);
}

static void a_small_machine_is_rehearsed(void **state)
{
    rehearsed_and_moved(1, 0);
}

static void a_large_machine_is_rehearsed(void **state)
{
    rehearsed_and_moved(8, 0);
}

static void a_paused_machine_is_rehearsed(void **state)
{
    uint64_t stop_ns, save_ns;
    struct buf bytes;
    struct rig r;

    rig_init(&r, 2, 0, NULL);
    buf_init(&bytes, 64 << 20);
    ok(&r, vmstate_rehearse(r.vm, &bytes, &stop_ns, &save_ns, &r.e));
    buf_fini(&bytes);
    rig_fini(&r);
}

/* More vCPUs than the machine has, and a state that is cut short. */
static void a_bad_state_is_told(void **state)
{
    struct vmstate_note note;
    struct buf bytes;
    struct rig a, b;

    rig_init(&a, 4, 0, NULL);
    rig_init(&b, 2, 0, &a.vm->cpu);
    buf_init(&bytes, 64 << 20);
    ok(&a, vmstate_save(a.vm, &(struct vmstate_note){0}, &bytes, &a.e));
    assert_int_equal(vmstate_load(b.vm, bytes.data, bytes.len, &note, &b.e), -EPROTO);
    assert_non_null(strstr(b.e.text, "vCPU"));
    assert_int_equal(vmstate_load(a.vm, bytes.data, bytes.len / 2, &note, &a.e), -EPROTO);
    buf_fini(&bytes);
    rig_fini(&b);
    rig_fini(&a);
}

/* ---- what each vCPU dirties ---- */

static void rates_are_of_each_vcpu(void **state)
{
    uint64_t rates[2], pages[2] = {0};
    struct vm_dirty_since since = {.pages = pages};
    struct rig r;
    uint32_t max;

    rig_init(&r, 1, 0, NULL);
    max = hv_vm_caps(r.vm->hv)->dirty_ring_max;
    assert_int_equal(vm_dirty_rates(r.vm, &since, rates, 1, NULL), -ENOTSUP);
    rig_fini(&r);
    if (max < HV_DIRTY_RING_MIN)
        skip();
    rig_init(&r, 2, HV_DIRTY_RING_MIN, NULL);
    ok(&r, hv_dirty_start(r.vm->hv, &r.e));
    ok(&r, vm_dirty_rates(r.vm, &since, rates, 2, &r.e));
    assert_true(rates[0] == 0 && rates[1] == 0);
    begin(&r);
    goes_on(&r);
    ok(&r, vm_dirty_rates(r.vm, &since, rates, 2, &r.e));
    assert_true(rates[0] > 0);
    assert_true(rates[1] == 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_and_goes_on),
        cmocka_unit_test(time_is_withheld),
        cmocka_unit_test(the_larger_say_counts),
        cmocka_unit_test(a_pause_waits_for_no_rest),
        cmocka_unit_test(a_small_machine_is_rehearsed),
        cmocka_unit_test(a_large_machine_is_rehearsed),
        cmocka_unit_test(a_paused_machine_is_rehearsed),
        cmocka_unit_test(a_bad_state_is_told),
        cmocka_unit_test(rates_are_of_each_vcpu),
    };
    const struct guest_mem_config mc = {.size = RAM, .low_max = 1ULL << 31};
    struct hv_vm_config c = {.vcpus = 1};
    struct err e = ERR_INIT;
    struct hv_vm *vm;

    if (guest_mem_new(&mc, &c.mem, &e) < 0 || hv_vm_new(&c, &vm, &e) < 0) {
        printf("skipped: %s\n", e.text);
        return 77;
    }
    hv_vm_free(vm);
    guest_mem_free(c.mem);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
