/* Numbers that the assembly and the C side of the witness must agree on; cpu.h asserts the C side.
 */
#ifndef WITNESS_LAYOUT_H
#define WITNESS_LAYOUT_H

/* Segment selectors, in the order of the table in entry.S. Task segments follow, 16 bytes a CPU. */
#define SEL_CODE32 0x08
#define SEL_DATA32 0x10
#define SEL_CODE64 0x18
#define SEL_UDATA  0x23
#define SEL_UCODE  0x2b
#define SEL_TSS    0x30

/* struct cpu: one page-aligned block a CPU; its first page ends with the ring-0 stack. */
#define CPU_INDEX    0
#define CPU_ENTRY    8
#define CPU_USER_SP  16
#define CPU_FAULT    24
#define CPU_RING0_SP 4096
#define CPU_TSS      4096
#define TSS_MAP      104                  /* where the I/O map begins */
#define TSS_SIZE     (TSS_MAP + 8192 + 1) /* 65536 ports, and the byte of ones that ends them */

#define MAX_CPUS 254

/* The page below 1 MiB from which application processors start: SIPI vector = address / 4096. */
#define TRAMPOLINE 0x8000

#define LAPIC_BASE    0xfee00000
#define VECTOR_TIMER  0x20
#define VECTOR_SPURIO 0xff
#define STUB_SIZE     16

/* Services of ring 0, asked for by HLT with the number in EDI. */
#define GATE_IDLE     0
#define GATE_RDMSR    1
#define GATE_WRMSR    2
#define GATE_CPUID    3
#define GATE_GET_DR   4
#define GATE_SET_DR   5
#define GATE_GET_CR   6
#define GATE_XSETBV   7
#define GATE_OSXSAVE  8
#define GATE_SHUTDOWN 9

#endif
