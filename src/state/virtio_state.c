#include "state/virtio_state.h"

#define S struct virtio_queue_state
static const struct field queue_fields[] = {
    FIELD(S, FIELD_U64, desc),       FIELD(S, FIELD_U64, avail),
    FIELD(S, FIELD_U64, used),       FIELD(S, FIELD_U16, size),
    FIELD(S, FIELD_U16, last_avail), FIELD(S, FIELD_U16, used_idx),
    FIELD(S, FIELD_U16, signalled),  FIELD(S, FIELD_U16, vector),
    FIELD(S, FIELD_U8, enabled),     FIELD(S, FIELD_U8, signalled_valid),
    FIELD(S, FIELD_U8, broken),
};
static STATE_DESC(queue_desc, "virtqueue", 1, S, queue_fields);
#undef S

#define S struct virtio_state
static const struct field virtio_fields[] = {
    FIELD(S, FIELD_U32, device_id),        FIELD(S, FIELD_U64, offered),
    FIELD(S, FIELD_U64, accepted),         FIELD(S, FIELD_U8, status),
    FIELD(S, FIELD_U8, generation),        FIELD(S, FIELD_U32, nqueues),
    FIELD_STRUCTS(S, queues, &queue_desc), FIELD_VARRAY(S, FIELD_U8, config, config_len),
};
STATE_DESC(virtio_state_desc, "virtio", 1, S, virtio_fields);
#undef S

#define S struct virtio_mmio_state
static const struct field mmio_fields[] = {
    FIELD_BLOB(S, id),
    FIELD_ONE(S, virtio, &virtio_state_desc),
    FIELD(S, FIELD_U32, device_features_sel),
    FIELD(S, FIELD_U32, driver_features_sel),
    FIELD(S, FIELD_U32, queue_sel),
    FIELD(S, FIELD_U32, interrupt_status),
};
STATE_DESC(virtio_mmio_state_desc, "virtio-mmio", 1, S, mmio_fields);
#undef S
