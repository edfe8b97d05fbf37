/*
 * Arithmetic of guest time: a guest's TSC as a function of the host's.  Pure functions; see
 * kvm_clock.c for the theory.
 *
 *   guest_tsc = scale(host_tsc) + offset, scale(x) = x * guest_khz / host_khz where KVM scales
 */
#ifndef GODWIT_HV_TSC_H
#define GODWIT_HV_TSC_H

#include <stdbool.h>
#include <stdint.h>

/* Distance of two rates in parts per million of `host`, rounded up. */
uint64_t tsc_ppm(uint32_t guest_khz, uint32_t host_khz);
uint64_t tsc_scale(uint64_t host_tsc, uint32_t guest_khz, uint32_t host_khz, bool scaled);
/* Ticks of a clock of khz in ns (which may be negative). */
int64_t tsc_ticks(int64_t ns, uint32_t khz);
/* How far a clock saved at `saved` is to be advanced at `now`, both CLOCK_REALTIME: 0 when the
 * destination's clock is behind, one hour at most (hosts whose clocks disagree by more are broken,
 * and so would be the guest). */
uint64_t tsc_clamp_elapsed(uint64_t saved_ns, uint64_t now_ns);

/* A guest's TSC on its way from one instant of the source to one of the destination. */
struct tsc_move {
    uint64_t tsc_then;                    /* the guest's TSC at the source's instant */
    uint64_t clock_then_ns, clock_now_ns; /* its kvmclock at both */
    uint32_t guest_khz;
    uint64_t host_tsc_now; /* the destination's TSC at the second */
    uint32_t host_khz;
    bool scaled; /* by the destination's KVM */
};

/* The TSC offset with which the guest's TSC goes on as its clock did. */
uint64_t tsc_offset(const struct tsc_move *m);

#define TSC_ELAPSED_MAX_NS (3600ULL * 1000000000ULL)

#endif
