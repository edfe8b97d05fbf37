#include "canary.h"

#include "smp.h"
#include "witness.h"

#define STEP_MS   4
#define CANONICAL 0x00007fffffffffffu
#define ANY32     0xffffffffu

#define IOAPIC_BASE 0xfec00000u
#define PORT_PCI    0xcf8
#define PORT_CMOS   0x70
#define PORT_PIT    0x40

uint64_t hold_spin(const uint64_t pattern[12], uint64_t until_tsc);
uint64_t hold_hlt(const uint64_t pattern[12]);

/* clang-format off */
#define EACH_VECTOR(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) \
                       x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
#define XMM_STORE(n) "movups %%xmm" #n ", 16*" #n "(%0)\n"
#define XMM_LOAD(n)  "movups 16*" #n "(%0), %%xmm" #n "\n"
#define YMM_STORE(n) "vextractf128 $1, %%ymm" #n ", 16*" #n "(%0)\n"
#define YMM_LOAD(n)  "vinsertf128 $1, 16*" #n "(%0), %%ymm" #n ", %%ymm" #n "\n"
/* clang-format on */

/* Nothing else here touches the vector registers: the witness is compiled without them. */
static uint64_t read_xmm(uint32_t word)
{
    uint64_t all[32];

    __asm__ volatile(EACH_VECTOR(XMM_STORE) : : "r"(all) : "memory");
    return all[word];
}

static void plant_xmm(uint32_t word, uint64_t v)
{
    uint64_t all[32];

    __asm__ volatile(EACH_VECTOR(XMM_STORE) : : "r"(all) : "memory");
    all[word] = v;
    __asm__ volatile(EACH_VECTOR(XMM_LOAD) : : "r"(all) : "memory");
}

static uint64_t read_xcr0(uint32_t xcr)
{
    uint32_t lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(xcr));
    return (uint64_t)hi << 32 | lo;
}

static bool enable_avx(void)
{
    uint32_t need = 1u << 26 | 1u << 28; /* XSAVE, AVX */

    return (gate_cpuid(1, 0).ecx & need) == need && gate_enable_xsave() && gate_xsetbv(0, 7) &&
           (read_xcr0(0) & 7) == 7; /* x87, SSE, AVX */
}

static uint64_t read_ymm(uint32_t word)
{
    uint64_t all[32];

    __asm__ volatile(EACH_VECTOR(YMM_STORE) : : "r"(all) : "memory");
    return all[word];
}

static void plant_ymm(uint32_t word, uint64_t v)
{
    uint64_t all[32];

    __asm__ volatile(EACH_VECTOR(YMM_STORE) : : "r"(all) : "memory");
    all[word] = v;
    __asm__ volatile(EACH_VECTOR(YMM_LOAD) : : "r"(all) : "memory");
}

static uint64_t read_mxcsr(uint32_t unused)
{
    uint32_t v;

    (void)unused;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    return v;
}

static void plant_mxcsr(uint32_t unused, uint64_t v)
{
    uint32_t word = (uint32_t)v;

    (void)unused;
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
}

static uint64_t read_fcw(uint32_t unused)
{
    uint16_t v;

    (void)unused;
    __asm__ volatile("fnstcw %0" : "=m"(v));
    return v;
}

static void plant_fcw(uint32_t unused, uint64_t v)
{
    uint16_t word = (uint16_t)v;

    (void)unused;
    __asm__ volatile("fldcw %0" : : "m"(word));
}

static uint64_t read_msr(uint32_t msr)
{
    uint64_t v;

    return gate_rdmsr(msr, &v) ? v : 0;
}

static void plant_msr(uint32_t msr, uint64_t v)
{
    gate_wrmsr(msr, v);
}

static uint64_t read_dr(uint32_t n)
{
    uint64_t v[4];

    gate_get4(GATE_GET_DR, v);
    return v[n];
}

static void plant_dr(uint32_t n, uint64_t value)
{
    uint64_t v[4];

    gate_get4(GATE_GET_DR, v);
    v[n] = value;
    gate_set_dr(v);
}

static uint64_t read_cr(uint32_t n)
{
    uint64_t v[4];

    gate_get4(GATE_GET_CR, v);
    return v[n];
}

static uint64_t read_lapic(uint32_t reg)
{
    return lapic_read(reg);
}

static void plant_lapic(uint32_t reg, uint64_t v)
{
    lapic_write(reg, (uint32_t)v);
}

static uint64_t read_ioapic(uint32_t reg)
{
    *(volatile uint32_t *)(uintptr_t)IOAPIC_BASE = reg;
    return *(volatile uint32_t *)(uintptr_t)(IOAPIC_BASE + 0x10);
}

static void plant_ioapic(uint32_t reg, uint64_t v)
{
    *(volatile uint32_t *)(uintptr_t)IOAPIC_BASE = reg;
    *(volatile uint32_t *)(uintptr_t)(IOAPIC_BASE + 0x10) = (uint32_t)v;
}

static uint64_t read_port(uint32_t port)
{
    return inb((uint16_t)port);
}

static void plant_port(uint32_t port, uint64_t v)
{
    outb((uint16_t)port, (uint8_t)v);
}

static uint64_t read_cmos(uint32_t index)
{
    outb(PORT_CMOS, (uint8_t)index);
    return inb(PORT_CMOS + 1);
}

static void plant_cmos(uint32_t index, uint64_t v)
{
    outb(PORT_CMOS, (uint8_t)index);
    outb(PORT_CMOS + 1, (uint8_t)v);
}

/* The mode a channel was programmed to; its count runs and is no constant. */
static uint64_t read_pit_mode(uint32_t channel)
{
    outb(PORT_PIT + 3, (uint8_t)(0xe0 | 2u << channel)); /* read-back: status only */
    return inb((uint16_t)(PORT_PIT + channel)) & 0x3f;
}

/* The interrupt line of device `slot` of bus 0: plain storage, whatever the device is. */
static uint64_t read_pci_line(uint32_t slot)
{
    outl(PORT_PCI, 0x80000000u | slot << 11 | 0x3c);
    return inb(PORT_PCI + 4);
}

static void plant_pci_line(uint32_t slot, uint64_t v)
{
    outl(PORT_PCI, 0x80000000u | slot << 11 | 0x3c);
    outb(PORT_PCI + 4, (uint8_t)v);
}

enum when { EVERY_CPU, BOOT_CPU, WITH_AVX };

/* A run of words: arg, arg + 1, ... A planted word is fixed | (pseudo-random & mask). */
static const struct source {
    const char *name;
    uint32_t arg, count;
    enum when when;
    uint64_t (*read)(uint32_t arg);
    void (*plant)(uint32_t arg, uint64_t v); /* NULL: compared as found */
    uint64_t fixed, mask;
} sources[] = {
    {"xmm",         0,            32, EVERY_CPU, read_xmm,      plant_xmm,      0,                  ~0ull     },
    {"ymm_high",    0,            32, WITH_AVX,  read_ymm,      plant_ymm,      0,                  ~0ull     },
    {"xcr0",        0,            1,  WITH_AVX,  read_xcr0,     NULL,           0,                  0         },
    {"mxcsr",       0,            1,  EVERY_CPU, read_mxcsr,    plant_mxcsr,    0x1f80,             0x603f    },
    {"fcw",         0,            1,  EVERY_CPU, read_fcw,      plant_fcw,      0x007f,             0xf00     },
    {"dr",          0,            4,  EVERY_CPU, read_dr,       plant_dr,       0,                  CANONICAL },
    {"cr",          0,            4,  EVERY_CPU, read_cr,       NULL,           0,                  0         },
    {"apicbase",    0x1b,         1,  EVERY_CPU, read_msr,      NULL,           0,                  0         },
    {"sysenter_cs", 0x174,        1,  EVERY_CPU, read_msr,      plant_msr,      0,                  0xffff    },
    {"sysenter",    0x175,        2,  EVERY_CPU, read_msr,      plant_msr,      0,                  CANONICAL },
    {"misc_enable", 0x1a0,        1,  EVERY_CPU, read_msr,      NULL,           0,                  0         },
    {"mtrr",        0x20e,        1,  EVERY_CPU, read_msr,      plant_msr,      6,                  0xffff000 },
    {"pat",         0x277,        1,  EVERY_CPU, read_msr,      plant_msr,      0x0007050600070406, 0         },
    {"mtrr_def",    0x2ff,        1,  EVERY_CPU, read_msr,      NULL,           0,                  0         },
    {"efer",        0xc0000080,   1,  EVERY_CPU, read_msr,      NULL,           0,                  0         },
    {"star",        0xc0000081,   1,  EVERY_CPU, read_msr,      plant_msr,      0,                  ~0ull     },
    {"lstar",       0xc0000082,   2,  EVERY_CPU, read_msr,      plant_msr,      0,                  CANONICAL },
    {"fmask",       0xc0000084,   1,  EVERY_CPU, read_msr,      plant_msr,      0,                  ANY32     },
    {"segbase",     0xc0000100,   3,  EVERY_CPU, read_msr,      plant_msr,      0,                  CANONICAL },
    {"tsc_aux",     0xc0000103,   1,  EVERY_CPU, read_msr,      plant_msr,      0,                  ANY32     },
    {"lapic",       LAPIC_ID,     1,  EVERY_CPU, read_lapic,    NULL,           0,                  0         },
    {"lapic",       LAPIC_TPR,    1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10,               0x0f      },
    {"lapic",       LAPIC_LDR,    1,  EVERY_CPU, read_lapic,    plant_lapic,    0,                  0xff000000},
    {"lapic",       LAPIC_DFR,    1,  EVERY_CPU, read_lapic,    plant_lapic,    0x0fffffff,         0         },
    {"lapic",       LAPIC_SVR,    1,  EVERY_CPU, read_lapic,    NULL,           0,                  0         },
    {"lapic",       LAPIC_TIMER,  1,  EVERY_CPU, read_lapic,    NULL,           0,                  0         },
    {"lapic",       LAPIC_THERM,  1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_PERF,   1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_LINT0,  1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_LINT1,  1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_ERROR,  1,  EVERY_CPU, read_lapic,    plant_lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_DIVIDE, 1,  EVERY_CPU, read_lapic,    NULL,           0,                  0         },
    {"ioapic",      0x38,         1,  BOOT_CPU,  read_ioapic,   plant_ioapic,   0x10010,            0xef      },
    {"ioapic",      0x39,         1,  BOOT_CPU,  read_ioapic,   plant_ioapic,   0,                  0xff000000},
    {"pic",         0x21,         1,  BOOT_CPU,  read_port,     plant_port,     0x55,               0xaa      },
    {"pic",         0xa1,         1,  BOOT_CPU,  read_port,     plant_port,     0x55,               0xaa      },
    {"serial",      0x3f9,        1,  BOOT_CPU,  read_port,     NULL,           0,                  0         },
    {"serial",      0x3fb,        2,  BOOT_CPU,  read_port,     NULL,           0,                  0         },
    {"serial",      0x3ff,        1,  BOOT_CPU,  read_port,     plant_port,     0,                  0xff      },
    {"cmos",        0x7e,         2,  BOOT_CPU,  read_cmos,     plant_cmos,     0,                  0xff      },
    {"pit",         0,            3,  BOOT_CPU,  read_pit_mode, NULL,           0,                  0         },
    {"pci_line",    0,            32, BOOT_CPU,  read_pci_line, plant_pci_line, 0,                  0xff      },
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static bool concerns(const struct cpu *c, const struct source *s)
{
    return s->when == EVERY_CPU || (s->when == BOOT_CPU && c == &boot_cpu) ||
           (s->when == WITH_AVX && c->canary.avx);
}

static uint64_t pattern_of(const struct cpu *c, const struct source *s, uint32_t arg)
{
    uint64_t where = (uint64_t)(s - sources) << 40 | (uint64_t)arg << 8 | c->index;

    return s->fixed | (mix(mix(where) + witness.config.seed) & s->mask);
}

/* Word n of all words, as (source, arg); false past the end. */
static bool locate(const struct cpu *c, unsigned n, const struct source **s, uint32_t *arg)
{
    for (*s = sources; *s < sources + SOURCES; (*s)++) {
        if (!concerns(c, *s))
            continue;
        if (n < (*s)->count) {
            *arg = (*s)->arg + n;
            return true;
        }
        n -= (*s)->count;
    }
    return false;
}

void canary_init(struct cpu *c)
{
    struct canary *k = &c->canary;
    const struct source *s;
    uint32_t arg;

    for (unsigned i = 0; i < 12; i++)
        k->hold[i] = mix(mix(c->index + 1) + i);
    pace_init(&k->pace, tsc_now(), witness.config.state, STEP_MS);
    if (!witness.config.state)
        return;
    k->avx = enable_avx();
    while (k->count < CANARY_WORDS && locate(c, k->count, &s, &arg)) {
        if (s->plant)
            s->plant(arg, pattern_of(c, s, arg));
        k->count++;
    }
    for (unsigned i = 0; i < k->count; i++)
        if (locate(c, i, &s, &arg))
            k->want[i] = s->read(arg);
}

void canary_step(struct cpu *c, uint64_t now)
{
    struct canary *k = &c->canary;
    const struct source *s;
    uint32_t arg;
    uint64_t got;

    if (!k->count || !pace_due(&k->pace, now) || !locate(c, k->next, &s, &arg))
        return;
    got = s->read(arg);
    if (got != k->want[k->next]) {
        k->bad++;
        cpu_event(c, (struct event){.kind = EVENT_STATE,
                                    .where = arg,
                                    .want = k->want[k->next],
                                    .got = got,
                                    .what = s->name});
        k->want[k->next] = got;
    }
    k->checks++;
    k->next = (k->next + 1) % k->count;
}

static void judge_hold(struct cpu *c, uint64_t differ)
{
    if (!differ)
        return;
    c->canary.bad++;
    cpu_event(c, (struct event){.kind = EVENT_STATE, .got = differ, .what = "gpr"});
}

void canary_spin(struct cpu *c, uint64_t until)
{
    judge_hold(c, hold_spin(c->canary.hold, until));
}

void canary_hlt(struct cpu *c)
{
    judge_hold(c, hold_hlt(c->canary.hold));
}
