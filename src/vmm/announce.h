/* Tells the network where the machine's cards are now, after a move. */
#ifndef GODWIT_VMM_ANNOUNCE_H
#define GODWIT_VMM_ANNOUNCE_H

#include "vmm/vm.h"

void announce_self(struct vm *vm);

#endif
