/* The state of an MC146818 real-time clock and its CMOS memory.  The clock's time is the host's
 * CLOCK_REALTIME plus an offset, so that it stays right on a host whose clock is. */
#ifndef GODWIT_STATE_RTC_STATE_H
#define GODWIT_STATE_RTC_STATE_H

#include <stdint.h>

#include "state/field.h"

#define RTC_CMOS_SIZE 128

struct rtc_state {
    uint8_t id[64];
    uint8_t index;               /* last written to port 0x70, NMI mask bit included */
    uint8_t cmos[RTC_CMOS_SIZE]; /* registers A to D, alarm and memory; time bytes are not used */
    uint64_t offset_ns;          /* two's complement: guest time - CLOCK_REALTIME */
    uint64_t frozen_ns; /* the guest's time (since 1900) while register B's SET bit holds it */
    uint64_t seen_ns;   /* guest time (since 1900) up to which the flags of register C are right */
};

extern const struct state_desc rtc_state_desc;

#endif
