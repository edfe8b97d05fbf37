/* Time as the monitor measures it: nanoseconds of CLOCK_MONOTONIC, and wall-clock nanoseconds. */
#ifndef GODWIT_BASE_CLOCK_H
#define GODWIT_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_US 1000ULL

uint64_t clock_now_ns(void);
uint64_t clock_realtime_ns(void);
void clock_sleep_ns(uint64_t ns);

#endif
