/*
 * A real-time clock with CMOS memory: Motorola MC146818A (data sheet ADI856R2) at ports 0x70 and
 * 0x71, interrupt line 8; alarm, periodic and update-ended interrupts.  Time is CLOCK_REALTIME
 * (UTC) plus an offset the guest makes by setting the clock.
 */
#ifndef GODWIT_DEVICE_RTC_H
#define GODWIT_DEVICE_RTC_H

#include "base/loop.h"
#include "device/bus.h"
#include "hv/hv.h"

struct rtc;

struct rtc_config {
    struct bus *pio;
    struct loop *loop; /* timers fire on its thread; rtc_new and its free are called there */
    struct hv_vm *vm;
    uint32_t gsi;
    uint64_t low_ram, high_ram; /* bytes below the hole and from 4 GiB on, for CMOS memory */
};

int rtc_new(const struct rtc_config *c, const char *id, struct rtc **out, struct err *e);
struct device *rtc_device(struct rtc *r);

#endif
