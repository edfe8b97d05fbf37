/*
 * Finds where one JSON value ends and the next begins in a stream of bytes that comes in pieces,
 * without parsing it: only strings, nesting and bytes no JSON text may hold are understood; the
 * text found is then given to the JSON parser whole.  Newlines between values are not needed.
 *
 * What cannot be the beginning of JSON is reported once and skipped up to the next newline, so that
 * a client that writes a line a command is understood again from its next line on.
 */
#ifndef GODWIT_QMP_SCANNER_H
#define GODWIT_QMP_SCANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QMP_DEPTH_MAX 64

struct qmp_scanner {
    uint64_t brackets; /* bit i: level i was opened by '[' and not by '{' */
    uint32_t depth;
    bool in_string, escaped, skipping;
};

enum qmp_scan {
    QMP_SCAN_MORE,   /* all bytes looked at; nothing complete */
    QMP_SCAN_BLANK,  /* *used bytes belong to no value: drop them */
    QMP_SCAN_VALUE,  /* the first *used bytes are one value */
    QMP_SCAN_GARBAGE /* the first *used bytes cannot be JSON: drop them and complain */
};

/* Looks at data[from..len): data begins where the last BLANK, VALUE or GARBAGE ended, and from is
 * how much of it was looked at before.  *used is meaningful unless the result is MORE. */
enum qmp_scan qmp_scanner_next(struct qmp_scanner *s, const uint8_t *data, size_t from, size_t len,
                               size_t *used);
/* True between values: nothing is half read. */
bool qmp_scanner_idle(const struct qmp_scanner *s);

#endif
