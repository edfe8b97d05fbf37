/*
 * How fast a guest writes memory, measured while no migration runs: calc-dirty-rate.  Three ways to
 * see it: hashes of sampled pages before and after (free for the guest, an estimate), the dirty
 * bitmap, or the dirty ring, which tells it of each vCPU too.
 *
 * Main loop only; nothing here waits.
 */
#ifndef GODWIT_VMM_DIRTYRATE_H
#define GODWIT_VMM_DIRTYRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "state/x86_state.h"

#define DIRTYRATE_TIME_MAX_S  60
#define DIRTYRATE_SAMPLES     512 /* pages per GiB, unless told */
#define DIRTYRATE_SAMPLES_MIN 128
#define DIRTYRATE_SAMPLES_MAX 4096

struct monitor;
struct dirtyrate;

enum dirtyrate_mode {
    DIRTYRATE_PAGE_SAMPLING,
    DIRTYRATE_DIRTY_RING,
    DIRTYRATE_DIRTY_BITMAP,
    DIRTYRATE_MODE_COUNT
};

enum dirtyrate_status {
    DIRTYRATE_UNSTARTED,
    DIRTYRATE_MEASURING,
    DIRTYRATE_MEASURED,
    DIRTYRATE_STATUS_COUNT
};

struct dirtyrate_result {
    enum dirtyrate_status status;
    enum dirtyrate_mode mode;
    uint64_t start_s;     /* CLOCK_REALTIME; 0: never started */
    uint32_t seconds;     /* asked for */
    uint32_t samples;     /* pages per GiB (page-sampling) */
    bool valid;           /* there is a figure: measured, and not ended by a migration */
    uint64_t bytes_per_s; /* of the machine */
    uint32_t nvcpus;      /* dirty-ring: of each vCPU; else 0 */
    uint64_t vcpu_bytes_per_s[X86_VCPUS_MAX];
};

const char *dirtyrate_mode_name(enum dirtyrate_mode m);     /* "page-sampling", ... */
const char *dirtyrate_status_name(enum dirtyrate_status s); /* "unstarted", ... */

/* Begins to measure for `seconds` (1 .. DIRTYRATE_TIME_MAX_S).  samples: pages per GiB, 0: the
 * default.  -EBUSY: one is being measured, or a migration runs; -ENOTSUP: this machine has not the
 * ring (-accel kvm,dirty-ring-size=N), or has it and is asked for the bitmap; -ENODEV: no machine;
 * -EINVAL: out of bounds. */
int dirtyrate_start(struct monitor *m, enum dirtyrate_mode mode, uint32_t seconds, uint32_t samples,
                    struct err *e);
void dirtyrate_query(const struct monitor *m, struct dirtyrate_result *out);
/* Ends a measurement without a figure: before a migration begins, or the machine goes. */
void dirtyrate_abandon(struct monitor *m);
void dirtyrate_free(struct monitor *m);

#endif
