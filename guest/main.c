/*
 * The witness: a guest that proves by itself that it was not harmed, whatever the host did to it.
 *
 * Every vCPU owns a slice of the static data and of the working set and runs the same loop: look at
 * the clock, verify a page, stamp a page, compare a little of the machine's state, and idle when
 * nothing is due. The boot processor also prints and listens, a character at a time, so that
 * talking never holds up the work.
 */
#include "canary.h"
#include "console.h"
#include "report.h"
#include "smp.h"
#include "trap.h"
#include "witness.h"
#include "x86.h"

#define PAGES_PER_MIB 256
#define LISTEN_MS     10
#define SPIN_US       2
#define LEAVE_US      1000000
#define PORT_RESET    0xcf9
#define PORT_KEYBOARD 0x64
#define PM1_S5        0x2000 /* SLP_EN with SLP_TYP 0, as the DSDT of the boards has it */

struct witness witness;

static uint8_t boot_stack[USER_STACK_SIZE] __attribute__((aligned(16)));

static void boot_main(struct cpu *c);

struct cpu boot_cpu = {
    .entry = boot_main,
    .user_sp = (uintptr_t)boot_stack + USER_STACK_SIZE - 8,
};

static void die(const char *reason, const char *detail)
{
    report_fatal(reason, detail);
    console_drain();
    __atomic_store_n(&boot_cpu.dead, 1, __ATOMIC_RELEASE);
    halt_forever();
}

static void power_off(void)
{
    console_drain();
    outw((uint16_t)witness.config.pm1a, PM1_S5);
    wait_us(LEAVE_US);
    die("leave", "power-off-had-no-effect");
}

static void reset(void)
{
    console_drain();
    outb(PORT_RESET, 0x02);
    outb(PORT_RESET, 0x06);
    outb(PORT_KEYBOARD, 0xfe);
    wait_us(LEAVE_US);
    gate_shutdown();
}

static void obey(char key, uint64_t now)
{
    report_mark(key, now);
    if (key == 'q')
        power_off();
    if (key == 'R')
        reset();
}

static void listen(uint64_t now)
{
    static struct pace pace;
    int key;

    if (!pace.interval)
        pace_init(&pace, now, 1, LISTEN_MS);
    if (!pace_due(&pace, now))
        return;
    key = console_read();
    if (key >= 0)
        obey((char)key, now);
}

static void leave_in_time(uint64_t now)
{
    uint64_t up = ms_of_ticks(now - witness.start);

    if (witness.config.off_ms && up >= witness.config.off_ms)
        obey('q', now);
    if (witness.config.reset_ms && up >= witness.config.reset_ms)
        obey('R', now);
}

static bool boot_cpu_step(uint64_t now)
{
    report_step(now);
    listen(now);
    leave_in_time(now);
    return console_step();
}

static void idle(struct cpu *c, uint64_t now)
{
    switch (witness.config.idle) {
    case IDLE_HLT:
        lapic_arm(witness.config.idle_us);
        canary_hlt(c);
        break;
    case IDLE_SPIN:
        canary_spin(c, now + ticks_of_us(SPIN_US));
        break;
    default:
        cpu_relax();
    }
}

/* Everything a processor does once it runs; common to the boot processor and the others. */
static void work(struct cpu *c)
{
    clock_attach(&c->gaps.pvclock);
    canary_init(c);
    pattern_init(c);
    workset_init(c);
    gaps_start(&c->gaps);
    __atomic_store_n(&c->ready, 1, __ATOMIC_RELEASE);
    for (;;) {
        uint64_t now = gaps_look(&c->gaps);
        bool busy = pattern_step(c, now);

        busy |= workset_step(c, now);
        canary_step(c, now);
        if (c == &boot_cpu)
            busy |= boot_cpu_step(now);
        if (!busy)
            idle(c, now);
    }
}

static void ap_main(struct cpu *c)
{
    lapic_init();
    __atomic_store_n(&c->online, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&boot_cpu.online, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&boot_cpu.dead, __ATOMIC_ACQUIRE))
            halt_forever();
        cpu_relax();
    }
    work(c);
}

static void take_memory(void)
{
    const struct config *c = &witness.config;
    uint64_t fixed = c->static_mib * PAGES_PER_MIB, moving = c->ws_mib * PAGES_PER_MIB;

    if (!memory_area(&witness.fixed, fixed, c->above4g ? fixed / 2 : 0) ||
        !memory_area(&witness.moving, moving, c->above4g ? moving / 2 : 0))
        die("memory", "static_mib-and-ws_mib-exceed-ram");
}

static void share_out(void)
{
    uint64_t n = witness.config.smp;

    for (uint64_t i = 0; i < n; i++) {
        struct cpu *c = cpu_table[i];

        c->pattern.first = witness.fixed.pages * i / n;
        c->pattern.end = witness.fixed.pages * (i + 1) / n;
        c->workset.first = witness.moving.pages * i / n;
        c->workset.end = witness.moving.pages * (i + 1) / n;
    }
}

/* In ring 3, with nothing set up but entry.S's tables. */
static void boot_main(struct cpu *c)
{
    const char *wrong;

    trap_init();
    lapic_init();
    console_init();
    witness.start = tsc_now();
    cpu_table[0] = c;
    wrong = memory_init(&witness.boot);
    if (wrong)
        die("boot", wrong);
    config_parse(&witness.config, witness.boot.cmdline);
    clock_init(witness.config.tsc_khz, &c->gaps.pvclock);
    report_hello();
    if (witness.config.wrong[0])
        die("option", witness.config.wrong);
    lapic_calibrate();
    wrong = smp_start((unsigned)witness.config.smp, ap_main);
    if (wrong)
        die("smp", wrong);
    take_memory();
    share_out();
    gaps_init();
    __atomic_store_n(&c->online, 1, __ATOMIC_RELEASE);
    work(c);
}
