/*
 * A migration in simulated time: memory in units, vCPUs that write through a part of it, a link, a
 * throttle that works.  What the real engine does around intent_judge, without clocks and sockets,
 * so that whole migrations of gigabytes take milliseconds and come out the same every time.
 */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/intent.h"

#define SIM_UNIT  (256ULL << 10) /* bytes that are dirtied and sent as one */
#define SIM_UNITS 16384U         /* at most: 4 GiB */
#define SIM_VCPUS 8U

struct sim_vcpu {
    uint64_t rate;              /* bytes/s */
    uint32_t first, span;       /* units that it writes in, one after the other */
    uint64_t burst_ns, calm_ns; /* writes for so long, then rests; 0: always */
    bool immune;                /* a throttle does not slow it: it writes little work, often */
    double owed;
    uint32_t at;
};

struct sim {
    /* What is. */
    uint32_t units;
    uint32_t nvcpus;
    struct sim_vcpu vcpus[SIM_VCPUS];
    uint64_t link;     /* bytes/s */
    uint64_t fixed_ns; /* of the blackout */
    bool blind;        /* rates of single vCPUs are not known */
    struct godwit_params params;
    /* Called before every sync, to change any of it. */
    void (*change)(struct sim *m);

    /* What becomes of it. */
    bool dirty[SIM_UNITS];
    uint64_t now_ns;
    uint64_t written[SIM_VCPUS]; /* since the last sync */
    unsigned rounds;
    enum intent_action end;
    bool gave_up; /* no end after two hundred rounds */
    uint64_t blackout_ns, predicted_ns, total_ns, foretold_ns;
    double lost_s;  /* seconds of vCPU time withheld from who writes */
    uint32_t worst; /* percent, of any vCPU at any time */
    uint32_t worst_of[SIM_VCPUS];
    unsigned recognised; /* the round at which it was said that it does not converge */
    char said[4096];     /* every decision's word, in order: "converging switch " */
    struct intent intent;
    struct converge model;
};

/* A machine of `size` bytes, a link, 2 ms of fixed blackout; nobody writes. */
void sim_init(struct sim *m, uint64_t size, uint64_t link);
void sim_vcpu(struct sim *m, uint64_t rate, uint64_t first, uint64_t span);
/* By our intent, until it switches, cancels or has had 200 rounds. */
void sim_run(struct sim *m);
/* By stepping blindly: from the second round above the limit on 20 %, 10 % more every two rounds.
 */
void sim_run_naive(struct sim *m);

#endif
