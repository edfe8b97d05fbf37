#include "machine/acpi.h"

#include <errno.h>
#include <string.h>

#include "device/acpi_pm.h"
#include "device/reset.h"
#include "machine/memory_map.h"
#include "machine/pc.h"

#define STAGE "acpi"

#define LENGTH_AT    4
#define CHECKSUM_AT  9
#define RSDP_SIZE    36
#define RSDP_V1_SIZE 20
#define TABLES_MAX   (MEMORY_HIGH_START - MEMORY_TABLES)
#define XSDT_MAX     3

#define SPACE_IO   1
#define BOOT_ARCH  0x0005 /* legacy devices; no 8042; no VGA */
#define FADT_FLAGS 0x00000565
/* WBINVD, C1 everywhere, no fixed sleep button, RTC wakes not, 32-bit timer, reset register */

#define MADT_LAPIC    0
#define MADT_IOAPIC   1
#define MADT_OVERRIDE 2
#define MADT_NMI      4

struct tables {
    struct buf bytes; /* from MEMORY_TABLES on */
    struct writer w;
};

static uint64_t here(const struct tables *t)
{
    return MEMORY_TABLES + t->bytes.len;
}

/* Sums of all bytes of a table are zero (sec. 5.2.6). */
static void fix_checksum(struct tables *t, size_t start, size_t len, size_t at)
{
    uint8_t sum = 0;

    if (t->w.failed)
        return;
    for (size_t i = 0; i < len; i++)
        sum += t->bytes.data[start + i];
    t->bytes.data[start + at] -= sum;
}

static size_t begin(struct tables *t, const struct acpi_config *c, const char *signature,
                    uint8_t revision)
{
    size_t start;

    writer_align(&t->w, 16);
    start = t->bytes.len;
    writer_bytes(&t->w, signature, 4);
    writer_u32(&t->w, 0); /* length, later */
    writer_u8(&t->w, revision);
    writer_u8(&t->w, 0); /* checksum, later */
    writer_bytes(&t->w, "GODWIT", 6);
    writer_bytes(&t->w, c->table_id, 8);
    writer_u32(&t->w, 1);
    writer_bytes(&t->w, "GDWT", 4);
    writer_u32(&t->w, 1);
    return start;
}

static uint64_t end(struct tables *t, size_t start)
{
    size_t len = t->bytes.len - start;

    writer_patch_u32(&t->w, start + LENGTH_AT, (uint32_t)len);
    fix_checksum(t, start, len, CHECKSUM_AT);
    return MEMORY_TABLES + start;
}

/* Generic address structure (sec. 5.2.3.2); width 0: not there. */
static void gas(struct tables *t, uint16_t port, uint8_t bits)
{
    writer_u8(&t->w, SPACE_IO);
    writer_u8(&t->w, bits);
    writer_u8(&t->w, 0);
    writer_u8(&t->w, bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : 0);
    writer_u64(&t->w, port);
}

static void zeros(struct tables *t, size_t n)
{
    static const uint8_t none[32];

    writer_bytes(&t->w, none, n);
}

/* Firmware ACPI control structure (sec. 5.2.10): 64-byte aligned, no checksum. */
static uint64_t facs(struct tables *t)
{
    uint64_t at;

    writer_align(&t->w, 64);
    at = here(t);
    writer_bytes(&t->w, "FACS", 4);
    writer_u32(&t->w, 64);
    zeros(t, 24); /* signature, waking vector, lock, flags, 64-bit vector */
    writer_u8(&t->w, 2);
    zeros(t, 31);
    return at;
}

static uint64_t dsdt(struct tables *t, const struct acpi_config *c)
{
    size_t start = begin(t, c, "DSDT", 2);

    writer_bytes(&t->w, c->dsdt->code.data, c->dsdt->code.len);
    return end(t, start);
}

/* The 32-bit half of the FADT (sec. 5.2.9), up to the reset register. */
static void fadt_legacy(struct tables *t, uint64_t facs_at, uint64_t dsdt_at)
{
    struct writer *w = &t->w;

    writer_u32(w, (uint32_t)facs_at);
    writer_u32(w, (uint32_t)dsdt_at);
    zeros(t, 2); /* reserved; no preferred profile */
    writer_u16(w, PC_SCI_GSI);
    zeros(t, 8); /* no SMI command: always in ACPI mode */
    writer_u32(w, PC_PM_PORT + ACPI_PM_EVT_OFFSET);
    writer_u32(w, 0);
    writer_u32(w, PC_PM_PORT + ACPI_PM_CNT_OFFSET);
    zeros(t, 8); /* PM1b, PM2 */
    writer_u32(w, PC_PM_PORT + ACPI_PM_TMR_OFFSET);
    zeros(t, 8);     /* no general-purpose events */
    writer_u8(w, 4); /* PM1 events */
    writer_u8(w, 2); /* PM1 control */
    writer_u8(w, 0); /* PM2 control */
    writer_u8(w, 4); /* timer */
    zeros(t, 4);     /* events, C-state changes */
    writer_u16(w, 0xfff);
    writer_u16(w, 0xfff); /* no C2, no C3 */
    zeros(t, 8);          /* cache flush, duty cycle, RTC alarms */
    writer_u8(w, 0x32);   /* century, in CMOS */
    writer_u16(w, BOOT_ARCH);
    writer_u8(w, 0);
    writer_u32(w, FADT_FLAGS);
}

static uint64_t fadt(struct tables *t, const struct acpi_config *c, uint64_t facs_at,
                     uint64_t dsdt_at)
{
    size_t start = begin(t, c, "FACP", 6);

    fadt_legacy(t, facs_at, dsdt_at);
    gas(t, RESET_PORT, 8);
    writer_u8(&t->w, RESET_VALUE);
    zeros(t, 2);          /* Arm */
    writer_u8(&t->w, 4);  /* minor version: 6.4 */
    writer_u64(&t->w, 0); /* the 32-bit FACS address counts */
    writer_u64(&t->w, dsdt_at);
    gas(t, PC_PM_PORT + ACPI_PM_EVT_OFFSET, 32);
    zeros(t, 12);
    gas(t, PC_PM_PORT + ACPI_PM_CNT_OFFSET, 16);
    zeros(t, 24);
    gas(t, PC_PM_PORT + ACPI_PM_TMR_OFFSET, 32);
    zeros(t, 24); /* no events */
    zeros(t, 24); /* no sleep registers: not hardware-reduced */
    writer_bytes(&t->w, "Godwit\0", 8);
    return end(t, start);
}

/* Processors and interrupt controllers (sec. 5.2.12). GSI n is pin n and ISA line n; only the SCI
 * is told apart, since it is level-triggered. */
static uint64_t madt(struct tables *t, const struct acpi_config *c)
{
    size_t start = begin(t, c, "APIC", 5);
    struct writer *w = &t->w;

    writer_u32(w, PC_LAPIC);
    writer_u32(w, 1); /* PICs are there, too */
    for (uint32_t i = 0; i < c->vcpus; i++) {
        writer_u8(w, MADT_LAPIC);
        writer_u8(w, 8);
        writer_u8(w, (uint8_t)i); /* processor and APIC id */
        writer_u8(w, (uint8_t)i);
        writer_u32(w, 1); /* enabled */
    }
    writer_u8(w, MADT_IOAPIC);
    writer_u8(w, 12);
    writer_u16(w, 0); /* its id, as KVM has it */
    writer_u32(w, PC_IOAPIC);
    writer_u32(w, 0); /* first GSI */
    writer_u8(w, MADT_OVERRIDE);
    writer_u8(w, 10);
    writer_u8(w, 0); /* ISA */
    writer_u8(w, PC_SCI_GSI);
    writer_u32(w, PC_SCI_GSI);
    writer_u16(w, 0x000d); /* level, active high */
    writer_u8(w, MADT_NMI);
    writer_u8(w, 6);
    writer_u8(w, 0xff); /* on all processors */
    writer_u16(w, 0);
    writer_u8(w, 1); /* LINT1 */
    return end(t, start);
}

/* PCI Firmware Specification 3.3, sec. 4.1.2. */
static uint64_t mcfg(struct tables *t, const struct acpi_config *c)
{
    size_t start = begin(t, c, "MCFG", 1);

    zeros(t, 8);
    writer_u64(&t->w, c->ecam_base);
    writer_u16(&t->w, 0);                 /* segment */
    writer_u8(&t->w, 0);                  /* first bus */
    writer_u8(&t->w, ACPI_PCI_BUSES - 1); /* last */
    zeros(t, 4);
    return end(t, start);
}

static uint64_t xsdt(struct tables *t, const struct acpi_config *c, const uint64_t *at, size_t n)
{
    size_t start = begin(t, c, "XSDT", 1);

    for (size_t i = 0; i < n; i++)
        writer_u64(&t->w, at[i]);
    return end(t, start);
}

/* Root pointer (sec. 5.2.5.3), at the very beginning. */
static void rsdp(struct tables *t)
{
    struct writer *w = &t->w;

    writer_bytes(w, "RSD PTR ", 8);
    writer_u8(w, 0);
    writer_bytes(w, "GODWIT", 6);
    writer_u8(w, 2);
    writer_u32(w, 0); /* no RSDT */
    writer_u32(w, RSDP_SIZE);
    writer_u64(w, 0); /* XSDT, later */
    zeros(t, 4);
}

static void fix_rsdp(struct tables *t, uint64_t xsdt_at)
{
    writer_patch_u64(&t->w, 24, xsdt_at);
    fix_checksum(t, 0, RSDP_V1_SIZE, 8);
    fix_checksum(t, 0, RSDP_SIZE, 32);
}

static void compose(struct tables *t, const struct acpi_config *c)
{
    uint64_t at[XSDT_MAX], facs_at, dsdt_at;
    size_t n = 0;

    rsdp(t);
    facs_at = facs(t);
    dsdt_at = dsdt(t, c);
    at[n++] = fadt(t, c, facs_at, dsdt_at);
    at[n++] = madt(t, c);
    if (c->ecam_base)
        at[n++] = mcfg(t, c);
    fix_rsdp(t, xsdt(t, c, at, n));
}

int acpi_write(struct guest_mem *mem, const struct acpi_config *c, uint64_t *rsdp_at, struct err *e)
{
    struct tables t;
    int ret;

    buf_init(&t.bytes, TABLES_MAX);
    writer_init(&t.w, &t.bytes);
    compose(&t, c);
    if (t.w.failed || aml_failed(c->dsdt))
        ret = err_set(e, -ENOSPC, STAGE, "ACPI tables do not fit into %u KiB (or no memory)",
                      TABLES_MAX >> 10);
    else
        ret = guest_mem_write(mem, MEMORY_TABLES, t.bytes.data, t.bytes.len);
    buf_fini(&t.bytes);
    *rsdp_at = MEMORY_TABLES;
    return ret;
}
