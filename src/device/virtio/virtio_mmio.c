/*
 * virtio over MMIO, version 2 (virtio 1.2, sec. 4.2): one page of registers, one level-triggered
 * line.  A doorbell is a write of the queue's index to QueueNotify: KVM matches the value and
 * writes an eventfd, one a queue.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/virtio/vdev.h"

#define STAGE "virtio-mmio"

#define REGS_SIZE 0x200
#define MAGIC     0x74726976 /* "virt" */
#define VERSION   2
#define VENDOR    0x31574447 /* "GDW1" */

struct virtio_mmio {
    struct device dev; /* first */
    struct virtio_device *v;
    struct bus *bus;
    uint64_t base;
    uint32_t gsi;
    uint32_t ndoorbells; /* ioeventfds in place */
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint32_t interrupt_status;
};

static struct virtio_mmio *of(struct device *d)
{
    return (struct virtio_mmio *)d;
}

/* Interrupts: the line is up while a bit of the status is set */

static void update_line(struct virtio_mmio *m)
{
    if (m->v->running)
        hv_irq_set_level(m->v->vm, m->gsi, m->interrupt_status != 0);
}

static void interrupt(struct virtio_device *v, int queue)
{
    struct virtio_mmio *m = of(v->dev);

    m->interrupt_status |=
        queue == VDEV_CONFIG_CHANGE ? VIRTIO_MMIO_INT_CONFIG : VIRTIO_MMIO_INT_VRING;
    update_line(m);
}

static const struct virtio_transport transport = {.interrupt = interrupt};

static void forget(struct virtio_mmio *m)
{
    m->device_features_sel = m->driver_features_sel = m->queue_sel = 0;
    m->interrupt_status = 0;
}

/* Registers */

static uint64_t read_register(struct virtio_mmio *m, uint64_t offset)
{
    struct virtio_device *v = m->v;
    struct virtq *q = vdev_queue(v, m->queue_sel);

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return v->type->id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return vdev_offered(v, m->device_features_sel);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return q ? q->size_max : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return q && q->enabled;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return m->interrupt_status;
    case VIRTIO_MMIO_STATUS:
        return v->status;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return v->generation;
    case VIRTIO_MMIO_SHM_LEN_LOW: /* all ones: no shared memory (sec. 4.2.2.1) */
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX;
    default:
        return 0;
    }
}

static uint64_t regs_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct virtio_mmio *m = opaque;

    if (offset >= VIRTIO_MMIO_CONFIG)
        return vdev_config_read(m->v, offset - VIRTIO_MMIO_CONFIG, size);
    return size == 4 ? read_register(m, offset) : 0;
}

static uint64_t *address_of(struct virtq *q, uint64_t offset)
{
    return offset < VIRTIO_MMIO_QUEUE_AVAIL_LOW  ? &q->desc
           : offset < VIRTIO_MMIO_QUEUE_USED_LOW ? &q->avail
                                                 : &q->used;
}

static void write_queue(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    struct virtq *q = vdev_queue(m->v, m->queue_sel);

    if (!q)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        if (!q->enabled && virtq_size_ok(q, value))
            q->size = (uint16_t)value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        if (value == 1)
            vdev_enable_queue(m->v, m->queue_sel);
        else if (value == 0)
            q->enabled = false; /* the driver stops using it before a reset */
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        vdev_set_address(m->v, m->queue_sel, address_of(q, offset), offset % 8 != 0, value);
        break;
    default:
        break;
    }
}

static void write_status(struct virtio_mmio *m, uint8_t value)
{
    vdev_set_status(m->v, value);
    if (value == 0) {
        forget(m);
        update_line(m);
    }
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        m->device_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        m->driver_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        vdev_accept(m->v, m->driver_features_sel, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        m->queue_sel = value;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        vdev_kick(m->v, value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        m->interrupt_status &= ~value;
        update_line(m);
        break;
    case VIRTIO_MMIO_STATUS:
        write_status(m, (uint8_t)value);
        break;
    default:
        write_queue(m, offset, value);
        break;
    }
}

static void regs_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    if (offset < VIRTIO_MMIO_CONFIG && size == 4)
        write_register(opaque, offset, (uint32_t)value);
}

/* Operations as a device */

static void reset(struct device *d)
{
    struct virtio_mmio *m = of(d);

    vdev_power_on(m->v);
    forget(m);
    hv_irq_set_level(m->v->vm, m->gsi, false);
}

static void save(struct device *d, void *state)
{
    struct virtio_mmio *m = of(d);
    struct virtio_mmio_state *s = state;

    vdev_save(m->v, &s->virtio);
    s->device_features_sel = m->device_features_sel;
    s->driver_features_sel = m->driver_features_sel;
    s->queue_sel = m->queue_sel;
    s->interrupt_status = m->interrupt_status;
}

static int load(struct device *d, const void *state, struct err *e)
{
    struct virtio_mmio *m = of(d);
    const struct virtio_mmio_state *s = state;
    int ret;

    if (s->interrupt_status & ~(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG))
        return err_set(e, -EPROTO, STAGE, "unknown bits in interrupt status %#x",
                       s->interrupt_status);
    ret = vdev_load(m->v, &s->virtio, e);
    if (ret)
        return ret;
    m->device_features_sel = s->device_features_sel;
    m->driver_features_sel = s->driver_features_sel;
    m->queue_sel = s->queue_sel;
    m->interrupt_status = s->interrupt_status;
    return 0;
}

static int start(struct device *d, struct err *e)
{
    struct virtio_mmio *m = of(d);

    (void)e;
    vdev_start(m->v);
    vdev_lock(m->v);
    update_line(m);
    vdev_unlock(m->v);
    return 0;
}

static void stop(struct device *d)
{
    vdev_stop(of(d)->v);
}

static bool idle(struct device *d)
{
    return vdev_idle(of(d)->v);
}

static void drop_doorbells(struct virtio_mmio *m)
{
    for (uint32_t i = 0; i < m->ndoorbells; i++)
        hv_ioeventfd_del(m->v->vm, false, m->base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, true, i,
                         m->v->doorbells[i]);
    m->ndoorbells = 0;
}

static void free_device(struct device *d)
{
    struct virtio_mmio *m = of(d);

    bus_remove(m->bus, m->base);
    drop_doorbells(m);
    virtio_device_free(m->v);
    device_fini(&m->dev);
    free(m);
}

#define OPS(label)                                                                                 \
    {                                                                                              \
        .type = (label), .state = &virtio_mmio_state_desc, .reset = reset, .save = save,           \
        .load = load, .start = start, .stop = stop, .idle = idle, .free = free_device              \
    }

static const struct device_ops ops[] = {
    OPS("virtio-blk-device"),
    OPS("virtio-net-device"),
    OPS("virtio-rng-device"),
};

static const struct device_ops *ops_of(const struct virtio_type *type)
{
    size_t len = strlen(type->name);

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (!strncmp(ops[i].type, type->name, len) && !strcmp(ops[i].type + len, "-device"))
            return &ops[i];
    return NULL;
}

struct virtio_device *virtio_mmio_vdev(struct device *d)
{
    return d->ops->free == free_device ? of(d)->v : NULL;
}

/* Making */

static int add_doorbells(struct virtio_mmio *m, struct err *e)
{
    for (uint32_t i = 0; i < m->v->type->nqueues; i++) {
        int ret = hv_ioeventfd_add(m->v->vm, false, m->base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, true, i,
                                   m->v->doorbells[i], e);

        if (ret)
            return ret;
        m->ndoorbells++;
    }
    return 0;
}

static int build(struct virtio_mmio *m, struct err *e)
{
    struct bus_range range = {.base = m->base,
                              .size = REGS_SIZE,
                              .dev = &m->dev,
                              .opaque = m,
                              .read = regs_read,
                              .write = regs_write};
    int ret = bus_add(m->bus, &range, e);

    if (ret)
        return ret;
    ret = add_doorbells(m, e);
    if (!ret)
        ret = vdev_attach(m->v, &transport, &m->dev, e);
    if (ret) {
        drop_doorbells(m);
        bus_remove(m->bus, m->base);
    }
    return ret;
}

int virtio_mmio_new(struct virtio_device *v, struct bus *mmio, uint64_t base, uint32_t gsi,
                    struct device **out, struct err *e)
{
    struct virtio_mmio *m = calloc(1, sizeof(*m));
    int ret;

    if (!m)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", v->id);
    m->v = v;
    m->bus = mmio;
    m->base = base;
    m->gsi = gsi;
    device_init(&m->dev, ops_of(v->type), v->id);
    ret = build(m, e);
    if (ret) {
        device_fini(&m->dev);
        free(m);
        return ret;
    }
    *out = &m->dev;
    return 0;
}
