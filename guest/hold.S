/*
 * Idling with known values in the general registers, for canary.c: whoever stops and moves this
 * vCPU meanwhile must bring all of them back.
 *
 * uint64_t hold_spin(const uint64_t pattern[12], uint64_t until_tsc);
 * uint64_t hold_hlt(const uint64_t pattern[12]);
 *
 * Both return the OR of all differences. RAX, RDX and RCX are the clock's here, RDI the gate's.
 */
#include "layout.h"

    .macro enter
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq 0(%rdi), %rbx
    movq 8(%rdi), %rbp
    movq 16(%rdi), %rsi
    movq 24(%rdi), %r8
    movq 32(%rdi), %r9
    movq 40(%rdi), %r10
    movq 48(%rdi), %r11
    movq 56(%rdi), %r12
    movq 64(%rdi), %r13
    movq 72(%rdi), %r14
    movq 80(%rdi), %r15
    .endm

    .text
    .globl hold_spin
hold_spin:
    movq %rsi, %rcx
    enter
    movq 88(%rdi), %rdi
1:  pause
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    cmpq %rcx, %rax
    jb 1b
    movq (%rsp), %rcx
    xorq 88(%rcx), %rdi
    jmp compare

    .globl hold_hlt
hold_hlt:
    enter
    movl $GATE_IDLE, %edi
    hlt
    movq (%rsp), %rcx        /* EDI is 0 again */

compare:
    movq %rdi, %rax
    xorq 0(%rcx), %rbx
    orq %rbx, %rax
    xorq 8(%rcx), %rbp
    orq %rbp, %rax
    xorq 16(%rcx), %rsi
    orq %rsi, %rax
    xorq 24(%rcx), %r8
    orq %r8, %rax
    xorq 32(%rcx), %r9
    orq %r9, %rax
    xorq 40(%rcx), %r10
    orq %r10, %rax
    xorq 48(%rcx), %r11
    orq %r11, %rax
    xorq 56(%rcx), %r12
    orq %r12, %rax
    xorq 64(%rcx), %r13
    orq %r13, %rax
    xorq 72(%rcx), %r14
    orq %r14, %rax
    xorq 80(%rcx), %r15
    orq %r15, %rax
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .note.GNU-stack, "", @progbits
