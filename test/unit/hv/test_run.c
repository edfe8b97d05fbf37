/* vCPUs that run: exits, kicks, doorbells, the dirty log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "rig.h"

static void expect_end(struct rig *r)
{
    struct hv_exit x;

    rig_run(r, &x);
    assert_int_equal(x.kind, HV_EXIT_IO);
    assert_int_equal(x.io.port, PORT_END);
}

static void port_io_goes_out_and_in(void **state)
{
    /* mov dx,0x3f8; mov al,'A'; out dx,al; in al,dx; mov [0x2000],al; out 0x80,al */
    static const uint8_t code[] = {0xba, 0xf8, 0x03, 0xb0, 'A',  0xee,
                                   0xec, 0xa2, 0x00, 0x20, 0xe6, 0x80};
    struct hv_exit x;
    uint8_t stored;
    struct rig r;

    rig_init(&r, 1);
    rig_load(&r, code, sizeof(code), 0);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_IO);
    assert_true(x.write);
    assert_int_equal(x.io.port, 0x3f8);
    assert_int_equal(x.io.size, 1);
    assert_int_equal(x.io.count, 1);
    assert_int_equal(*(uint8_t *)x.io.data, 'A');
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_IO);
    assert_false(x.write);
    *(uint8_t *)x.io.data = 0x5a;
    expect_end(&r);
    assert_int_equal(guest_mem_read(r.mem, 0x2000, &stored, 1), 0);
    assert_int_equal(stored, 0x5a);
    rig_fini(&r);
}

static void mmio_goes_out_and_in(void **state)
{
    /* mov byte [0x10],0x77; mov al,[0x14]; out 0x80,al -- with ds at 3.25 GiB */
    static const uint8_t code[] = {0xc6, 0x06, 0x10, 0x00, 0x77, 0xa0, 0x14, 0x00, 0xe6, 0x80};
    struct hv_exit x;
    struct rig r;

    rig_init(&r, 1);
    rig_load(&r, code, sizeof(code), 0xd0000000);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_MMIO);
    assert_true(x.write);
    assert_int_equal(x.mmio.gpa, 0xd0000010);
    assert_int_equal(x.mmio.len, 1);
    assert_int_equal(*(uint8_t *)x.mmio.data, 0x77);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_MMIO);
    assert_false(x.write);
    assert_int_equal(x.mmio.gpa, 0xd0000014);
    *(uint8_t *)x.mmio.data = 0x99;
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_IO);
    assert_int_equal(*(uint8_t *)x.io.data, 0x99);
    rig_fini(&r);
}

/* After a pending read is completed without running on, the value is in the register. */
static void pending_io_is_completed_without_running(void **state)
{
    /* in al,0x42+dx..: mov dx,0x3f8; in al,dx; mov bl,1 */
    static const uint8_t code[] = {0xba, 0xf8, 0x03, 0xec, 0xb3, 0x01, 0xe6, 0x80};
    struct x86_sregs sregs;
    struct x86_regs regs;
    struct hv_exit x;
    struct rig r;

    rig_init(&r, 1);
    rig_load(&r, code, sizeof(code), 0);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_IO);
    *(uint8_t *)x.io.data = 0x6b;
    rig_ok(&r, hv_vcpu_complete_io(r.vcpu[0], &r.e));
    rig_ok(&r, hv_vcpu_get_regs(r.vcpu[0], &regs, &sregs, &r.e));
    assert_int_equal(regs.rax & 0xff, 0x6b);
    assert_int_equal(regs.rip, RIG_CODE + 4);
    assert_int_equal(regs.rbx, 0);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_INTR);
    expect_end(&r);
    rig_fini(&r);
}

struct spinner {
    struct rig r;
    uint32_t pauses; /* atomic */
    uint32_t stop;   /* atomic */
    int rc;
};

static void *spin(void *arg)
{
    struct spinner *s = arg;
    struct hv_exit x;

    s->rc = hv_vcpu_thread_init(s->r.vcpu[0], &s->r.e);
    while (s->rc == 0 && !__atomic_load_n(&s->stop, __ATOMIC_SEQ_CST)) {
        s->rc = hv_vcpu_run(s->r.vcpu[0], &x, &s->r.e);
        if (s->rc == 0 && x.kind != HV_EXIT_INTR)
            s->rc = -EIO;
        __atomic_fetch_add(&s->pauses, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static uint64_t kick_and_wait(struct spinner *s)
{
    uint32_t before = __atomic_load_n(&s->pauses, __ATOMIC_SEQ_CST);
    uint64_t start = clock_now_ns();

    hv_vcpu_kick(s->r.vcpu[0]);
    while (__atomic_load_n(&s->pauses, __ATOMIC_SEQ_CST) == before) {
        if (clock_now_ns() - start > 30 * NS_PER_S)
            fail_msg("a kick was lost");
        clock_sleep_ns(10 * NS_PER_US);
    }
    return clock_now_ns() - start;
}

/* The guest spins without an exit, so that nothing but the kick gets the vCPU out.  How fast
 * depends on who else is running; whether does not. */
static void no_kick_is_lost(void **state)
{
    static const uint8_t code[] = {0xeb, 0xfe}; /* jmp $ */
    static struct spinner s;
    uint64_t worst = 0;
    pthread_t t;

    rig_init(&s.r, 1);
    rig_load(&s.r, code, sizeof(code), 0);
    assert_int_equal(pthread_create(&t, NULL, spin, &s), 0);
    for (int i = 0; i < 500; i++) {
        uint64_t ns = kick_and_wait(&s);

        worst = ns > worst ? ns : worst;
    }
    __atomic_store_n(&s.stop, 1, __ATOMIC_SEQ_CST);
    hv_vcpu_kick(s.r.vcpu[0]);
    pthread_join(t, NULL);
    rig_ok(&s.r, s.rc);
    print_message("500 kicks, the slowest %llu us\n", (unsigned long long)(worst / NS_PER_US));
    rig_fini(&s.r);
}

static void a_kick_before_the_run_counts(void **state)
{
    static const uint8_t code[] = {0xeb, 0xfe};
    struct hv_exit x;
    struct rig r;

    rig_init(&r, 1);
    rig_load(&r, code, sizeof(code), 0);
    hv_vcpu_kick(r.vcpu[0]);
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_INTR);
    rig_fini(&r);
}

static uint64_t drain(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void a_doorbell_rings_without_an_exit(void **state)
{
    /* mov dx,0x5658; mov ax,7; out dx,ax; mov ax,8; out dx,ax */
    static const uint8_t code[] = {0xba, 0x58, 0x56, 0xb8, 0x07, 0x00, 0xef,
                                   0xb8, 0x08, 0x00, 0xef, 0xe6, 0x80};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct hv_exit x;
    struct rig r;

    rig_init(&r, 1);
    rig_ok(&r, hv_ioeventfd_add(r.vm, true, 0x5658, 2, true, 7, fd, &r.e));
    assert_int_equal(hv_ioeventfd_add(r.vm, true, 0x5658, 2, true, 7, fd, NULL), -EEXIST);
    rig_load(&r, code, sizeof(code), 0);
    rig_run(&r, &x); /* 7 rang; 8 does not match and comes out */
    assert_int_equal(x.kind, HV_EXIT_IO);
    assert_int_equal(x.io.port, 0x5658);
    assert_int_equal(drain(fd), 1);
    expect_end(&r);
    hv_ioeventfd_del(r.vm, true, 0x5658, 2, true, 7, fd);
    rig_load(&r, code, sizeof(code), 0);
    rig_run(&r, &x);
    assert_int_equal(x.io.port, 0x5658);
    assert_int_equal(drain(fd), 0);
    rig_fini(&r);
    close(fd);
}

/* Pending when the vCPU was saved, so it happens where it is loaded. */
static void triple_fault_is_shutdown(void **state)
{
    static struct x86_vcpu_state s;
    struct hv_exit x;
    struct rig r;

    rig_init(&r, 1);
    if (!hv_vm_caps(r.vm)->triple_fault_event) {
        rig_fini(&r);
        skip();
    }
    rig_ok(&r, hv_vcpu_get_state(r.vcpu[0], &s, &r.e));
    s.events.triple_fault_pending = 1;
    rig_ok(&r, hv_vcpu_set_state(r.vcpu[0], &s, &r.e));
    rig_run(&r, &x);
    assert_int_equal(x.kind, HV_EXIT_SHUTDOWN);
    rig_fini(&r);
}

/* ---- the dirty log ---- */

/* By bitmap and by ring alike. */
static void seen_until_cleared(uint32_t ring)
{
    /* mov byte [0x3000],0x55; out 0x80,al; jmp to the start */
    static const uint8_t code[] = {0xc6, 0x06, 0x00, 0x30, 0x55, 0xe6, 0x80, 0xeb, 0xf7};
    uint64_t bits[BITMAP_WORDS(RIG_PAGES)], all[BITMAP_WORDS(RIG_PAGES)];
    struct rig r;

    rig_init_ring(&r, 1, ring);
    rig_load(&r, code, sizeof(code), 0);
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    memset(all, 0xff, sizeof(all));
    rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, all, &r.e)); /* across both ranges */
    memset(bits, 0, sizeof(bits));
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e));
    assert_int_equal(bitmap_count(bits, RIG_PAGES), 0);

    expect_end(&r);
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e));
    assert_true(bitmap_test(bits, 3));
    memset(bits, 0, sizeof(bits));
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e)); /* getting does not clear */
    assert_true(bitmap_test(bits, 3));

    rig_ok(&r, hv_dirty_clear(r.vm, 0, 64, bits, &r.e));
    memset(bits, 0, sizeof(bits));
    bitmap_set(bits, 4000); /* or'ed, not overwritten */
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e));
    assert_false(bitmap_test(bits, 3));
    assert_true(bitmap_test(bits, 4000));
    expect_end(&r);
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e)); /* clearing re-armed the page */
    assert_true(bitmap_test(bits, 3));
    hv_dirty_stop(r.vm);
    rig_fini(&r);
}

static uint32_t ring_max(void)
{
    uint32_t max;
    struct rig r;

    rig_init(&r, 1);
    max = hv_vm_caps(r.vm)->dirty_ring_max;
    rig_fini(&r);
    return max;
}

static void dirty_pages_are_seen_until_cleared(void **state)
{
    seen_until_cleared(0);
}

static void the_ring_sees_dirty_pages_until_cleared(void **state)
{
    if (ring_max() < HV_DIRTY_RING_MIN)
        skip();
    seen_until_cleared(HV_DIRTY_RING_MIN);
}

#define SWEEP_FIRST 256U /* page: 1 MiB */
#define SWEEP_STEP  100U
#define SWEEP_PAGES (17 * SWEEP_STEP)

/* Writes to SWEEP_PAGES pages, in real mode with a data segment of 4 GiB; in steps, because a KVM
 * that emulates real mode looks at its rings only between exits. */
static void sweep(struct rig *r)
{
    /* mov edi,0x100000; 2: mov cx,100; 1: mov byte [edi],0x55; add edi,0x1000; dec cx; jnz 1b;
     * out 0x80,al; jmp 2b */
    static const uint8_t code[] = {0x66, 0xbf, 0x00, 0x00, 0x10, 0x00, 0xb9, 0x64, 0x00,
                                   0x67, 0xc6, 0x07, 0x55, 0x66, 0x81, 0xc7, 0x00, 0x10,
                                   0x00, 0x00, 0x49, 0x75, 0xf2, 0xe6, 0x80, 0xeb, 0xeb};
    struct x86_sregs sregs;
    struct x86_regs regs;

    rig_load(r, code, sizeof(code), 0);
    rig_ok(r, hv_vcpu_get_regs(r->vcpu[0], &regs, &sregs, &r->e));
    sregs.ds.limit = 0xffffffff;
    sregs.ds.g = 1;
    rig_ok(r, hv_vcpu_set_regs(r->vcpu[0], &regs, &sregs, &r->e));
    for (uint32_t done = 0; done < SWEEP_PAGES; done += SWEEP_STEP)
        expect_end(r);
}

/* What a sweep leaves dirty in a log that was clear. */
static void swept(uint32_t ring, uint64_t *bits)
{
    uint64_t all[BITMAP_WORDS(RIG_PAGES)], count[1];
    struct rig r;

    rig_init_ring(&r, 1, ring);
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    memset(all, 0xff, sizeof(all));
    rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, all, &r.e));
    sweep(&r);
    memset(bits, 0, sizeof(all));
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e));
    if (ring) {
        rig_ok(&r, hv_dirty_counts(r.vm, count, 1, &r.e));
        assert_int_equal(count[0], SWEEP_PAGES);
        rig_ok(&r, hv_dirty_clear(r.vm, 0, RIG_PAGES, all, &r.e));
        sweep(&r); /* every page was re-armed, those of the full ring too */
        rig_ok(&r, hv_dirty_counts(r.vm, count, 1, &r.e));
        assert_int_equal(count[0], 2 * SWEEP_PAGES);
    } else {
        assert_int_equal(hv_dirty_counts(r.vm, count, 1, &r.e), -ENOTSUP);
    }
    hv_dirty_stop(r.vm);
    rig_fini(&r);
}

/* More pages than the ring holds, so that it is emptied on the way. */
static void bitmap_and_ring_see_the_same(void **state)
{
    uint64_t by_bitmap[BITMAP_WORDS(RIG_PAGES)], by_ring[BITMAP_WORDS(RIG_PAGES)];

    if (ring_max() < HV_DIRTY_RING_MIN)
        skip();
    swept(0, by_bitmap);
    swept(HV_DIRTY_RING_MIN, by_ring);
    assert_int_equal(bitmap_count(by_bitmap, RIG_PAGES), SWEEP_PAGES);
    assert_true(bitmap_test(by_bitmap, SWEEP_FIRST));
    assert_true(bitmap_test(by_bitmap, SWEEP_FIRST + SWEEP_PAGES - 1));
    assert_memory_equal(by_bitmap, by_ring, sizeof(by_ring));
}

/* Who measures a rate must not end a migration's log, nor the other way round. */
static void the_ring_serves_two(void **state)
{
    uint64_t bits[BITMAP_WORDS(RIG_PAGES)] = {0};
    struct rig r;

    if (ring_max() < HV_DIRTY_RING_MIN)
        skip();
    rig_init_ring(&r, 1, HV_DIRTY_RING_MIN);
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    hv_dirty_stop(r.vm);
    sweep(&r);
    rig_ok(&r, hv_dirty_get(r.vm, bits, &r.e));
    assert_true(bitmap_test(bits, SWEEP_FIRST));
    hv_dirty_stop(r.vm);
    assert_int_not_equal(hv_dirty_get(r.vm, bits, &r.e), 0);
    sweep(&r); /* nobody listens: the rings must not fill */
    sweep(&r);
    rig_fini(&r);
}

static void a_ring_that_cannot_be_is_refused(void **state)
{
    uint32_t max = ring_max();
    struct hv_vm_config c = {.vcpus = 1, .dirty_ring = max ? max * 2 : HV_DIRTY_RING_MIN};
    struct hv_vm *vm;
    struct rig r;

    rig_init(&r, 1);
    c.mem = r.mem;
    assert_int_equal(hv_vm_new(&c, &vm, &r.e), max ? -EINVAL : -ENOTSUP);
    assert_non_null(strstr(r.e.text, "dirty ring"));
    rig_fini(&r);
}

static void dirty_ranges_are_checked(void **state)
{
    uint64_t bits[BITMAP_WORDS(RIG_PAGES)] = {1};
    struct rig r;

    rig_init(&r, 1);
    assert_int_not_equal(hv_dirty_get(r.vm, bits, &r.e), 0); /* not started */
    rig_ok(&r, hv_dirty_start(r.vm, &r.e));
    assert_int_equal(hv_dirty_clear(r.vm, 1, 64, bits, &r.e), -EINVAL);
    assert_int_equal(hv_dirty_clear(r.vm, 0, 65, bits, &r.e), -EINVAL);
    assert_int_equal(hv_dirty_clear(r.vm, 64, RIG_PAGES, bits, &r.e), -EINVAL);
    assert_int_equal(hv_dirty_clear(r.vm, UINT64_MAX - 63, 64, bits, &r.e), -EINVAL);
    hv_dirty_stop(r.vm);
    rig_ok(&r, hv_dirty_start(r.vm, &r.e)); /* and again */
    hv_dirty_stop(r.vm);
    rig_fini(&r);
}

static void bad_machines_are_refused(void **state)
{
    struct hv_vm_config c = {.vcpus = 255};
    struct x86_cpuid cpuid = {.n = 0};
    struct hv_vcpu *v;
    struct hv_vm *vm;
    struct rig r;

    rig_init(&r, 1);
    c.mem = r.mem;
    assert_int_equal(hv_vm_new(&c, &vm, &r.e), -EINVAL);
    assert_non_null(strstr(r.e.text, "255"));
    assert_int_equal(hv_vcpu_new(r.vm, 1, &cpuid, &v, &r.e), -EINVAL); /* one was announced */
    rig_fini(&r);
}

/* ---- without /dev/kvm ---- */

/* In a child: hv_vm_new after `spoil` must fail with code and say the words. */
static void cannot_open(bool (*spoil)(void), int code, const char *words)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        const struct guest_mem_config mc = {.size = RIG_SIZE, .low_max = RIG_LOW};
        struct hv_vm_config c = {.vcpus = 1};
        struct err e = ERR_INIT;
        struct hv_vm *vm;

        if (!spoil())
            _exit(77);
        if (guest_mem_new(&mc, &c.mem, &e) < 0)
            _exit(3);
        if (hv_vm_new(&c, &vm, &e) != code)
            _exit(1);
        _exit(strstr(e.text, words) ? 0 : 2);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool be_nobody(void)
{
    return geteuid() == 0 && setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
           setresuid(65534, 65534, 65534) == 0 && access("/dev/kvm", R_OK | W_OK) != 0;
}

static bool hide_dev(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/dev", "tmpfs", 0, NULL) == 0;
}

/* nobody has no detached tmpfs either: memory must come from a memfd then. */
static void without_permission_it_says_what_to_do(void **state)
{
    cannot_open(be_nobody, -EACCES, "usermod -aG kvm");
}

static void without_a_device_it_says_what_to_do(void **state)
{
    cannot_open(hide_dev, -ENOENT, "modprobe kvm_intel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_io_goes_out_and_in),
        cmocka_unit_test(mmio_goes_out_and_in),
        cmocka_unit_test(pending_io_is_completed_without_running),
        cmocka_unit_test(no_kick_is_lost),
        cmocka_unit_test(a_kick_before_the_run_counts),
        cmocka_unit_test(a_doorbell_rings_without_an_exit),
        cmocka_unit_test(triple_fault_is_shutdown),
        cmocka_unit_test(dirty_pages_are_seen_until_cleared),
        cmocka_unit_test(the_ring_sees_dirty_pages_until_cleared),
        cmocka_unit_test(bitmap_and_ring_see_the_same),
        cmocka_unit_test(the_ring_serves_two),
        cmocka_unit_test(a_ring_that_cannot_be_is_refused),
        cmocka_unit_test(dirty_ranges_are_checked),
        cmocka_unit_test(bad_machines_are_refused),
        cmocka_unit_test(without_permission_it_says_what_to_do),
        cmocka_unit_test(without_a_device_it_says_what_to_do),
    };

    return rig_skip() ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
