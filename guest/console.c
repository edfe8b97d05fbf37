#include "console.h"

#include "clock.h"
#include "x86.h"

/* 16550: National Semiconductor PC16550D. */
#define COM1      0x3f8
#define REG_DATA  (COM1 + 0)
#define REG_IER   (COM1 + 1)
#define REG_FCR   (COM1 + 2)
#define REG_LCR   (COM1 + 3)
#define REG_MCR   (COM1 + 4)
#define REG_LSR   (COM1 + 5)
#define LSR_DATA  0x01
#define LSR_EMPTY 0x20
#define FIFO      16u

#define FULL_US 50000u
#define QUEUE   16384u

static char queue[QUEUE];
static uint32_t head, tail;
static unsigned room; /* characters the transmit FIFO takes before its state must be read again */
static uint64_t full_since; /* TSC at which the port was first seen full, 0 = it is not */
static uint64_t dropped;

void console_init(void)
{
    outb(REG_IER, 0);
    outb(REG_LCR, 0x80); /* divisor latch: 115200 baud */
    outb(REG_DATA, 1);
    outb(REG_IER, 0);
    outb(REG_LCR, 0x03); /* 8N1 */
    outb(REG_FCR, 0x07); /* FIFOs on and empty */
    outb(REG_MCR, 0x03);
}

void console_line(const struct text *t)
{
    if (QUEUE - (head - tail) < t->len + 1) {
        dropped++;
        return;
    }
    for (size_t i = 0; i < t->len; i++)
        queue[head++ % QUEUE] = t->buf[i];
    queue[head++ % QUEUE] = '\n';
}

uint64_t console_dropped(void)
{
    return dropped;
}

/* A port that stays full for long is written to all the same: characters may be lost, but a console
 * nobody drains must not silence the witness for ever. */
static unsigned find_room(void)
{
    uint64_t now = tsc_now();

    if (inb(REG_LSR) & LSR_EMPTY) {
        full_since = 0;
        return FIFO;
    }
    if (!full_since)
        full_since = now;
    return now - full_since > ticks_of_us(FULL_US) ? 1 : 0;
}

bool console_step(void)
{
    if (head == tail)
        return false;
    if (!room)
        room = find_room();
    if (!room)
        return false;
    outb(REG_DATA, (uint8_t)queue[tail++ % QUEUE]);
    room--;
    return true;
}

int console_read(void)
{
    return inb(REG_LSR) & LSR_DATA ? inb(REG_DATA) : -1;
}

void console_drain(void)
{
    unsigned stuck = 0;

    while (head != tail && stuck < 100000)
        stuck = console_step() ? 0 : stuck + 1;
}
