/* Field tables of x86_state.h: every field by name, so that a stream can be read without a table.
 */
#include "state/x86_state.h"

#define U8(f)  FIELD(S, FIELD_U8, f)
#define U16(f) FIELD(S, FIELD_U16, f)
#define U32(f) FIELD(S, FIELD_U32, f)
#define U64(f) FIELD(S, FIELD_U64, f)

/* A line of a table is a line of its struct. */
/* clang-format off */

#define S struct x86_cpuid_entry
static const struct field cpuid_entry_fields[] = {
    U32(function), U32(index), U32(flags), U32(eax), U32(ebx), U32(ecx), U32(edx),
};
static STATE_DESC(cpuid_entry_desc, "cpuid-entry", 1, S, cpuid_entry_fields);
#undef S

#define S struct x86_cpuid
static const struct field cpuid_fields[] = {
    {.name = "entries", .type = FIELD_STRUCT, .offset = offsetof(S, entries),
     .count = X86_CPUID_MAX, .size = sizeof(struct x86_cpuid_entry),
     .len_offset = (int32_t)offsetof(S, n), .since = 1, .sub = &cpuid_entry_desc},
};
STATE_DESC(x86_cpuid_desc, "x86-cpuid", 1, S, cpuid_fields);
#undef S

#define S struct x86_msr_list
static const struct field msr_list_fields[] = {
    FIELD_VARRAY(S, FIELD_U32, index, n),
};
STATE_DESC(x86_msr_list_desc, "x86-msr-list", 1, S, msr_list_fields);
#undef S

#define S struct x86_regs
static const struct field regs_fields[] = {
    U64(rax), U64(rbx), U64(rcx), U64(rdx), U64(rsi), U64(rdi), U64(rsp), U64(rbp),
    U64(r8), U64(r9), U64(r10), U64(r11), U64(r12), U64(r13), U64(r14), U64(r15),
    U64(rip), U64(rflags),
};
static STATE_DESC(regs_desc, "x86-regs", 1, S, regs_fields);
#undef S

#define S struct x86_segment
static const struct field segment_fields[] = {
    U64(base), U32(limit), U16(selector),
    U8(type), U8(present), U8(dpl), U8(db), U8(s), U8(l), U8(g), U8(avl), U8(unusable),
};
static STATE_DESC(segment_desc, "x86-segment", 1, S, segment_fields);
#undef S

#define S struct x86_dtable
static const struct field dtable_fields[] = {U64(base), U16(limit)};
static STATE_DESC(dtable_desc, "x86-dtable", 1, S, dtable_fields);
#undef S

#define S struct x86_sregs
#define SEGMENT(f) FIELD_ONE(S, f, &segment_desc)
static const struct field sregs_fields[] = {
    SEGMENT(cs), SEGMENT(ds), SEGMENT(es), SEGMENT(fs), SEGMENT(gs), SEGMENT(ss),
    SEGMENT(tr), SEGMENT(ldt), FIELD_ONE(S, gdt, &dtable_desc), FIELD_ONE(S, idt, &dtable_desc),
    U64(cr0), U64(cr2), U64(cr3), U64(cr4), U64(cr8), U64(efer), U64(apic_base),
    U64(sregs2_flags), FIELD_ARRAY(S, FIELD_U64, pdptrs),
};
static STATE_DESC(sregs_desc, "x86-sregs", 1, S, sregs_fields);
#undef S

#define S struct x86_events
static const struct field events_fields[] = {
    U8(exception_injected), U8(exception_nr), U8(exception_has_error_code), U8(exception_pending),
    U32(exception_error_code), U8(exception_has_payload), U64(exception_payload),
    U8(interrupt_injected), U8(interrupt_nr), U8(interrupt_soft), U8(interrupt_shadow),
    U8(nmi_injected), U8(nmi_pending), U8(nmi_masked),
    U8(smi_smm), U8(smi_pending), U8(smi_inside_nmi), U8(smi_latched_init),
    U8(triple_fault_pending), U32(sipi_vector), U32(flags),
};
static STATE_DESC(events_desc, "x86-events", 1, S, events_fields);
#undef S

#define S struct x86_vcpu_state
static const struct field vcpu_fields[] = {
    FIELD_ONE(S, regs, &regs_desc), FIELD_ONE(S, sregs, &sregs_desc),
    FIELD_VARRAY(S, FIELD_U64, xcrs, nxcrs), FIELD_VARRAY(S, FIELD_U32, xcr_index, nxcrs),
    FIELD_VARRAY(S, FIELD_BYTES, xsave, xsave_size),
    FIELD_VARRAY(S, FIELD_U32, msr_index, nmsrs), FIELD_VARRAY(S, FIELD_U64, msr_value, nmsrs),
    FIELD_BLOB(S, lapic), FIELD_ONE(S, events, &events_desc),
    FIELD_ARRAY(S, FIELD_U64, db), U64(dr6), U64(dr7), U32(mp_state),
    U64(tsc_offset), U8(tsc_offset_valid), U64(tsc), U64(tsc_deadline), U32(tsc_khz),
};
STATE_DESC(x86_vcpu_state_desc, "x86-vcpu", 1, S, vcpu_fields);
#undef S

#define S struct x86_clock_state
static const struct field clock_fields[] = {
    U64(clock_ns), U64(realtime_ns), U64(host_tsc), U32(host_tsc_khz),
    U8(realtime_valid), U8(host_tsc_valid), U8(tsc_scaled),
};
STATE_DESC(x86_clock_state_desc, "x86-clock", 1, S, clock_fields);
#undef S

#define S struct x86_pic
static const struct field pic_fields[] = {
    U8(last_irr), U8(irr), U8(imr), U8(isr), U8(priority_add), U8(irq_base),
    U8(read_reg_select), U8(poll), U8(special_mask), U8(init_state), U8(auto_eoi),
    U8(rotate_on_auto_eoi), U8(special_fully_nested_mode), U8(init4), U8(elcr), U8(elcr_mask),
};
static STATE_DESC(pic_desc, "x86-pic", 1, S, pic_fields);
#undef S

#define S struct x86_ioapic
static const struct field ioapic_fields[] = {
    U64(base_address), U32(ioregsel), U32(id), U32(irr), FIELD_ARRAY(S, FIELD_U64, redirtbl),
};
static STATE_DESC(ioapic_desc, "x86-ioapic", 1, S, ioapic_fields);
#undef S

#define S struct x86_pit_channel
static const struct field pit_channel_fields[] = {
    U32(count), U16(latched_count), U8(count_latched), U8(status_latched), U8(status),
    U8(read_state), U8(write_state), U8(write_latch), U8(rw_mode), U8(mode), U8(bcd), U8(gate),
    U64(count_load_time),
};
static STATE_DESC(pit_channel_desc, "x86-pit-channel", 1, S, pit_channel_fields);
#undef S

#define S struct x86_pit
static const struct field pit_fields[] = {
    FIELD_STRUCTS(S, channels, &pit_channel_desc), U32(flags),
};
static STATE_DESC(pit_desc, "x86-pit", 1, S, pit_fields);
#undef S

#define S struct x86_vm_state
static const struct field vm_fields[] = {
    FIELD_STRUCTS(S, pics, &pic_desc), FIELD_ONE(S, ioapic, &ioapic_desc),
    FIELD_ONE(S, pit, &pit_desc),
};
STATE_DESC(x86_vm_state_desc, "x86-chips", 1, S, vm_fields);
#undef S
