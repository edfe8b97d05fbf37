/*
 * What belongs to one processor. The block starts with what entry.S uses and the ring-0 stack, all
 * in the first page; the ring-3 stack lies behind the block. A processor writes its own block only;
 * the boot processor reads all of them.
 */
#ifndef WITNESS_CPU_H
#define WITNESS_CPU_H

#include <stddef.h>
#include <stdint.h>

#include "canary.h"
#include "gaps.h"
#include "layout.h"
#include "pattern.h"
#include "workset.h"

#define CPU_EVENTS      16u
#define USER_STACK_SIZE 16384

enum event_kind {
    EVENT_NONE,
    EVENT_WORD,    /* a word of static data differs */
    EVENT_LOST,    /* a page of the working set is older than it must be */
    EVENT_NEWER,   /* ... newer */
    EVENT_MANGLED, /* ... damaged */
    EVENT_STATE,   /* a word of processor or device state differs */
    EVENT_DEAD,    /* this processor took a fault and has stopped */
    EVENT_KINDS,
};

struct event {
    enum event_kind kind;
    uint64_t where; /* guest-physical address; for EVENT_DEAD the instruction's */
    uint64_t want, got;
    const char *what; /* EVENT_STATE: the word's name */
    uint64_t words;   /* EVENT_WORD: how many of the page differ; where is the first */
};

struct fault {
    uint64_t vector, error, rip, rsp, cr2, rbx;
};

struct cpu {
    uint64_t index; /* also the APIC id */
    void (*entry)(struct cpu *);
    uint64_t user_sp;
    struct fault fault;
    uint8_t ring0_stack[CPU_RING0_SP - CPU_FAULT - sizeof(struct fault)];
    uint8_t tss[TSS_SIZE]; /* zero: every port is open */

    struct gaps gaps;
    struct pattern pattern;
    struct workset workset;
    struct canary canary;

    uint32_t online; /* runs in ring 3 */
    uint32_t ready;  /* has filled its slices */
    uint32_t dead;

    /* Single producer (this processor), single consumer (the boot processor). */
    struct event event[CPU_EVENTS];
    uint32_t event_head, event_tail;
    uint64_t events_dropped;
} __attribute__((aligned(4096)));

_Static_assert(offsetof(struct cpu, index) == CPU_INDEX, "entry.S");
_Static_assert(offsetof(struct cpu, entry) == CPU_ENTRY, "entry.S");
_Static_assert(offsetof(struct cpu, user_sp) == CPU_USER_SP, "entry.S");
_Static_assert(offsetof(struct cpu, fault) == CPU_FAULT, "entry.S");
_Static_assert(offsetof(struct cpu, tss) == CPU_TSS, "entry.S");
_Static_assert(CPU_TSS >= CPU_RING0_SP, "entry.S");

/* Hands an event to the boot processor for printing; never waits. */
void cpu_event(struct cpu *c, struct event e);

/* What there is to say about a processor that took a fault. */
struct event cpu_death(const struct cpu *c);

/* Boot processor: the oldest event not yet taken, if any. */
bool cpu_next_event(struct cpu *c, struct event *e);

#endif
