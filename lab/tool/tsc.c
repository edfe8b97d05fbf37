/*
 * labtool tsc: the rate of this machine's time-stamp counter in kHz.
 *
 * It runs on the machine the lab is built on. TCG passes that counter on to emulated hosts, whose
 * own calibration against emulated timers goes wrong by any factor when the machine is busy.
 */
#include "exchange.h"
#include "tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>

enum { MEASURE_US = 200000, TRIES = 16 };

struct reading {
    uint64_t ticks;
    int64_t ns;
};

/* Of several readings the one whose clock was read in the fewest ticks: it was not interrupted. */
static struct reading read_both(void)
{
    struct reading best = {0, 0};
    uint64_t shortest = UINT64_MAX;

    for (int i = 0; i < TRIES; i++) {
        uint64_t before = __rdtsc();
        int64_t ns = exchange_now(CLOCK_MONOTONIC_RAW);
        uint64_t took = __rdtsc() - before;

        if (took < shortest) {
            shortest = took;
            best = (struct reading){before + took / 2, ns};
        }
    }
    return best;
}

int cmd_tsc(int argc, char **argv)
{
    struct reading first = read_both(), second;

    usleep(MEASURE_US);
    second = read_both();
    printf("%.0f\n", (double)(second.ticks - first.ticks) * 1e6 / (double)(second.ns - first.ns));
    return 0;
}
#else
int cmd_tsc(int argc, char **argv)
{
    fprintf(stderr, "tsc: this machine has none\n");
    return 1;
}
#endif
