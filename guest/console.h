/*
 * COM1, a character at a time. Port I/O leaves the guest and costs tens of microseconds, so lines
 * are queued whole and sent one character a step of the boot processor's work; printing is then no
 * gap. Boot processor only.
 */
#ifndef WITNESS_CONSOLE_H
#define WITNESS_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

void console_init(void);

/* Queues the line and a newline. A line that does not fit as a whole is dropped and counted. */
void console_line(const struct text *t);

uint64_t console_dropped(void);

/* Sends one character if there is one and the port takes it; true when it did. */
bool console_step(void);

/* A character typed by the host, or -1. Costs an exit: call it now and then. */
int console_read(void);

/* Sends everything queued and returns when it is gone (or the port has stopped taking it). */
void console_drain(void);

#endif
