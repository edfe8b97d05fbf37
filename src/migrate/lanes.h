/* How many lanes a migration gets when nobody says. */
#ifndef GODWIT_MIGRATE_LANES_H
#define GODWIT_MIGRATE_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/channel.h"

/* By the link that `control` goes over and the CPUs that this process may use.  encrypted: its
 * lanes will be, each by a CPU of its own. */
uint32_t lanes_choose(const struct channel *control, bool encrypted);

/* ---- for tests --- */

/* Is the other end of this socket on this host? */
bool lanes_stay_here(int fd);
uint32_t lanes_for(bool here, bool encrypted, uint32_t cpus);

#endif
