/* What the command line asks for. README.md lists the words. */
#ifndef WITNESS_CONFIG_H
#define WITNESS_CONFIG_H

#include <stdint.h>

enum idle_mode { IDLE_HLT, IDLE_SPIN, IDLE_OFF };

struct config {
    uint64_t static_mib, ws_mib;
    uint64_t rate;      /* MiB/s dirtied by all vCPUs together, 0 = flat out */
    uint64_t verify_ms; /* time for one pass over the static data, 0 = flat out */
    uint64_t smp, seed, period_ms;
    uint64_t text; /* static data that compresses as text does, not random */
    uint64_t idle; /* enum idle_mode */
    uint64_t idle_us;
    uint64_t above4g, state;
    uint64_t tsc_khz; /* 0 = find out */
    uint64_t pm1a;
    uint64_t off_ms, reset_ms; /* power off or reset by itself after so long, 0 = never */

    char unknown[24]; /* the first word that is not ours (a monitor may add its own), or "" */
    char wrong[24];   /* the first of our words with a value that cannot be, or "" */
};

/* Fills in defaults, then reads key=value words separated by spaces. */
void config_parse(struct config *c, const char *line);

const char *config_idle_name(const struct config *c);

#endif
