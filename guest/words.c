#include "words.h"

#include <stddef.h>

#include "smp.h"
#include "witness.h"

#define CANONICAL   0x00007fffffffffffu
#define ANY32       0xffffffffu
#define IOAPIC_BASE 0xfec00000u
#define PORT_PCI    0xcf8
#define PORT_CMOS   0x70
#define PORT_PIT    0x40

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

bool words_enable_avx(void)
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

/* How a kind of word is reached. */
struct access {
    uint64_t (*read)(uint32_t arg);
    void (*plant)(uint32_t arg, uint64_t v);
};

static const struct access xmm = {read_xmm, plant_xmm};
static const struct access ymm = {read_ymm, plant_ymm};
static const struct access xcr0 = {read_xcr0, NULL};
static const struct access mxcsr = {read_mxcsr, plant_mxcsr};
static const struct access fcw = {read_fcw, plant_fcw};
static const struct access dr = {read_dr, plant_dr};
static const struct access cr = {read_cr, NULL};
static const struct access msr = {read_msr, plant_msr};
static const struct access lapic = {read_lapic, plant_lapic};
static const struct access ioapic = {read_ioapic, plant_ioapic};
static const struct access port = {read_port, plant_port};
static const struct access cmos = {read_cmos, plant_cmos};
static const struct access pit_mode = {read_pit_mode, NULL};
static const struct access pci_line = {read_pci_line, plant_pci_line};

/* Who has the word: every processor, the boot processor, those with AVX. */
enum owner { EVERY, BOOT, AVX };

/* A run of words: arg, arg + 1, ... A planted word is fixed | (pseudo-random & mask); where both
 * are zero nothing is planted and the word is compared as it was found. */
static const struct source {
    const char *name;
    uint32_t arg, count;
    enum owner owner;
    const struct access *access;
    uint64_t fixed, mask;
} sources[] = {
    {"xmm",         0,            32, EVERY, &xmm,      0,                  ~0ull     },
    {"ymm_high",    0,            32, AVX,   &ymm,      0,                  ~0ull     },
    {"xcr0",        0,            1,  AVX,   &xcr0,     0,                  0         },
    {"mxcsr",       0,            1,  EVERY, &mxcsr,    0x1f80,             0x603f    },
    {"fcw",         0,            1,  EVERY, &fcw,      0x007f,             0xf00     },
    {"dr",          0,            4,  EVERY, &dr,       0,                  CANONICAL },
    {"cr",          0,            4,  EVERY, &cr,       0,                  0         },
    {"apicbase",    0x1b,         1,  EVERY, &msr,      0,                  0         },
    {"sysenter_cs", 0x174,        1,  EVERY, &msr,      0,                  0xffff    },
    {"sysenter",    0x175,        2,  EVERY, &msr,      0,                  ANY32     }, /* all AMD keeps */
    {"misc_enable", 0x1a0,        1,  EVERY, &msr,      0,                  0         },
    {"mtrr",        0x20e,        1,  EVERY, &msr,      6,                  0xffff000 },
    {"pat",         0x277,        1,  EVERY, &msr,      0x0007050600070406, 0         },
    {"mtrr_def",    0x2ff,        1,  EVERY, &msr,      0,                  0         },
    {"efer",        0xc0000080,   1,  EVERY, &msr,      0,                  0         },
    {"star",        0xc0000081,   1,  EVERY, &msr,      0,                  ~0ull     },
    {"lstar",       0xc0000082,   2,  EVERY, &msr,      0,                  CANONICAL },
    {"fmask",       0xc0000084,   1,  EVERY, &msr,      0,                  ANY32     },
    {"segbase",     0xc0000100,   3,  EVERY, &msr,      0,                  CANONICAL },
    {"tsc_aux",     0xc0000103,   1,  EVERY, &msr,      0,                  ANY32     },
    {"lapic",       LAPIC_ID,     1,  EVERY, &lapic,    0,                  0         },
    {"lapic",       LAPIC_TPR,    1,  EVERY, &lapic,    0x10,               0x0f      },
    {"lapic",       LAPIC_LDR,    1,  EVERY, &lapic,    0,                  0xff000000},
    {"lapic",       LAPIC_DFR,    1,  EVERY, &lapic,    0x0fffffff,         0         },
    {"lapic",       LAPIC_SVR,    1,  EVERY, &lapic,    0,                  0         },
    {"lapic",       LAPIC_TIMER,  1,  EVERY, &lapic,    0,                  0         },
    {"lapic",       LAPIC_THERM,  1,  EVERY, &lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_PERF,   1,  EVERY, &lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_LINT0,  1,  EVERY, &lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_LINT1,  1,  EVERY, &lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_ERROR,  1,  EVERY, &lapic,    0x10010,            0xef      },
    {"lapic",       LAPIC_DIVIDE, 1,  EVERY, &lapic,    0,                  0         },
    {"ioapic",      0x38,         1,  BOOT,  &ioapic,   0x10010,            0xef      },
    {"ioapic",      0x39,         1,  BOOT,  &ioapic,   0,                  0xff000000},
    {"pic",         0x21,         1,  BOOT,  &port,     0x55,               0xaa      },
    {"pic",         0xa1,         1,  BOOT,  &port,     0x55,               0xaa      },
    {"serial",      0x3f9,        1,  BOOT,  &port,     0,                  0         },
    {"serial",      0x3fb,        2,  BOOT,  &port,     0,                  0         },
    {"serial",      0x3ff,        1,  BOOT,  &port,     0,                  0xff      },
    {"cmos",        0x7e,         2,  BOOT,  &cmos,     0,                  0xff      },
    {"pit",         0,            3,  BOOT,  &pit_mode, 0,                  0         },
    {"pci_line",    0,            32, BOOT,  &pci_line, 0,                  0xff      },
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static bool has(const struct cpu *c, const struct source *s)
{
    return s->owner == EVERY || (s->owner == BOOT && c == &boot_cpu) ||
           (s->owner == AVX && c->canary.avx);
}

bool words_locate(const struct cpu *c, unsigned n, struct word *w)
{
    for (const struct source *s = sources; s < sources + SOURCES; s++) {
        if (!has(c, s))
            continue;
        if (n < s->count) {
            *w = (struct word){s->name, s->arg + n, s};
            return true;
        }
        n -= s->count;
    }
    return false;
}

uint64_t words_read(const struct word *w)
{
    return w->source->access->read(w->arg);
}

void words_plant(const struct cpu *c, const struct word *w)
{
    const struct source *s = w->source;
    uint64_t where = (uint64_t)(s - sources) << 40 | (uint64_t)w->arg << 8 | c->index;

    if (s->fixed | s->mask)
        s->access->plant(w->arg, s->fixed | (mix(mix(where) + witness.config.seed) & s->mask));
}
