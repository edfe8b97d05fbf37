/*
 * When to stop the guest: the model behind downtime-limit.  Pure arithmetic over what the rounds
 * measured; the source asks it after every dirty sync.
 *
 *   blackout = dirty bytes / bandwidth + state cost + two round trips
 *
 * (pages and state go out and READY comes back; COMMIT goes out and RUNNING comes back).  Meeting
 * the limit is permission, not yet the best moment: while another round costs little and leaves
 * clearly less to send, it is taken first ("polishing"), which on a busy guest turns a blackout of
 * the allowed 100 ms into one of a few.
 */
#ifndef GODWIT_MIGRATE_CONVERGE_H
#define GODWIT_MIGRATE_CONVERGE_H

#include <stdbool.h>
#include <stdint.h>

struct converge {
    uint64_t bandwidth;     /* bytes/s, as measured (a guess until then) */
    uint64_t dirty_rate;    /* bytes/s over the last interval */
    uint64_t state_cost_ns; /* stop + save + load */
    uint64_t rtt_ns;
    uint64_t last_dirty; /* what the sync before found; 0 at first */
    unsigned polished;   /* rounds taken although the limit was met */
};

enum converge_verdict {
    CONVERGE_ROUND,  /* send what is dirty */
    CONVERGE_SWITCH, /* stop the guest */
};

void converge_init(struct converge *c, uint64_t state_cost_ns);
/* A round put `bytes` on the wire in `ns`. Small ones say nothing about bandwidth and are ignored.
 */
void converge_sent(struct converge *c, uint64_t bytes, uint64_t ns);
/* A sync found `dirty` bytes, the one before was `interval_ns` ago. */
enum converge_verdict converge_judge(struct converge *c, uint64_t dirty, uint64_t interval_ns,
                                     uint64_t limit_ns);
uint64_t converge_predict(const struct converge *c, uint64_t dirty);

#endif
