/* The state of a 16550A UART: its registers (PC16550D data sheet, sec. 8) and what waits in its
 * receive FIFO, oldest first. */
#ifndef GODWIT_STATE_SERIAL_STATE_H
#define GODWIT_STATE_SERIAL_STATE_H

#include <stdint.h>

#include "state/field.h"

#define SERIAL_FIFO_SIZE 16

struct serial_state {
    uint8_t id[64];
    uint8_t divisor_low, divisor_high;
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr_errors;   /* the error bits of LSR; data ready and empty follow from the FIFO */
    uint8_t msr_delta;    /* the four delta bits of MSR */
    uint8_t thre_pending; /* "transmitter empty" is to be signalled */
    uint32_t rx_count;
    uint8_t rx[SERIAL_FIFO_SIZE];
};

extern const struct state_desc serial_state_desc;

#endif
