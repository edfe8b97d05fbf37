/*
 * libgodwit: the migration engine.  It knows regions of bytes, channels and the callbacks below; it
 * knows no hypervisor and no device.  A monitor links it, implements two ops tables, and its
 * machines move.
 *
 * A migration, from the source:
 *
 *   hello -> manifest -> precopy (rounds) -> stop -> state -> ready -> commit -> running -> done
 *
 * The manifest (opaque to the engine) is judged by the destination before any page moves.  Rounds
 * end when the predicted blackout meets downtime-limit.  Up to the journaled commit the source may
 * resume its guest; from there on only the destination's answer NEVER-RAN, or a person's word
 * (godwit_source_resolve), lets it.  doc/spec/handover.md proves the one-winner rule; the bytes are
 * in doc/spec/stream.md.
 *
 * Threads: the engine runs each side on one thread named "migrate", page workers named "lane-N",
 * and on the destination one named "door", which answers the listener and calls nobody back.  All
 * signals are blocked in them.  Each callback says on which it is called.  The functions here may
 * be called from any thread, but not from inside a callback, *_stats, *_cancel and *_set_params
 * excepted.
 */
#ifndef GODWIT_MIGRATE_H
#define GODWIT_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define GODWIT_PAGE_SIZE    4096U
#define GODWIT_REGIONS_MAX  64
#define GODWIT_LANES_MAX    64
#define GODWIT_MANIFEST_MAX (4U << 20)  /* bytes */
#define GODWIT_STATE_MAX    (64U << 20) /* bytes */

/* ---- what both sides share ------------------------------------------------------------------ */

/* Bytes that move.  host is `size` bytes (a multiple of GODWIT_PAGE_SIZE), mapped in one piece. */
struct godwit_region {
    uint32_t id; /* 0 .. n-1 */
    char name[32];
    uint64_t size;
    void *host;
    /* Source, optional: the file of memory behind it, to be read only, lent: a destination on the same
     * host takes pages from there.  <= 0: none. */
    int fd;
    uint64_t fd_offset; /* where in the file the region begins */
};

enum godwit_compression {
    GODWIT_COMPRESS_NONE,
    GODWIT_COMPRESS_LZ4,
    GODWIT_COMPRESS_ZSTD,
    GODWIT_COMPRESS_AUTO, /* per lane, whichever of the three is fastest on this link now */
    GODWIT_COMPRESS_COUNT
};

/* What becomes of a migration that has not converged at its deadline. */
enum godwit_on_timeout {
    GODWIT_TIMEOUT_CONTINUE,
    GODWIT_TIMEOUT_SUSPEND,  /* the guest is paused and what is left is sent: longer than
                                downtime-limit, but the end */
    GODWIT_TIMEOUT_CANCEL,
    GODWIT_TIMEOUT_POSTCOPY, /* refused: not there yet */
    GODWIT_TIMEOUT_COUNT
};

const char *godwit_compression_name(enum godwit_compression c); /* "none", "lz4", ... */
const char *godwit_on_timeout_name(enum godwit_on_timeout t);   /* "continue", ... */

/* May be changed at any time, also while a migration runs. */
struct godwit_params {
    /* The link. */
    uint64_t max_bandwidth;       /* bytes/s over all lanes; 0: unlimited */
    uint64_t switchover_bandwidth; /* bytes/s that the model takes for the last pages; 0: measured */
    uint32_t lanes;               /* read when the migration starts; 0: the engine chooses.  Within a
                                     host half the CPUs, 2 to 8 (1 on one CPU); to another as many as
                                     CPUs, 2 to 8; with TLS one a CPU.  Always 1 over fd: and file: */
    uint32_t link_timeout_ms;     /* a channel on which nothing moves for so long is cut; 10000 */
    uint32_t network_timeout_ms;  /* patience with a cut link during precopy; 30000 */
    uint32_t ready_timeout_ms;    /* the source's patience for READY with the guest paused; 5000 */
    uint32_t handover_timeout_ms; /* how long an undecided side seeks its peer before it calls
                                     itself unresolved (and goes on seeking, slower); 15000 */

    /* The data path. */
    enum godwit_compression compression; /* default auto */
    uint32_t zstd_level;                 /* 1 .. 20; 0: 1 */
    bool delta;           /* xbzrle: pages that are sent again go as differences */
    uint64_t delta_cache; /* bytes of sent pages that are remembered; 64 MiB */
    bool verify;          /* the digest: memory proven identical; read when the migration starts */

    /* Intent: what is wanted, and what the engine may do to the guest for it. */
    uint32_t downtime_limit_ms; /* the blackout that is allowed; default 100 */
    uint32_t deadline_s;        /* of the whole migration; 0: none */
    enum godwit_on_timeout on_timeout;
    uint32_t max_slowdown;      /* percent of a vCPU's time that may be withheld by itself; 30 */
    bool auto_converge;         /* QEMU's: throttle in steps, up to throttle_max */
    uint32_t throttle_initial, throttle_increment, throttle_max; /* percent: 20, 10, 99 */
    bool dirty_limit;           /* QEMU's: hold each vCPU's dirty rate at vcpu_dirty_limit */
    uint64_t vcpu_dirty_limit;  /* bytes/s; 1 MiB/s */
    bool pause_before_switchover; /* wait for godwit_source_continue, the guest being paused */
};

#define GODWIT_PARAMS_DEFAULT                                                                      \
    {.link_timeout_ms = 10000, .network_timeout_ms = 30000, .ready_timeout_ms = 5000,              \
     .handover_timeout_ms = 15000, .compression = GODWIT_COMPRESS_AUTO, .zstd_level = 1,           \
     .delta_cache = 64U << 20, .verify = true, .downtime_limit_ms = 100, .max_slowdown = 30,       \
     .throttle_initial = 20, .throttle_increment = 10, .throttle_max = 99,                         \
     .vcpu_dirty_limit = 1U << 20}

enum godwit_status {
    GODWIT_NONE,
    GODWIT_SETUP,      /* hello, manifest */
    GODWIT_ACTIVE,     /* precopy .. running */
    GODWIT_PRE_SWITCHOVER, /* paused, waits for godwit_source_continue (pause_before_switchover) */
    GODWIT_COMPLETED,
    GODWIT_FAILED,     /* the guest runs on at the source (destination: nothing is kept) */
    GODWIT_CANCELED,
    GODWIT_UNRESOLVED, /* paused: committed (source) or ready (destination) and does not know */
    GODWIT_STATUS_COUNT
};

enum godwit_stage {
    GODWIT_STAGE_HELLO,
    GODWIT_STAGE_MANIFEST,
    GODWIT_STAGE_PRECOPY,
    GODWIT_STAGE_STOP,
    GODWIT_STAGE_STATE,
    GODWIT_STAGE_READY,
    GODWIT_STAGE_COMMIT,
    GODWIT_STAGE_RUNNING,
    GODWIT_STAGE_DONE,
    GODWIT_STAGE_COUNT
};

const char *godwit_status_name(enum godwit_status s); /* "none", "setup", ... */
const char *godwit_stage_name(enum godwit_stage s);   /* "hello", "manifest", ... */

#define GODWIT_ID_SIZE 37 /* a UUID's text, NUL included */

/* Is the destination's memory what the source's was when it stopped? */
enum godwit_verified {
    GODWIT_VERIFIED_OFF,
    GODWIT_VERIFIED_PENDING,
    GODWIT_VERIFIED_IDENTICAL,
    GODWIT_VERIFIED_DIFFERS,
    GODWIT_VERIFIED_UNKNOWN, /* the comparison, or the link that told of it, ended before its verdict */
    GODWIT_VERIFIED_COUNT
};

const char *godwit_verified_name(enum godwit_verified v); /* "off", "pending", "identical", ... */

struct godwit_stats {
    enum godwit_status status;
    enum godwit_stage stage;
    struct err error; /* why it failed (stage, text); code 0 otherwise */
    uint64_t total_ns, setup_ns;
    uint64_t downtime_ns; /* as this side's engine saw it: stop begun .. RUNNING heard | resumed */
    uint64_t expected_downtime_ns;
    struct {
        uint64_t start_ns, duration_ns; /* start: since the migration began; 0,0: not reached */
    } stages[GODWIT_STAGE_COUNT];
    uint64_t transferred;      /* bytes on all channels, headers included */
    uint64_t remaining, total; /* bytes of regions */
    uint64_t zero_pages, normal_pages;
    uint64_t skipped_pages;    /* never touched by the guest, not even read */
    uint64_t precopy_bytes, downtime_bytes, state_bytes;
    uint64_t rounds;           /* dirty syncs done */
    uint64_t dirty_pages_rate; /* pages/s in the last round */
    uint64_t bandwidth;        /* bytes/s, measured over the last round */
    uint32_t lanes;
    char id[GODWIT_ID_SIZE]; /* of this migration, the same on both sides; "": none yet */
    uint32_t throttle;       /* percent withheld now, of the vCPU that is throttled most */
    uint64_t blackout_ns; /* last vCPU stopped .. first vCPU running, by both ends' clocks and half a
                             round trip; 0: not known */
    uint64_t packed_pages, packed_bytes; /* pages that went compressed, and as how many bytes */
    uint64_t delta_pages, delta_bytes;   /* the same for differences */
    uint64_t delta_hits, delta_misses, delta_overflows; /* pages found in the cache, not found, and
                                                           found but too different */
    uint32_t reconnections; /* a cut link was replaced during precopy */
    uint32_t decisions;     /* taken so far: see godwit_record */
    enum godwit_verified verified;
};

/* One look at what was dirty, and the round that sent it. */
struct godwit_round {
    uint64_t start_ns, duration_ns; /* since the migration began */
    uint64_t dirty;                 /* bytes it had to send */
    uint64_t sent;                  /* bytes it put on the channels */
    uint64_t dirty_rate, bandwidth; /* bytes/s */
    uint64_t predicted_ns;          /* the blackout, had the guest been stopped at its beginning */
    uint32_t throttle;              /* percent */
};

struct godwit_lane {
    uint64_t bytes, pages; /* sent (received) */
    uint64_t blocked_ns;   /* waited for the link or for max-bandwidth */
    enum godwit_compression compression; /* in use at last: never AUTO */
};

/* What the engine chose by itself, and why. */
struct godwit_decision {
    uint64_t at_ns; /* since the migration began */
    char what[48];  /* "throttle", "compress", "switch", "suspend", ... in the words of doc/ */
    char why[208];
};

/* The blackout in parts, in order of time. */
enum godwit_phase {
    GODWIT_PHASE_PAUSE,      /* vCPUs */
    GODWIT_PHASE_DRAIN,      /* devices */
    GODWIT_PHASE_LAST_PAGES, /* the last dirty log .. all sent */
    GODWIT_PHASE_STATE,      /* saving, and from all sent until READY: loading */
    GODWIT_PHASE_COMMIT,     /* the source's journal and locks .. COMMIT heard */
    GODWIT_PHASE_RESUME,     /* the destination's locks and journal .. first vCPU */
    GODWIT_PHASE_COUNT
};

const char *godwit_phase_name(enum godwit_phase p); /* "pause", "drain", "last-pages", ... */

#define GODWIT_ROUNDS_KEPT    256 /* the first half stays, of the rest the latest */
#define GODWIT_DECISIONS_KEPT 64

/* All there is to say about one migration; large, keep it off the stack. */
struct godwit_record {
    struct godwit_stats stats;
    bool is_source;
    char peer[384];
    uint32_t nrounds, nlanes, ndecisions;
    struct godwit_round rounds[GODWIT_ROUNDS_KEPT];
    struct godwit_lane lanes[GODWIT_LANES_MAX];
    struct godwit_decision decisions[GODWIT_DECISIONS_KEPT];
    uint64_t phase_ns[GODWIT_PHASE_COUNT];
    uint64_t rtt_ns;
    uint64_t predicted_downtime_ns, predicted_total_ns; /* as of the switch; and as of round 2 */
    uint64_t verify_ns;    /* what the second hashing took, after the blackout */
    char differs[64];      /* "ram page 0x1234" when verified is DIFFERS */
};

enum godwit_event_kind {
    GODWIT_EVENT_STATUS, /* status changed: stats->status */
    GODWIT_EVENT_STAGE,  /* stage changed */
    GODWIT_EVENT_ROUND,  /* a round begins: stats->rounds */
    GODWIT_EVENT_DECISION, /* stats->decisions has grown: godwit_source_record has the words */
    GODWIT_EVENT_VERIFIED, /* stats->verified: after completed */
};

/* What a side must not forget when its process dies; see doc/spec/handover.md. */
enum godwit_journal {
    GODWIT_JOURNAL_INTENT,    /* source, before stop: may be given away (durable: fsync) */
    GODWIT_JOURNAL_COMMIT,    /* source: given away; memory-backed, inside the blackout */
    GODWIT_JOURNAL_ABORT,     /* source: not given away after all, runs here */
    GODWIT_JOURNAL_COMPLETED, /* source: the destination runs it */
    GODWIT_JOURNAL_READY,     /* destination: everything loaded, waits for the word */
    GODWIT_JOURNAL_RUNNING,   /* destination: runs here */
    GODWIT_JOURNAL_DISCARDED, /* destination: never ran here, and will not */
};

#define GODWIT_TOKEN_SIZE 16 /* names one migration, in hello, lanes, journals and reconnections */

struct godwit_tls; /* who we are and whom we trust: godwit/tls.h */

/* ---- source --------------------------------------------------------------------------------- */

/*
 * All on the "migrate" thread unless said otherwise; `e` is never NULL.  Call order:
 *   manifest, dirty_start, (dirty_sync, dirty_clear ..)*, [journal INTENT], stop, save_state,
 *   dirty_sync, commit | resume, ..., released, dirty_stop, finish (released, finish: after commit).
 * A few quick rounds may lie between INTENT and stop.  The last pages are not cleared.  next_data,
 * reclaim, journal, released and event may be NULL.
 */
struct godwit_stopped {
    bool was_running;  /* the destination runs only what ran */
    uint64_t paused_ns; /* CLOCK_MONOTONIC when the last vCPU had stopped */
};

#define GODWIT_ALL_VCPUS UINT32_MAX

struct godwit_source_ops {
    /* Describes the machine; the text is for the destination's manifest callback. */
    int (*manifest)(void *opaque, struct buf *out, struct err *e);

    /* Begins dirty tracking: from here on every write by guest or monitor is reported.  Either all
     * pages count as dirty at first or none: round 1 sends everything anyway. */
    int (*dirty_start)(void *opaque, struct err *e);
    /* ORs what is dirty into bitmap (bit per page of the region).  Pages stay dirty until cleared. */
    int (*dirty_sync)(void *opaque, uint32_t region, uint64_t *bitmap, struct err *e);
    /* Lane threads, concurrently on disjoint ranges.  Before the pages whose bits are set in `bits`
     * are read: re-arms their tracking.  first and n are multiples of 64 (n: or up to the end);
     * bits[0] bit 0 is page `first`. */
    int (*dirty_clear)(void *opaque, uint32_t region, uint64_t first, uint64_t n,
                       const uint64_t *bits, struct err *e);
    void (*dirty_stop)(void *opaque);
    /* Lane threads.  The next range at or after `offset` that was ever touched: [*start, *end) in
     * bytes, *start == size when none is left.  NULL: everything was. */
    int (*next_data)(void *opaque, uint32_t region, uint64_t offset, uint64_t *start,
                     uint64_t *end);

    /* Pauses the machine, drains its devices within a bound, settles interrupts.  On failure the
     * machine runs on as before. */
    int (*stop)(void *opaque, struct godwit_stopped *out, struct err *e);
    /* The migration will not happen: the machine goes on as it was before stop. */
    void (*resume)(void *opaque);
    /* The state of everything but the regions; at most GODWIT_STATE_MAX bytes. May dirty pages. */
    int (*save_state)(void *opaque, struct buf *out, struct err *e);

    /* Past this the source may not resume by itself: journals COMMIT, then releases disk locks (and
     * on one host the tap).  On failure nothing was given away. */
    int (*commit)(void *opaque, struct err *e);
    /* After NEVER-RAN or a person's word: takes the locks back, so that resume may follow.  On
     * failure the machine stays paused, unresolved. */
    int (*reclaim)(void *opaque, struct err *e);
    /* INTENT, ABORT and COMPLETED; COMMIT is journaled by commit. INTENT may refuse. */
    int (*journal)(void *opaque, enum godwit_journal what, const uint8_t token[GODWIT_TOKEN_SIZE],
                   const char *peer, struct err *e);
    /* The destination runs, just before COMPLETED is reported: close disks and taps, let everything go
     * but the regions, which are looked at once more (next_data, too, still answers). May be NULL. */
    void (*released)(void *opaque);
    /* After it, or alone when a person gave the machine up: free RAM.  The regions are not touched
     * again. */
    void (*finish)(void *opaque);
    /* For progress and QMP events; must not block. */
    void (*event)(void *opaque, enum godwit_event_kind kind, const struct godwit_stats *stats);

    /* ---- what follows may be NULL: the engine does without ---- */

    /* The guest does not run now: nobody feels a blackout, so downtime-limit does not count. */
    bool (*paused)(void *opaque);
    /* Bytes/s that each of config.nvcpus vCPUs has dirtied since the last call (the first: since
     * dirty_start), not more often than every 10 ms.  -ENOTSUP: only the sum is known. */
    int (*dirty_rates)(void *opaque, uint64_t *bytes_per_s, uint32_t n);
    /* Withholds so many percent (0-99) of the time of a vCPU, or of all; from now on, until told 0.
     * Does not block.  The engine takes it back before resume, dirty_stop and at every end. */
    void (*throttle)(void *opaque, uint32_t vcpu, uint32_t percent);
    /* The dress rehearsal: writes what save_state would, from the running machine (no vCPU is held
     * for longer than its own registers take), and says what pausing and saving will cost.  -ENOTSUP:
     * not now. */
    int (*rehearse)(void *opaque, struct buf *out, uint64_t *stop_ns, uint64_t *save_ns,
                    struct err *e);
};

struct godwit_source_config {
    const struct godwit_source_ops *ops;
    void *opaque;
    const char *uri; /* tcp:HOST:PORT, unix:PATH, fd:NUMBER (taken over) or file:PATH */
    const struct godwit_tls *tls; /* NULL: in the clear; must outlive the source */
    const char *tls_hostname; /* X509: the name or address that the destination's certificate must be
                                 for; NULL or "": the URI's host */
    const struct godwit_region *regions;
    uint32_t nregions;
    uint32_t nvcpus;
    struct godwit_params params;
    uint64_t state_cost_ns; /* the monitor's first guess of stop + save + load; the model's start */
};

struct godwit_source;

/* Starts the migration on its own thread. Copies the config. 0 (and its status is SETUP from here on,
 * never NONE), or -errno before anything began. */
int godwit_source_start(const struct godwit_source_config *config, struct godwit_source **out,
                        struct err *e);
/* Asks for an end; effective within 100 ms before commit. -EBUSY: committed, too late; -EALREADY */
int godwit_source_cancel(struct godwit_source *s);
/* As cancel, but it ends `failed` with this reason (the guest powered off, ...). */
int godwit_source_fail(struct godwit_source *s, int code, const char *why);
void godwit_source_set_params(struct godwit_source *s, const struct godwit_params *p);
/* PRE_SWITCHOVER ends and the handover begins.  -EINVAL: it is not waited for. */
int godwit_source_continue(struct godwit_source *s);
void godwit_source_stats(struct godwit_source *s, struct godwit_stats *out);
void godwit_source_record(struct godwit_source *s, struct godwit_record *out);
/* A person's word on an unresolved source. run: the guest resumes here; else it is given up.  Does
 * not wait: 0 says that the word was taken (-EINVAL: nothing is unresolved; -EBUSY: another word is
 * being carried out).  What came of it is the status: `failed`, with the word as the reason, or
 * `unresolved` still, with the error that reclaim gave. */
int godwit_source_resolve(struct godwit_source *s, bool run, struct err *e);
/* Waits until the thread ended (completed, failed, canceled, or resolved) and frees.  An undecided
 * source is waited for until it is unresolved, and then left as it is: paused.  After a
 * failure with the guest paused the thread may take up to handover_timeout_ms longer than its
 * status says: it tells the destination that the guest runs on here. */
void godwit_source_free(struct godwit_source *s);

/* ---- destination ---------------------------------------------------------------------------- */

/* All on the "migrate" thread.  Call order: manifest, load_state, ready, run | discard.  Regions are
 * not written after load_state begins, whatever the source sends: from there on the monitor may
 * unmap them, or run a guest in them. */
struct godwit_sink_ops {
    /* The verdict, and the build: refuses (every reason in e), or makes the machine and fills in
     * regions[i].host for the n regions the source announced (name and size are the peer's words,
     * checked for sanity only).  Fresh memory must read as zeros. */
    int (*manifest)(void *opaque, const void *data, size_t len, struct godwit_region *regions,
                    uint32_t n, struct err *e);
    int (*load_state)(void *opaque, const void *data, size_t len, struct err *e);
    /* Everything arrived: last checks, journals READY. After it the machine waits, paused. */
    int (*ready)(void *opaque, const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer,
                 struct err *e);
    /* COMMIT came: takes the disk locks, journals RUNNING, runs (or stays paused if !was_running),
     * announces itself.  *running_ns: CLOCK_MONOTONIC when the first vCPU ran.  On failure nothing ran; the source is told NEVER-RAN with the reason, and
     * discard follows (after a person's word it does not: the machine stays as it was). */
    int (*run)(void *opaque, bool was_running, uint64_t *running_ns, struct err *e);
    /* The machine never ran here and will not: take down what manifest built (also when manifest
     * failed half-way), journal DISCARDED if ready was called.  Once for every manifest that is not
     * followed by a run that succeeds; the engine listens again afterwards. */
    void (*discard)(void *opaque);
    void (*event)(void *opaque, enum godwit_event_kind kind, const struct godwit_stats *stats);

    /* ---- what follows may be NULL ---- */

    /* Loads the bytes of a rehearsal into the machine that waits to be filled, to see that they can
     * be loaded and how long that takes (*load_ns, writing included); load_state follows later and
     * replaces everything.  A failure is the verdict on the machine: the migration fails with it. */
    int (*rehearse)(void *opaque, const void *data, size_t len, uint64_t *load_ns, struct err *e);
    /* Lane threads: most of these pages are about to be written, so that memory in large pages
     * pays.  first and n: multiples of 512. */
    void (*dense)(void *opaque, uint32_t region, uint64_t first, uint64_t n);
};

struct godwit_sink_config {
    const struct godwit_sink_ops *ops;
    void *opaque;
    const char *uri;
    const struct godwit_tls *tls; /* NULL: in the clear; must outlive the sink */
    struct godwit_params params;
};

struct godwit_sink;

/* Opens the listener (errors are reported here) and waits for a source on its own thread.
 * Strangers (scanners, silent or malformed peers) never use it up; a second source is refused. */
int godwit_sink_start(const struct godwit_sink_config *config, struct godwit_sink **out,
                      struct err *e);
/* "tcp:127.0.0.1:4446" with the real port. */
void godwit_sink_address(struct godwit_sink *s, char *out, size_t cap);
void godwit_sink_stats(struct godwit_sink *s, struct godwit_stats *out);
void godwit_sink_record(struct godwit_sink *s, struct godwit_record *out);
void godwit_sink_set_params(struct godwit_sink *s, const struct godwit_params *p);
/* A person's word on an unresolved destination; as godwit_source_resolve.  After it the status is
 * `completed` (run), `failed` (not), or `unresolved` still, with the error that run gave. */
int godwit_sink_resolve(struct godwit_sink *s, bool run, struct err *e);
/* Ends listening; an arriving machine that is not READY is discarded; waits and frees.  After
 * COMPLETED the sink still answers a source that lost its link before it heard RUNNING: keep it for
 * at least handover_timeout_ms. */
void godwit_sink_free(struct godwit_sink *s);

/* ---- a source's process that was started anew ------------------------------------------------ */

enum godwit_answer {
    GODWIT_ANSWER_RUNNING,   /* it runs there */
    GODWIT_ANSWER_NEVER_RAN, /* it never ran there and never will: it may be started here */
    GODWIT_ANSWER_READY,     /* it waits there, paused, for a word: a person's */
    GODWIT_ANSWER_UNKNOWN,   /* that destination does not know this migration: nothing follows */
};

/* Asks a destination what became of a migration whose source has died, and changes nothing but this:
 * a machine that was still arriving is called off.  Any thread; waits up to timeout_ms.  0, or -errno
 * when nobody answered.  tls may be NULL. */
int godwit_ask(const char *uri, const uint8_t token[GODWIT_TOKEN_SIZE],
               const struct godwit_tls *tls, const char *tls_hostname, uint32_t timeout_ms,
               enum godwit_answer *out, struct err *e);

#endif
