/*
 * What must be true however a migration ended: one machine runs, or none does and both sides have
 * said so; then a person's word leaves exactly one.  The winner's memory is the source's.
 */
#ifndef TEST_JUDGE_H
#define TEST_JUDGE_H

#include "harness.h"

enum judge_end {
    JUDGE_MOVED,
    JUDGE_KEPT,
    JUDGE_DECIDED, /* by a person: nobody knew */
    JUDGE_END_COUNT
};

struct judge_look {
    bool here;       /* a person who is asked lets the source run */
    bool may_differ; /* memory is not proven in this case: the wire changed it */
};

/* Waits until both sides are settled, resolves what has to be, and fails the test where the rule
 * is broken. */
enum judge_end judge(struct pair *p, const struct judge_look *look);
/* After JUDGE_KEPT: the same source and sink, over `uri`, and nothing in the way. */
void judge_next_moves(struct pair *p, const char *uri);
/* All of the source's memory but its first `pages`, as one number. */
uint32_t judge_memory(const struct pair *p, uint64_t pages);

#endif
