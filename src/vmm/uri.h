/* Addresses of migrations that only the monitor understands, as such that the engine takes. */
#ifndef GODWIT_VMM_URI_H
#define GODWIT_VMM_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct monitor;

#define URI_FDS_MAX 1024

/* The sockets that this process was started with: bit per descriptor.  Each may be named once. */
struct uri_sockets {
    uint64_t bits[URI_FDS_MAX / 64];
};

/* Before the process opens any of its own. */
void uri_sockets_look(struct uri_sockets *s);

/* tcp:, unix: and file: as they are; fd:NAME (of getfd) or fd:NUMBER (inherited) and exec:COMMAND
 * (started now) as fd:NUMBER, the descriptor belonging to whoever gets the address. Main loop. */
int uri_resolve(struct monitor *m, const char *uri, char *out, size_t cap, struct err *e);
/* Whether uri_resolve may know more of it than address_parse. */
static inline bool uri_is_local(const char *uri)
{
    return strncmp(uri, "fd:", 3) == 0 || strncmp(uri, "exec:", 5) == 0;
}

#endif
