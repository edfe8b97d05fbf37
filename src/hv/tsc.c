#include "hv/tsc.h"

uint64_t tsc_ppm(uint32_t guest_khz, uint32_t host_khz)
{
    uint64_t diff = guest_khz > host_khz ? guest_khz - host_khz : host_khz - guest_khz;

    if (host_khz == 0)
        return UINT64_MAX;
    return (diff * 1000000 + host_khz - 1) / host_khz;
}

uint64_t tsc_scale(uint64_t host_tsc, uint32_t guest_khz, uint32_t host_khz, bool scaled)
{
    if (!scaled || host_khz == 0)
        return host_tsc;
    return (uint64_t)((unsigned __int128)host_tsc * guest_khz / host_khz);
}

int64_t tsc_ticks(int64_t ns, uint32_t khz)
{
    return (int64_t)((__int128)ns * khz / 1000000);
}

uint64_t tsc_clamp_elapsed(uint64_t saved_ns, uint64_t now_ns)
{
    if (now_ns <= saved_ns)
        return 0;
    return now_ns - saved_ns < TSC_ELAPSED_MAX_NS ? now_ns - saved_ns : TSC_ELAPSED_MAX_NS;
}

uint64_t tsc_offset(const struct tsc_move *m)
{
    int64_t went_by = (int64_t)(m->clock_now_ns - m->clock_then_ns);

    return m->tsc_then + (uint64_t)tsc_ticks(went_by, m->guest_khz) -
           tsc_scale(m->host_tsc_now, m->guest_khz, m->host_khz, m->scaled);
}
