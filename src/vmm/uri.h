/* Addresses of migrations that only the monitor understands, as such that the engine takes. */
#ifndef GODWIT_VMM_URI_H
#define GODWIT_VMM_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

struct monitor;

/* tcp:, unix: and file: as they are; fd:NAME (of getfd) or fd:NUMBER (inherited) and exec:COMMAND
 * (started now) as fd:NUMBER, the descriptor belonging to whoever gets the address. Main loop. */
int uri_resolve(struct monitor *m, const char *uri, char *out, size_t cap, struct err *e);
/* Whether uri_resolve may know more of it than address_parse. */
static inline bool uri_is_local(const char *uri)
{
    return strncmp(uri, "fd:", 3) == 0 || strncmp(uri, "exec:", 5) == 0;
}

#endif
