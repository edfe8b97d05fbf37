/* The values options take, from text: pure functions, 0 or -EINVAL (-ERANGE: of the right form but
 * too large). */
#ifndef GODWIT_CMD_VMM_VALUE_H
#define GODWIT_CMD_VMM_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* on, off, true, false */
int value_bool(const char *s, bool *out);
/* Decimal, or hexadecimal after 0x. */
int value_uint(const char *s, uint64_t *out);
/* A number with a suffix: B, K, M, G, T (either case); without one it counts in `unit` bytes. */
int value_size(const char *s, uint64_t unit, uint64_t *out);
/* 52:54:00:12:34:56; not a group address, not all zeros. */
int value_mac(const char *s, uint8_t out[6]);
/* A PCI slot as QEMU writes it: hexadecimal with or without 0x, 0 to 1f, and the function 0 may
 * follow ("3", "0x3", "3.0", "0x3.0x0"). */
int value_pci_addr(const char *s, int *slot);
/* 8-4-4-4-12 hexadecimal digits. out: in lower case. */
int value_uuid(const char *s, char out[37]);
/* What names in ids may hold: letters, digits, '-', '.', '_', and a letter first. */
bool value_is_id(const char *s);
/* Whether s is one of the words in "a|b|c". */
bool value_in_list(const char *s, const char *list);

#endif
