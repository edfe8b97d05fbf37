#include "machine/boot_regs.h"

#include <string.h>

#define CR0_PE     0x00000001ULL
#define CR0_ET     0x00000010ULL
#define CR0_PG     0x80000000ULL
#define CR4_PAE    0x20ULL
#define EFER_LME   0x100ULL
#define EFER_LMA   0x400ULL
#define APIC_BSP   0xfee00900ULL /* at its usual place, enabled, the boot processor */
#define FLAGS_NONE 0x2ULL        /* the bit that is always set */

/* Selectors: Linux wants __BOOT_CS = 0x10 and __BOOT_DS = 0x18. */
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS  0x20

#define TYPE_CODE 0xb /* execute, read, accessed */
#define TYPE_DATA 0x3 /* read, write, accessed */
#define TYPE_TSS  0xb /* busy */
#define TSS_LIMIT 0x67

static struct x86_segment flat(uint16_t selector, uint8_t type)
{
    return (struct x86_segment){.selector = selector,
                                .limit = 0xffffffff,
                                .type = type,
                                .present = 1,
                                .s = 1,
                                .g = 1,
                                .db = 1};
}

/* SDM vol. 3, 3.4.5: the segment as eight bytes of a descriptor table. */
static uint64_t descriptor(const struct x86_segment *s)
{
    uint64_t limit = s->g ? s->limit >> 12 : s->limit;
    uint64_t access =
        (uint64_t)s->type | (uint64_t)s->s << 4 | (uint64_t)s->dpl << 5 | (uint64_t)s->present << 7;
    uint64_t flags =
        (uint64_t)s->avl | (uint64_t)s->l << 1 | (uint64_t)s->db << 2 | (uint64_t)s->g << 3;

    return (limit & 0xffff) | (s->base & 0xffffff) << 16 | access << 40 | (limit >> 16) << 48 |
           flags << 52 | (s->base >> 24 & 0xff) << 56;
}

static int enter(const struct boot_request *r, struct boot_entry *entry, struct x86_segment code,
                 struct err *e)
{
    struct x86_sregs *s = &entry->sregs;
    uint64_t gdt[6] = {0};

    memset(entry, 0, sizeof(*entry));
    s->cs = code;
    s->ds = s->es = s->fs = s->gs = s->ss = flat(SEL_DATA, TYPE_DATA);
    s->tr = (struct x86_segment){
        .selector = SEL_TSS, .limit = TSS_LIMIT, .type = TYPE_TSS, .present = 1};
    s->ldt.unusable = 1;
    gdt[SEL_CODE / 8] = descriptor(&s->cs);
    gdt[SEL_DATA / 8] = descriptor(&s->ds);
    gdt[SEL_TSS / 8] = descriptor(&s->tr);
    s->gdt = (struct x86_dtable){.base = BOOT_GDT, .limit = sizeof(gdt) - 1};
    s->cr0 = CR0_PE | CR0_ET;
    s->apic_base = APIC_BSP;
    entry->regs.rflags = FLAGS_NONE;
    return boot_write(r, BOOT_GDT, gdt, sizeof(gdt), "descriptor table", e);
}

int boot_regs_long_mode(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    struct x86_segment code = flat(SEL_CODE, TYPE_CODE);
    int ret;

    code.db = 0;
    code.l = 1;
    ret = enter(r, entry, code, e);
    entry->sregs.cr0 |= CR0_PG;
    entry->sregs.cr3 = BOOT_PAGE_TABLES;
    entry->sregs.cr4 = CR4_PAE;
    entry->sregs.efer = EFER_LME | EFER_LMA;
    return ret;
}

int boot_regs_protected_mode(const struct boot_request *r, struct boot_entry *entry, struct err *e)
{
    return enter(r, entry, flat(SEL_CODE, TYPE_CODE), e);
}
