#include "trap.h"

#include "console.h"
#include "report.h"
#include "witness.h"

#define GATE_INTERRUPT 0x8e00u /* present, ring 0, interrupts off */
#define PORT_PIC1      0x21
#define PORT_PIC2      0xa1
#define EXCEPTIONS     32u

struct idt_entry {
    uint16_t offset0, selector, type, offset1;
    uint32_t offset2, reserved;
};

extern char trap_stubs[], timer_stub[], spurious_stub[];

struct idt_entry idt[256] __attribute__((aligned(16)));

static void set_gate(unsigned vector, const char *stub)
{
    uintptr_t at = (uintptr_t)stub;

    idt[vector] = (struct idt_entry){(uint16_t)at,         SEL_CODE64,           GATE_INTERRUPT,
                                     (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

void trap_init(void)
{
    for (unsigned i = 0; i < EXCEPTIONS; i++)
        set_gate(i, trap_stubs + (size_t)i * STUB_SIZE);
    set_gate(VECTOR_TIMER, timer_stub);
    set_gate(VECTOR_SPURIO, spurious_stub);
    outb(PORT_PIC1, 0xff); /* whatever the firmware left unmasked */
    outb(PORT_PIC2, 0xff);
}

void halt_forever(void)
{
    for (;;)
        __asm__ volatile("hlt" : : "D"(GATE_IDLE) : "memory");
}

void panic(struct cpu *c)
{
    c->dead = 1;
    if (c == &boot_cpu) { /* nobody else prints */
        report_dead(c);
        console_drain();
    } else {
        cpu_event(c, cpu_death(c));
    }
    halt_forever();
}
