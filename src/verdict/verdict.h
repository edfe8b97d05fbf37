/*
 * May this machine run there?  A verdict is a list of refusals; an empty one means yes.  Each names
 * a field, its value at the source and here, and what to do, so that a person can mend all of them
 * in one go.
 *
 * The functions are pure: no I/O, no state, any thread, and total: any values the facts may hold
 * are judged, be they the words of a hostile manifest.
 */
#ifndef GODWIT_VERDICT_VERDICT_H
#define GODWIT_VERDICT_VERDICT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "verdict/facts.h"

#define VERDICT_ITEMS_MAX 128

struct verdict_item {
    char field[96]; /* "ram size", "disk 'root' size", "cpu avx512f" */
    char source[64], here[64];
    char advice[192];
};

struct verdict {
    uint32_t n;     /* how many refusals there are */
    uint32_t nkept; /* of them in items: at most VERDICT_ITEMS_MAX */
    struct verdict_item items[VERDICT_ITEMS_MAX];
};

/* Compares all there is to compare; *v is overwritten. Returns v->n: 0 is yes. */
uint32_t verdict_judge(const struct verdict_machine *m, const struct verdict_host *h,
                       struct verdict *v);

/* Adds a refusal that the caller found. */
void verdict_add(struct verdict *v, const char *source, const char *here, const char *advice,
                 const char *field_fmt, ...) __attribute__((format(printf, 5, 6)));

/* Appends the whole verdict, a refusal a line: "field: SOURCE at the source, HERE here: advice".
 * 0, or as buf_printf. */
int verdict_format(const struct verdict *v, struct buf *out);
/* The same in one line as an error of stage "manifest": as many refusals as there is room for, and
 * how many more there are.  Returns 0 for a yes, else -EINVAL. */
int verdict_error(const struct verdict *v, struct err *e);

#endif
