/*
 * The host's end of the guest's serial port: stdio, a file, a unix socket (one client at a time), a
 * pty, or nothing.  Output never blocks a vCPU: what the host's end does not take waits in a bounded
 * buffer, and past that the oldest bytes are lost.  All on the main loop; output from any thread.
 */
#ifndef GODWIT_VMM_CONSOLE_H
#define GODWIT_VMM_CONSOLE_H

#include "base/err.h"
#include "base/loop.h"
#include "device/serial.h"
#include "vmm/options.h"

struct console;

int console_new(struct loop *loop, const struct vmm_options *o, struct console **out,
                struct err *e);
void console_free(struct console *c); /* restores a terminal; NULL is fine */
void console_attach(struct console *c, struct serial *s);
void console_detach(struct console *c);

#endif
