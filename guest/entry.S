/*
 * How the witness gets from the PVH entry to ring 3, and the little that ring 0 does afterwards.
 *
 * Theory of operation. Some hosts run ring 3 of long mode natively and emulate everything else one
 * instruction at a time, so ring 0 is kept to a few dozen instructions: the page tables are
 * assembled, the descriptor tables are assembled or written from ring 3, and every processor, boot
 * or application, walks the same path: protected mode, long mode, task register, IRETQ to ring 3
 * with IOPL 3 and an open I/O map. From there port I/O needs no help. What does need ring 0 (an
 * interruptible HLT, MSRs, control and debug registers) is asked for by executing HLT in ring 3:
 * the #GP handler takes the service number from EDI. Any other fault ends in panic() in ring 3.
 *
 * PVH: https://xenbits.xen.org/docs/unstable/misc/pvh.html: 32-bit protected mode, flat segments,
 * paging off, EBX = hvm_start_info.
 */
#include "layout.h"

/* The exceptions that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
#define ERROR_CODES (1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17)

#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define CR4_BOOT  0x620      /* PAE, OSFXSR, OSXMMEXCPT */
#define CR0_BOOT  0x80010033 /* PG, WP, NE, ET, MP, PE; caches on */
#define FLAGS_RING3 0x3002   /* IOPL 3, interrupts off: they are taken in the idle service only */

    .section .note.Xen, "a", @note
    .align 4
    .long 4, 8, 18           /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad pvh_entry

    .section .text.entry, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    movl %ebx, boot_info
    movl $boot_cpu, %ebp
    jmp enter_long_mode

/* Application processors arrive here from the trampoline with flat 32-bit code. */
ap_entry:
    movl $SEL_DATA32, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $1, %eax
    cpuid
    shrl $24, %ebx           /* initial APIC id */
    movl cpu_table(,%ebx,8), %ebp
    testl %ebp, %ebp
    jnz enter_long_mode
1:  hlt
    jmp 1b

/* EBP = struct cpu of this processor. */
enter_long_mode:
    lgdt gdt_pointer
    movl $CR4_BOOT, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl $CR0_BOOT, %eax
    movl %eax, %cr0
    ljmp $SEL_CODE64, $long_mode

    .code64
long_mode:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %ebp, %ebp
    leaq CPU_RING0_SP(%rbp), %rsp
    lidt idt_pointer

    /*
     * The task segment holds RSP0 and a map that opens every I/O port: where ring 3 runs natively
     * below an emulating host, IOPL gets lost and the map decides. The descriptor takes the base in
     * pieces.
     */
    movq %rsp, CPU_TSS+4(%rbp)
    movw $TSS_MAP, CPU_TSS+102(%rbp)
    movb $0xff, CPU_TSS+TSS_SIZE-1(%rbp)
    movl CPU_INDEX(%rbp), %ecx
    shll $4, %ecx
    leal CPU_TSS(%ebp), %eax
    movl %eax, %edx
    shll $16, %eax
    movw $TSS_SIZE - 1, %ax
    movl %eax, gdt+SEL_TSS(%rcx)
    movl %edx, %eax
    shrl $16, %edx
    andl $0xff, %edx
    andl $0xff000000, %eax
    orl %edx, %eax
    orl $0x8900, %eax        /* present, 64-bit TSS, available */
    movl %eax, gdt+SEL_TSS+4(%rcx)
    addl $SEL_TSS, %ecx
    ltr %cx

    movq %rbp, %rdi
    pushq $SEL_UDATA
    pushq CPU_USER_SP(%rbp)
    pushq $FLAGS_RING3
    pushq $SEL_UCODE
    pushq CPU_ENTRY(%rbp)
    iretq

/*
 * One stub a vector, STUB_SIZE apart; the C side points the IDT at them. Every stub leaves
 * {vector, error} on the stack; vectors without an error code push a zero.
 */
    .align 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 32
    .align STUB_SIZE
    .if vector == 13
    jmp general_protection
    .else
    .if (1 << vector) & ~ERROR_CODES
    pushq $0
    .endif
    pushq $vector
    jmp fault
    .endif
    .set vector, vector + 1
    .endr

    .globl timer_stub, spurious_stub
timer_stub:
    pushq %rax
    movl $LAPIC_BASE + 0xb0, %eax
    movl $0, (%rax)          /* end of interrupt */
    popq %rax
spurious_stub:
    iretq

/* Stack: error, rip, cs, rflags, rsp, ss. */
general_protection:
    testb $3, 16(%rsp)
    jz gate_fixup
    pushq %rax
    movq 16(%rsp), %rax
    cmpb $0xf4, (%rax)       /* HLT */
    popq %rax
    jne 1f
    cmpl $GATE_SHUTDOWN, %edi
    ja 1f
    addq $8, %rsp
    incq (%rsp)              /* step over the HLT */
    movl %edi, %edi
    jmp *gate_table(,%rdi,8)
1:  pushq $13
    jmp fault

/*
 * The services. Arguments and results travel in the registers the instructions themselves use; EDI
 * comes back 0, or 1 when the instruction faulted.
 */
gate_idle:
    sti
    hlt
    cli
gate_done:
    xorl %edi, %edi
    iretq
gate_rdmsr:
    rdmsr
    jmp gate_done
gate_wrmsr:
    wrmsr
    jmp gate_done
gate_cpuid:
    cpuid
    jmp gate_done
gate_get_dr:
    movq %dr0, %r8
    movq %dr1, %r9
    movq %dr2, %r10
    movq %dr3, %r11
    jmp gate_done
gate_set_dr:
    movq %r8, %dr0
    movq %r9, %dr1
    movq %r10, %dr2
    movq %r11, %dr3
    jmp gate_done
gate_get_cr:
    movq %cr0, %r8
    movq %cr2, %r9
    movq %cr3, %r10
    movq %cr4, %r11
    jmp gate_done
gate_osxsave:
    movq %cr4, %rax
    orl $0x40000, %eax
    movq %rax, %cr4
    jmp gate_done
gate_xsetbv:
    xsetbv
    jmp gate_done
gate_shutdown:               /* no table to find a handler in: a triple fault */
    lidt no_idt
    ud2
gate_end:

/* A fault of ring 0 itself: tolerated inside the services only, which then answer EDI = 1. */
gate_fixup:
    pushq %rax
    movq 16(%rsp), %rax
    cmpq $gate_idle, %rax
    jb 2f
    cmpq $gate_end, %rax
    jae 2f
    popq %rax
    addq $8, %rsp
    movq $gate_failed, (%rsp)
    iretq
2:  popq %rax
    pushq $13
    jmp fault
gate_failed:
    movl $1, %edi
    iretq

/* Stack: vector, error, rip, cs, rflags, rsp, ss. Nothing returns from here. */
fault:
    pushq %rbx
    movq %rsp, %rbx
    decq %rbx
    andq $-4096, %rbx        /* the ring-0 stack lies in the first page of struct cpu */
    cmpq $0, CPU_FAULT+16(%rbx)
    jne dead                 /* the second fault: not even panic() works */
    popq CPU_FAULT+40(%rbx)  /* rbx at the fault */
    popq CPU_FAULT+0(%rbx)   /* vector */
    popq CPU_FAULT+8(%rbx)   /* error */
    popq CPU_FAULT+16(%rbx)  /* rip */
    movq 16(%rsp), %rax
    movq %rax, CPU_FAULT+24(%rbx)
    movq %cr2, %rax
    movq %rax, CPU_FAULT+32(%rbx)
    leaq CPU_RING0_SP(%rbx), %rsp
    movq %rbx, %rdi
    pushq $SEL_UDATA
    pushq CPU_USER_SP(%rbx)
    pushq $FLAGS_RING3
    pushq $SEL_UCODE
    pushq $panic
    iretq
dead:
    cli
    hlt
    jmp dead

/* Copied to TRAMPOLINE by smp.c. */
    .globl trampoline, trampoline_end
    .code16
trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt - trampoline
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $SEL_CODE32, $ap_entry
    .align 4
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:
    .code64

    .section .rodata, "a"
    .align 8
gate_table:
    .quad gate_idle, gate_rdmsr, gate_wrmsr, gate_cpuid, gate_get_dr, gate_set_dr, gate_get_cr
    .quad gate_xsetbv, gate_osxsave, gate_shutdown

    .section .data
    .align 16
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff /* SEL_CODE32 */
    .quad 0x00cf92000000ffff /* SEL_DATA32 */
    .quad 0x00af9a000000ffff /* SEL_CODE64 */
    .quad 0x00cff2000000ffff /* SEL_UDATA */
    .quad 0x00affa000000ffff /* SEL_UCODE */
    .fill 2 * (MAX_CPUS + 1), 8, 0
gdt_end:
    .align 8
    .word 0, 0, 0
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .word 0, 0, 0
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
no_idt:
    .word 0
    .quad 0
    .globl boot_info
    .align 4
boot_info:
    .long 0

/*
 * The first 4 GiB, identity-mapped for ring 3 by 2 MiB pages, assembled so that ring 0 need not
 * write them. The I/O APIC and LAPIC pages are uncached. pages.c adds what lies above.
 */
#define PTE_TABLE 0x07       /* present, writable, user */
#define PTE_LARGE 0x87
#define PTE_MMIO  0x9f       /* with PWT, PCD */

    .globl pml4, low_pdpt
    .align 4096
pml4:
    .quad low_pdpt + PTE_TABLE
    .fill 511, 8, 0
low_pdpt:
    .quad low_pd + PTE_TABLE, low_pd + 4096 + PTE_TABLE
    .quad low_pd + 8192 + PTE_TABLE, low_pd + 12288 + PTE_TABLE
    .fill 508, 8, 0
low_pd:
    .set page, 0
    .rept 2048
    .if page == 0x7f6 || page == 0x7f7  /* 0xfec00000, 0xfee00000 */
    .quad (page << 21) + PTE_MMIO
    .else
    .quad (page << 21) + PTE_LARGE
    .endif
    .set page, page + 1
    .endr

    .section .note.GNU-stack, "", @progbits
