/*
 * What the two sides tell each other on the way: what a destination has after a cut (RESUME), how a
 * dress rehearsal went (REHEARSAL, REHEARSED), and how long each took (TIMES).
 */
#ifndef GODWIT_STREAM_NATIVE_COURSE_H
#define GODWIT_STREAM_NATIVE_COURSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stream/native/native.h"

struct native_resume {
    uint64_t passed; /* the mark up to which all pages are placed */
    uint32_t lanes;
    uint64_t records[NATIVE_LANES_MAX]; /* page records placed since then, lane by lane */
};

int native_resume_encode(struct buf *out, const struct native_resume *v);
int native_resume_decode(const void *body, size_t len, struct native_resume *v, struct err *e);

struct native_rehearsal {
    const uint8_t *data; /* decoding: a view of the body */
    size_t len;
};

int native_rehearsal_encode(struct buf *out, const struct native_rehearsal *v);
int native_rehearsal_decode(const void *body, size_t len, struct native_rehearsal *v,
                            struct err *e);

struct native_rehearsed {
    bool loaded; /* false: this destination does not rehearse */
    uint64_t load_ns;
};

int native_rehearsed_encode(struct buf *out, const struct native_rehearsed *v);
int native_rehearsed_decode(const void *body, size_t len, struct native_rehearsed *v,
                            struct err *e);

enum native_times_kind {
    NATIVE_TIMES_SWITCH,  /* with COMMIT, and with RUNNING: the blackout as this side saw it */
    NATIVE_TIMES_VERDICT, /* after RUNNING: the second look at the source's memory */
    NATIVE_TIMES_KIND_COUNT
};

enum native_verdict { NATIVE_VERDICT_NONE, NATIVE_VERDICT_IDENTICAL, NATIVE_VERDICT_DIFFERS };

#define NATIVE_PHASES      6
#define NATIVE_DIFFERS_MAX 63 /* bytes of "ram page 0x1234" */

struct native_times {
    enum native_times_kind kind;
    uint64_t own_ns; /* source: last vCPU paused .. COMMIT written; destination: COMMIT heard ..
                        first vCPU running; 0: not known.  VERDICT: what the look took */
    uint64_t rtt_ns; /* source; 0: not measured */
    uint64_t
        phase_ns[NATIVE_PHASES]; /* pause, drain, last pages, state, commit, resume; 0: not mine */
    enum native_verdict verdict;
    char differs[NATIVE_DIFFERS_MAX + 1];
};

int native_times_encode(struct buf *out, const struct native_times *v);
int native_times_decode(const void *body, size_t len, struct native_times *v, struct err *e);

#endif
