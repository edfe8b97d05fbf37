#include "clock.h"

#include "x86.h"

#define KVM_SIGNATURE       0x4b4d564b /* "KVMK", EBX of leaf 0x40000000 */
#define KVM_FEATURE_CLOCK2  (1u << 3)
#define MSR_KVM_SYSTEM_TIME 0x4b564d01

#define PIT_HZ      1193182
#define PIT_MS      50
#define PIT_COUNT   (PIT_HZ * PIT_MS / 1000)
#define PORT_PIT2   0x42
#define PORT_PITCMD 0x43
#define PORT_B      0x61

struct clock tsc_clock = {.khz = 1, .source = "none"};

static bool has_kvm_clock(void)
{
    return gate_cpuid(1, 0).ecx & 1u << 31 && gate_cpuid(0x40000000, 0).ebx == KVM_SIGNATURE &&
           gate_cpuid(0x40000001, 0).eax & KVM_FEATURE_CLOCK2;
}

void clock_attach(struct pvclock *own)
{
    if (tsc_clock.kvm)
        tsc_clock.kvm = gate_wrmsr(MSR_KVM_SYSTEM_TIME, (uintptr_t)own | 1);
}

/* A copy taken while the host was not writing: the version is even and has not moved. */
static struct pvclock stable(const struct pvclock *own)
{
    const volatile struct pvclock *p = own;
    struct pvclock c;

    do {
        c.version = p->version;
        __asm__ volatile("lfence" : : : "memory");
        c.tsc_timestamp = p->tsc_timestamp;
        c.system_time = p->system_time;
        c.mul = p->mul;
        c.shift = p->shift;
        __asm__ volatile("lfence" : : : "memory");
    } while (c.version & 1 || c.version != p->version);
    return c;
}

uint64_t clock_kvm_ns(const struct pvclock *own, uint64_t tsc)
{
    struct pvclock c;
    uint64_t delta, high;

    if (!tsc_clock.kvm)
        return 0;
    c = stable(own);
    if (tsc < c.tsc_timestamp)
        return c.system_time;
    delta = tsc - c.tsc_timestamp;
    delta = c.shift < 0 ? delta >> -c.shift : delta << c.shift;
    __asm__("mulq %2" : "+a"(delta), "=d"(high) : "r"((uint64_t)c.mul));
    return c.system_time + (high << 32 | delta >> 32);
}

/* ns = (ticks << shift) * mul / 2^32, hence kHz = 10^6 * 2^32 / mul, unshifted. */
static uint64_t khz_of_kvm_clock(const struct pvclock *own)
{
    struct pvclock c;
    uint64_t khz;

    if (!tsc_clock.kvm)
        return 0;
    c = stable(own);
    if (!c.mul)
        return 0;
    khz = (1000000ull << 32) / c.mul;
    return c.shift < 0 ? khz << -c.shift : khz >> c.shift;
}

static uint64_t khz_of_hypervisor_leaf(void)
{
    if (!(gate_cpuid(1, 0).ecx & 1u << 31) || gate_cpuid(0x40000000, 0).eax < 0x40000010)
        return 0;
    return gate_cpuid(0x40000010, 0).eax;
}

static uint64_t khz_of_crystal(void)
{
    struct cpuid r;

    if (gate_cpuid(0, 0).eax < 0x15)
        return 0;
    r = gate_cpuid(0x15, 0);
    return r.eax && r.ebx && r.ecx ? (uint64_t)r.ecx * r.ebx / r.eax / 1000 : 0;
}

static uint64_t khz_of_base_frequency(void)
{
    return gate_cpuid(0, 0).eax < 0x16 ? 0 : (gate_cpuid(0x16, 0).eax & 0xffff) * 1000ull;
}

/* Channel 2 in mode 0 raises its output, bit 5 of port B, when the count has run down. */
static uint64_t khz_of_one_count(void)
{
    uint64_t start;
    unsigned polls = 0;

    outb(PORT_B, (inb(PORT_B) & ~2u) | 1u); /* gate on, speaker off */
    outb(PORT_PITCMD, 0xb0);
    outb(PORT_PIT2, PIT_COUNT & 0xff);
    outb(PORT_PIT2, PIT_COUNT >> 8);
    start = tsc_now();
    while (!(inb(PORT_B) & 0x20))
        if (++polls == 10000000)
            return 0;
    return polls < 10 ? 0 : (tsc_now() - start) / PIT_MS; /* no PIT: the bit was there at once */
}

/* The middle one of three: a host that was busy meanwhile makes one too long or too short. */
static uint64_t khz_of_pit(void)
{
    uint64_t a = khz_of_one_count(), b = khz_of_one_count(), c = khz_of_one_count();
    uint64_t low = a < b ? a : b, high = a < b ? b : a;

    return c < low ? low : c > high ? high : c;
}

void clock_init(uint64_t khz_wanted, struct pvclock *own)
{
    static const struct {
        const char *name;
        uint64_t (*khz)(void);
    } sources[] = {
        {"cpuid40000010", khz_of_hypervisor_leaf},
        {"cpuid15",       khz_of_crystal        },
        {"pit",           khz_of_pit            },
        {"cpuid16",       khz_of_base_frequency },
    };

    tsc_clock.kvm = has_kvm_clock();
    clock_attach(own);
    tsc_clock.khz = khz_wanted;
    tsc_clock.source = "cmdline";
    if (!tsc_clock.khz) {
        tsc_clock.khz = khz_of_kvm_clock(own);
        tsc_clock.source = "kvmclock";
    }
    for (unsigned i = 0; !tsc_clock.khz && i < sizeof(sources) / sizeof(sources[0]); i++) {
        tsc_clock.khz = sources[i].khz();
        tsc_clock.source = sources[i].name;
    }
    if (!tsc_clock.khz) {
        tsc_clock.khz = 1000000;
        tsc_clock.source = "guessed";
    }
}
