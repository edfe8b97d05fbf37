#include "vmm/announce.h"

#include "device/virtio/virtio.h"

/* virtio_net_announce leaves devices of other types alone. */
void announce_self(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->board->ndevices; i++)
        virtio_net_announce(vm->board->devices[i]);
}
