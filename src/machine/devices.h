/* The devices of a configuration: each made from what -device said and the back-end lent for it,
 * and plugged into its slot. */
#ifndef GODWIT_MACHINE_DEVICES_H
#define GODWIT_MACHINE_DEVICES_H

#include "machine/backend.h"
#include "machine/board.h"

int devices_plug(struct board *b, const struct board_backends *back, struct err *e);

#endif
