/* "Did you mean": the nearest of several names to one that is not known. */
#ifndef GODWIT_CMD_VMM_SUGGEST_H
#define GODWIT_CMD_VMM_SUGGEST_H

#include <stddef.h>

/* Edits (insert, remove, replace a character, swap two neighbours) that make a into b; words longer
 * than 63 characters count as unlike anything. */
size_t suggest_distance(const char *a, const char *b);
/* How far a name may be to be worth suggesting. */
size_t suggest_limit(const char *given);

#endif
