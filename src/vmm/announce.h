/* Tells the network where the machine's cards are: after a move, and when a client asks. */
#ifndef GODWIT_VMM_ANNOUNCE_H
#define GODWIT_VMM_ANNOUNCE_H

#include <stdbool.h>

#include "device/virtio/virtio.h"
#include "vmm/vm.h"

void announce_self(struct vm *vm, const struct virtio_announce *when);
/* Whether a card goes by this name: the id of its -device or of its -netdev. */
bool announce_knows(const struct vm *vm, const char *name);
void announce_card(struct vm *vm, const char *name, const struct virtio_announce *when);

#endif
