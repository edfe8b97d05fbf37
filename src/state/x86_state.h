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
    uint8_t vcpu_events[64]; /* struct kvm_vcpu_events, Linux uapi asm/kvm.h */
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
    uint64_t host_tsc;    /* valid if host_tsc_valid */
    uint8_t realtime_valid, host_tsc_valid;
};

struct x86_vm_state {
    uint8_t pic_master[64], pic_slave[64]; /* struct kvm_pic_state, zero-padded */
    uint8_t ioapic[256];                   /* struct kvm_ioapic_state, zero-padded */
    uint8_t pit[128];                      /* struct kvm_pit_state2, zero-padded */
};

extern const struct state_desc x86_vcpu_state_desc;
extern const struct state_desc x86_clock_state_desc;
extern const struct state_desc x86_vm_state_desc;

#endif
