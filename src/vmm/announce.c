#include "vmm/announce.h"

#include <string.h>

/* virtio_net_announce leaves devices of other types alone. */
void announce_self(struct vm *vm, const struct virtio_announce *when)
{
    for (uint32_t i = 0; i < vm->board->ndevices; i++)
        virtio_net_announce(vm->board->devices[i], when);
}

/* The id of the device of that name; NULL: none. */
static const char *find(const struct vm *vm, const char *name)
{
    for (uint32_t i = 0; i < vm->config.ndevices; i++) {
        const struct device_config *d = &vm->config.devices[i];

        if (d->kind == DEVICE_NET && (!strcmp(d->id, name) || !strcmp(d->backend, name)))
            return d->id;
    }
    return NULL;
}

bool announce_knows(const struct vm *vm, const char *name)
{
    return find(vm, name) != NULL;
}

void announce_card(struct vm *vm, const char *name, const struct virtio_announce *when)
{
    const char *id = find(vm, name);

    for (uint32_t i = 0; id && i < vm->board->ndevices; i++)
        if (!strcmp(vm->board->devices[i]->id, id))
            virtio_net_announce(vm->board->devices[i], when);
}
