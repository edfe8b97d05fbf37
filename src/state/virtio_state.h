/*
 * What moves of a virtio device: negotiation, queues and the configuration space.  Nothing is in
 * flight when it is saved.  The transports add their registers (virtio_mmio_state here; PCI's lie
 * with the PCI state, in device/virtio/virtio_pci.c).
 */
#ifndef GODWIT_STATE_VIRTIO_STATE_H
#define GODWIT_STATE_VIRTIO_STATE_H

#include <stdint.h>

#include "state/field.h"

#define VIRTIO_QUEUES_MAX 4
#define VIRTIO_CONFIG_MAX 64 /* bytes of configuration space */

struct virtio_queue_state {
    uint64_t desc, avail, used; /* guest-physical */
    uint16_t size;
    uint16_t last_avail, used_idx, signalled;
    uint16_t vector;
    uint8_t enabled, signalled_valid, broken;
};

struct virtio_state {
    uint32_t device_id;
    uint64_t offered, accepted; /* feature bits */
    uint8_t status, generation;
    uint32_t nqueues;
    struct virtio_queue_state queues[VIRTIO_QUEUES_MAX];
    uint32_t config_len; /* set by the count of config */
    uint8_t config[VIRTIO_CONFIG_MAX];
};

struct virtio_mmio_state {
    uint8_t id[64];
    struct virtio_state virtio;
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint32_t interrupt_status;
};

extern const struct state_desc virtio_state_desc;
extern const struct state_desc virtio_mmio_state_desc;

#endif
