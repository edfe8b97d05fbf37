/* The boards there are; board.c's table is made of them. */
#ifndef GODWIT_MACHINE_BOARDS_H
#define GODWIT_MACHINE_BOARDS_H

#include "machine/board.h"

extern const struct board_ops q35_1_0;
extern const struct board_ops microvm_1_0;

#endif
