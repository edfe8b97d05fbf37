/*
 * A guest without a hypervisor: memory in memfds, a thread that dirties it and marks what it wrote,
 * and both ops tables of the engine over that.  Everything an engine can do wrong shows here:
 * callbacks are counted and their order is checked, both sides report to one `world` that sees two
 * machines running at once, memory and state are compared byte by byte.
 *
 * Faults are injected through the callbacks: each has a slot that may fail, sleep or call back into
 * the test.  The engine itself knows nothing of this.
 */
#ifndef TEST_FAKE_GUEST_H
#define TEST_FAKE_GUEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "godwit/migrate.h"

#define FAKE_REGIONS_MAX 4
#define FAKE_STATE_SIZE  30000

/* Who runs, over both sides. */
struct fake_world {
    atomic_int running; /* machines running now */
    atomic_bool broken; /* it was more than one at some moment */
};

enum fake_call {
    FAKE_MANIFEST,
    FAKE_DIRTY_START,
    FAKE_DIRTY_SYNC,
    FAKE_DIRTY_CLEAR,
    FAKE_NEXT_DATA,
    FAKE_DIRTY_STOP,
    FAKE_STOP,
    FAKE_RESUME,
    FAKE_SAVE_STATE,
    FAKE_COMMIT,
    FAKE_RECLAIM,
    FAKE_JOURNAL,
    FAKE_FINISH,
    FAKE_LOAD_STATE,
    FAKE_READY,
    FAKE_RUN,
    FAKE_DISCARD,
    FAKE_REHEARSE, /* either side's */
    FAKE_CALL_COUNT
};

struct fake_slot {
    atomic_int calls;
    atomic_int fail;         /* -errno to return, 0 */
    atomic_uint delay_ms;    /* before it does anything */
    void (*hook)(void *arg); /* before it does anything */
    void *arg;
};

struct fake_memory {
    struct godwit_region regions[FAKE_REGIONS_MAX];
    int fds[FAKE_REGIONS_MAX];
    uint32_t n;
};

struct fake_source {
    struct fake_world *world;
    struct fake_memory memory;
    struct fake_slot slots[FAKE_CALL_COUNT];
    uint64_t *dirty[FAKE_REGIONS_MAX];
    const char *manifest;

    /* The dirtier: `rate` bytes/s over the pages [0, working_set) of the region 0. */
    pthread_t thread;
    atomic_bool quit;
    atomic_bool paused; /* asked to */
    atomic_bool parked; /* it is */
    uint64_t rate, working_set, at;
    uint64_t generation;
    atomic_uint percent;       /* withheld now: slows the dirtier */
    atomic_uint percent_worst; /* ever */
    atomic_bool percent_late;  /* it was not 0 when the machine was stopped or resumed */
    bool knows_rates;          /* dirty_rates answers, as if the dirtier were vCPU 0 */
    uint64_t written, rated_ns;

    bool started_paused; /* the machine was not running to begin with */
    atomic_bool runs;    /* the machine runs here */
    atomic_bool tracking;
    atomic_bool given; /* commit succeeded */
    atomic_int resumes;
    atomic_int finishes;
    uint8_t state[FAKE_STATE_SIZE];

    /* How to be broken. */
    bool drop_dirty_page; /* dirty_sync forgets one page */
    bool spoil_state;     /* save_state gets one byte wrong */

    atomic_uint journal; /* bit per enum godwit_journal */
};

struct fake_sink {
    struct fake_world *world;
    struct fake_memory memory;
    struct fake_slot slots[FAKE_CALL_COUNT];
    const char *refusal; /* the verdict, or NULL */
    char manifest[64];   /* as it came */
    atomic_bool built;   /* the last to change when a machine goes */
    atomic_bool ready;   /* since built */
    atomic_bool runs;
    bool was_running;
    atomic_int runs_count, discards;
    uint8_t token[GODWIT_TOKEN_SIZE]; /* as ready got it */
    uint8_t state[FAKE_STATE_SIZE];
    size_t state_len;
};

extern const struct godwit_source_ops fake_source_ops;
extern const struct godwit_sink_ops fake_sink_ops;

/* A machine of n regions (bytes each), running unless told otherwise; nothing in its memory. */
void fake_source_init(struct fake_source *g, struct fake_world *world, const uint64_t *sizes,
                      uint32_t n);
/* Random content in every step-th page of the region's first `pages`. */
void fake_fill(struct fake_source *g, uint32_t region, uint64_t pages, uint64_t step);
/* Starts the dirtier. */
void fake_source_dirty(struct fake_source *g, uint64_t rate, uint64_t working_set);
/* The machine is not running. */
void fake_source_pause(struct fake_source *g);
/* Any time while it does not run: what its memory looks like decides comparisons. */
void fake_source_fini(struct fake_source *g);

void fake_sink_init(struct fake_sink *g, struct fake_world *world);
void fake_sink_fini(struct fake_sink *g);

/* The first page that differs, as a text; NULL: all bytes are the same. */
const char *fake_compare(struct fake_source *from, struct fake_sink *to);
/* Bytes of memory that are really allocated. */
uint64_t fake_allocated(const struct fake_memory *m);

#endif
