/*
 * Plain machine state of x86_64, without pointers or descriptors: what is saved, moved and loaded.
 * Layouts are ours; where a blob is a hardware or KVM layout, the source is named.  Field tables:
 * x86_state.c.
 */
#ifndef GODWIT_STATE_X86_STATE_H
#define GODWIT_STATE_X86_STATE_H

#include <stdint.h>

#include "state/field.h"

#define X86_CPUID_MAX 256
#define X86_MSRS_MAX  512
#define X86_XSAVE_MAX 16384 /* bytes; AMX needs 11008 (SDM vol. 1, 13.5) */
#define X86_VCPUS_MAX 254

struct x86_cpuid_entry {
    uint32_t function, index, flags; /* flags bit 0: index is significant */
    uint32_t eax, ebx, ecx, edx;
};

struct x86_cpuid {
    uint32_t n;
    struct x86_cpuid_entry entries[X86_CPUID_MAX];
};

struct x86_msr_list {
    uint32_t n;
    uint32_t index[X86_MSRS_MAX];
};

struct x86_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};

struct x86_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint8_t type, present, dpl, db, s, l, g, avl, unusable;
};

struct x86_dtable {
    uint64_t base;
    uint16_t limit;
};

struct x86_sregs {
    struct x86_segment cs, ds, es, fs, gs, ss, tr, ldt;
    struct x86_dtable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    uint64_t sregs2_flags; /* KVM_SREGS2_FLAGS_PDPTRS_VALID */
    uint64_t pdptrs[4];
};

struct x86_msr {
    uint32_t index;
    uint64_t value;
};

/* What is under way in a vCPU between two instructions: struct kvm_vcpu_events, Linux uapi
 * asm/kvm.h. */
struct x86_events {
    uint8_t exception_injected, exception_nr, exception_has_error_code, exception_pending;
    uint32_t exception_error_code;
    uint8_t exception_has_payload;
    uint64_t exception_payload;
    uint8_t interrupt_injected, interrupt_nr, interrupt_soft, interrupt_shadow;
    uint8_t nmi_injected, nmi_pending, nmi_masked;
    uint8_t smi_smm, smi_pending, smi_inside_nmi, smi_latched_init;
    uint8_t triple_fault_pending;
    uint32_t sipi_vector;
    uint32_t flags; /* KVM_VCPUEVENT_VALID_*: which of these the source's kernel knew */
};

struct x86_vcpu_state {
    struct x86_regs regs;
    struct x86_sregs sregs;
    uint32_t nxcrs;
    uint64_t xcrs[16]; /* pairs (xcr, value) flattened: xcr number in xcr_index */
    uint32_t xcr_index[16];
    uint32_t xsave_size;
    uint8_t xsave[X86_XSAVE_MAX]; /* XSAVE area, standard format (SDM vol. 1, 13.4) */
    uint32_t nmsrs;
    uint32_t msr_index[X86_MSRS_MAX];
    uint64_t msr_value[X86_MSRS_MAX];
    uint8_t lapic[1024];    /* APIC register page, 0x000-0x3ff (SDM vol. 3, 11.4) */
    struct x86_events events;
    uint64_t db[4], dr6, dr7;
    uint32_t mp_state;
    uint64_t tsc_offset;    /* KVM_VCPU_TSC_OFFSET, valid if tsc_offset_valid */
    uint8_t tsc_offset_valid;
    uint64_t tsc;           /* MSR 0x10 at save */
    uint64_t tsc_deadline;  /* MSR 0x6e0 */
    uint32_t tsc_khz;
};

struct x86_clock_state {
    uint64_t clock_ns;    /* kvmclock */
    uint64_t realtime_ns; /* CLOCK_REALTIME at the same instant, valid if realtime_valid */
    uint64_t host_tsc;    /* the host's TSC then; valid: the TSC offsets of vCPUs count from it */
    uint32_t host_tsc_khz;
    uint8_t realtime_valid, host_tsc_valid;
    uint8_t tsc_scaled; /* the source's KVM scaled the TSC (a guest rate unlike host_tsc_khz) */
};

/* One 8259: struct kvm_pic_state, Linux uapi asm/kvm.h. */
struct x86_pic {
    uint8_t last_irr, irr, imr, isr;
    uint8_t priority_add, irq_base, read_reg_select, poll, special_mask, init_state;
    uint8_t auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4;
    uint8_t elcr, elcr_mask;
};

#define X86_IOAPIC_PINS 24

/* struct kvm_ioapic_state; redirection entries as in the 82093AA datasheet, 3.2.4. */
struct x86_ioapic {
    uint64_t base_address;
    uint32_t ioregsel, id, irr;
    uint64_t redirtbl[X86_IOAPIC_PINS];
};

/* One channel of the 8254: struct kvm_pit_channel_state.  count_load_time is in nanoseconds of the
 * host's CLOCK_BOOTTIME at the source: KVM ignores it on load. */
struct x86_pit_channel {
    uint32_t count; /* 1 to 65536 */
    uint16_t latched_count;
    uint8_t count_latched, status_latched, status;
    uint8_t read_state, write_state, write_latch, rw_mode, mode, bcd, gate;
    uint64_t count_load_time;
};

struct x86_pit {
    struct x86_pit_channel channels[3];
    uint32_t flags; /* KVM_PIT_FLAGS_* */
};

struct x86_vm_state {
    struct x86_pic pics[2]; /* master, slave */
    struct x86_ioapic ioapic;
    struct x86_pit pit;
};

extern const struct state_desc x86_cpuid_desc;
extern const struct state_desc x86_msr_list_desc;
extern const struct state_desc x86_vcpu_state_desc;
extern const struct state_desc x86_clock_state_desc;
extern const struct state_desc x86_vm_state_desc;

#endif
