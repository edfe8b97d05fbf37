#include "smp.h"

#include <stddef.h>

#include "witness.h"

#define LVT_MASKED  0x10000u
#define ICR_INIT    0x4500u
#define ICR_STARTUP 0x4600u

#define CPU_PAGES    ((sizeof(struct cpu) + USER_STACK_SIZE) / PAGE_SIZE)
#define CALIBRATE_US 5000
#define START_MS     2000

_Static_assert(USER_STACK_SIZE % PAGE_SIZE == 0, "stack behind struct cpu");

extern char trampoline[], trampoline_end[];

struct cpu *cpu_table[MAX_CPUS + 2];

static uint64_t timer_khz;

void wait_us(uint64_t us)
{
    uint64_t end = tsc_now() + ticks_of_us(us);

    while (tsc_now() < end)
        cpu_relax();
}

void lapic_init(void)
{
    static const uint16_t masked[] = {LAPIC_THERM, LAPIC_PERF, LAPIC_LINT0, LAPIC_LINT1,
                                      LAPIC_ERROR};

    for (unsigned i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
        lapic_write(masked[i], LVT_MASKED);
    lapic_write(LAPIC_SVR, 0x100 | VECTOR_SPURIO);
    lapic_write(LAPIC_DIVIDE, 0xb); /* by 1 */
    lapic_write(LAPIC_TIMER, VECTOR_TIMER);
}

void lapic_calibrate(void)
{
    uint64_t start, ticks;
    uint32_t left;

    lapic_write(LAPIC_TIMER, LVT_MASKED | VECTOR_TIMER);
    lapic_write(LAPIC_COUNT, ~0u);
    start = tsc_now();
    wait_us(CALIBRATE_US);
    left = lapic_read(LAPIC_NOW);
    ticks = tsc_now() - start;
    lapic_write(LAPIC_COUNT, 0);
    lapic_write(LAPIC_TIMER, VECTOR_TIMER);
    timer_khz = (uint64_t)(~0u - left) * tsc_clock.khz / ticks;
}

void lapic_arm(uint64_t us)
{
    uint64_t count = us * timer_khz / 1000;

    lapic_write(LAPIC_COUNT, count < ~0u ? (uint32_t)count + 1 : ~0u);
}

static struct cpu *new_cpu(unsigned index, void (*entry)(struct cpu *))
{
    struct cpu *c = memory_pages(CPU_PAGES);

    if (!c)
        return NULL;
    c->index = index;
    c->entry = entry;
    c->user_sp = (uintptr_t)c + CPU_PAGES * PAGE_SIZE - 8; /* as after a call: 8 off alignment */
    return c;
}

static bool start_one(struct cpu *c)
{
    uint64_t give_up = tsc_now() + ticks_of_us(START_MS * 1000ull);

    lapic_write(LAPIC_ICR2, (uint32_t)c->index << 24);
    lapic_write(LAPIC_ICR, ICR_INIT);
    wait_us(200);
    for (unsigned i = 0; i < 2; i++) {
        lapic_write(LAPIC_ICR2, (uint32_t)c->index << 24);
        lapic_write(LAPIC_ICR, ICR_STARTUP | TRAMPOLINE / PAGE_SIZE);
        wait_us(200);
    }
    while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE)) {
        if (tsc_now() > give_up)
            return false;
        cpu_relax();
    }
    return true;
}

const char *smp_start(unsigned count, void (*entry)(struct cpu *))
{
    char *to = (char *)(uintptr_t)TRAMPOLINE;

    for (const char *from = trampoline; from < trampoline_end; from++)
        *to++ = *from;
    for (unsigned i = 1; i < count; i++) {
        struct cpu *c = new_cpu(i, entry);

        if (!c)
            return "no-memory-for-vcpus";
        cpu_table[i] = c;
        if (!start_one(c))
            return "vcpu-did-not-start";
    }
    return NULL;
}
