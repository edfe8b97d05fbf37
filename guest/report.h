/* The lines the witness prints, from what all processors have counted; README.md has the grammar.
 * Boot processor only. */
#ifndef WITNESS_REPORT_H
#define WITNESS_REPORT_H

#include <stdint.h>

struct cpu;

/* "WITNESS 1 ...": who this is and what it was asked for. */
void report_hello(void);

/* "FATAL ...": it cannot work; `what` is one word, `detail` may be NULL. */
void report_fatal(const char *what, const char *detail);

/* "BAD kind=dead ...", for a processor that took a fault. */
void report_dead(const struct cpu *c);

/* A step of reporting: BAD lines as they come, READY once, a W line each period. */
void report_step(uint64_t now);

/* A W line now: "MARK key=C" first, then the figures of the period so far, and of 'r' the reset. */
void report_mark(char key, uint64_t now);

#endif
