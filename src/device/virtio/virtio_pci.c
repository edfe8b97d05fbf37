/*
 * virtio over PCI (virtio 1.2, sec. 4.1), modern only.
 *
 * BAR 1 has the MSI-X table; BAR 4 has the four register structures, a page each, found by vendor
 * capabilities.  A doorbell is a 16-bit write to queue index * 4 of the notify structure: KVM turns
 * it into an eventfd write; writes it does not match (other widths, or before the ioeventfd follows
 * a moved BAR) come here and ring the same eventfd.  Interrupts are MSI-X only: INTx is not offered
 * (interrupt pin 0), so a guest that turns MSI off has no virtio-pci.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/virtio/vdev.h"

#define STAGE "virtio-pci"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_BASE   0x1040
#define SUBSYSTEM_ID  0x1100
#define REVISION      1

#define MSIX_BAR      1
#define REGS_BAR      4
#define REGS_BAR_SIZE 0x4000
#define PAGE_OF(off)  ((off) & ~0xfffULL)
#define COMMON_AT     0x0000
#define ISR_AT        0x1000
#define DEVICE_AT     0x2000
#define NOTIFY_AT     0x3000
#define NOTIFY_STRIDE 4
#define COMMON_SIZE   (VIRTIO_PCI_COMMON_Q_USEDHI + 4)

#define ISR_QUEUE  1
#define ISR_CONFIG 2

_Static_assert(sizeof(struct virtio_pci_cap) == 16, "virtio 1.2, 4.1.4");
_Static_assert(sizeof(struct virtio_pci_common_cfg) == COMMON_SIZE, "virtio 1.2, 4.1.4.3");

struct virtio_pci {
    struct pci_dev pci; /* first */
    struct virtio_device *v;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t isr;
    uint8_t cfg_cap; /* offset of the window into the BARs */
};

struct virtio_pci_state {
    uint8_t id[DEVICE_ID_MAX];
    struct pci_state pci;
    struct virtio_state virtio;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t isr;
};

#define S struct virtio_pci_state
static const struct field state_fields[] = {
    FIELD_BLOB(S, id),
    FIELD_ONE(S, pci, &pci_state_desc),
    FIELD_ONE(S, virtio, &virtio_state_desc),
    FIELD(S, FIELD_U32, device_feature_select),
    FIELD(S, FIELD_U32, driver_feature_select),
    FIELD(S, FIELD_U16, queue_select),
    FIELD(S, FIELD_U16, config_vector),
    FIELD(S, FIELD_U8, isr),
};
static STATE_DESC(virtio_pci_state_desc, "virtio-pci", 1, S, state_fields);
#undef S

static struct virtio_pci *of_device(struct device *d)
{
    return (struct virtio_pci *)d;
}

static struct virtio_pci *of_pci(struct pci_dev *d)
{
    return (struct virtio_pci *)d;
}

/* Interrupts */

static void raise_vector(struct virtio_pci *p, uint16_t vector)
{
    if (vector < p->pci.msix_vectors)
        pci_msix_raise(&p->pci, vector);
}

static void interrupt(struct virtio_device *v, int queue)
{
    struct virtio_pci *p = of_device(v->dev);

    p->isr |= queue == VDEV_CONFIG_CHANGE ? ISR_CONFIG : ISR_QUEUE;
    if (v->running)
        raise_vector(p, queue == VDEV_CONFIG_CHANGE ? p->config_vector : v->queues[queue].vector);
}

static const struct virtio_transport transport = {.interrupt = interrupt};

/* What the guest writes where a vector is wanted: what it reads back tells it whether it got it. */
static uint16_t take_vector(const struct virtio_pci *p, uint64_t value)
{
    return value < p->pci.msix_vectors ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

/* The common configuration structure (sec. 4.1.4.3) */

static uint64_t *address_of(struct virtq *q, uint64_t offset)
{
    return offset < VIRTIO_PCI_COMMON_Q_AVAILLO  ? &q->desc
           : offset < VIRTIO_PCI_COMMON_Q_USEDLO ? &q->avail
                                                 : &q->used;
}

static uint64_t queue_read(struct virtio_pci *p, uint64_t offset, uint32_t size)
{
    struct virtq *q = vdev_queue(p->v, p->queue_select);
    uint64_t address;

    if (!q)
        return 0; /* size 0: there is no such queue */
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return q->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return q->vector;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return q->enabled;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return p->queue_select;
    default:
        if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || offset % 4 || offset >= COMMON_SIZE)
            return 0;
        address = *address_of(q, offset);
        return offset % 8 ? address >> 32 : size == 8 ? address : (uint32_t)address;
    }
}

static uint8_t read_status(struct virtio_pci *p)
{
    return vdev_resetting(p->v) ? p->v->status_before_reset : p->v->status;
}

static uint64_t common_read(struct virtio_pci *p, uint64_t offset, uint32_t size)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return p->device_feature_select;
    case VIRTIO_PCI_COMMON_DF:
        return vdev_offered(p->v, p->device_feature_select);
    case VIRTIO_PCI_COMMON_GFSELECT:
        return p->driver_feature_select;
    case VIRTIO_PCI_COMMON_GF:
        return vdev_accepted_half(p->v, p->driver_feature_select);
    case VIRTIO_PCI_COMMON_MSIX:
        return p->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return p->v->type->nqueues;
    case VIRTIO_PCI_COMMON_STATUS:
        return read_status(p);
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return p->v->generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return p->queue_select;
    default:
        return queue_read(p, offset, size);
    }
}

static void queue_write(struct virtio_pci *p, uint64_t offset, uint32_t size, uint64_t value)
{
    struct virtq *q = vdev_queue(p->v, p->queue_select);

    if (!q)
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (!q->enabled && value <= UINT16_MAX && virtq_size_ok(q, (uint32_t)value))
            q->size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        q->vector = take_vector(p, value);
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1)
            vdev_enable_queue(p->v, p->queue_select);
        break;
    default:
        if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || offset % 4 || offset >= COMMON_SIZE)
            break;
        vdev_set_address(p->v, p->queue_select, address_of(q, offset), offset % 8 != 0,
                         (uint32_t)value);
        if (size == 8 && offset % 8 == 0)
            vdev_set_address(p->v, p->queue_select, address_of(q, offset), true,
                             (uint32_t)(value >> 32));
        break;
    }
}

static void forget_selects(struct virtio_pci *p)
{
    p->device_feature_select = p->driver_feature_select = 0;
    p->queue_select = 0;
    p->config_vector = VIRTIO_MSI_NO_VECTOR;
    p->isr = 0;
}

static void common_write(struct virtio_pci *p, uint64_t offset, uint32_t size, uint64_t value)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        p->device_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        p->driver_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        vdev_accept(p->v, p->driver_feature_select, (uint32_t)value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        p->config_vector = take_vector(p, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        vdev_set_status(p->v, (uint8_t)value);
        if ((uint8_t)value == 0)
            forget_selects(p);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        p->queue_select = (uint16_t)value;
        break;
    default:
        queue_write(p, offset, size, value);
        break;
    }
}

/* The register BAR */

static uint64_t regs_read(struct pci_dev *d, uint64_t offset, uint32_t size)
{
    struct virtio_pci *p = of_pci(d);
    uint64_t value = 0;

    switch (PAGE_OF(offset)) {
    case COMMON_AT:
        value = common_read(p, offset, size);
        break;
    case ISR_AT: /* read to clear (sec. 4.1.4.5) */
        if (offset == ISR_AT) {
            value = p->isr;
            p->isr = 0;
        }
        break;
    case DEVICE_AT:
        value = vdev_config_read(p->v, offset - DEVICE_AT, size);
        break;
    default:
        break;
    }
    return value;
}

static void regs_write(struct pci_dev *d, uint64_t offset, uint32_t size, uint64_t value)
{
    struct virtio_pci *p = of_pci(d);

    /* No type here has configuration fields that a driver may write. */
    if (PAGE_OF(offset) == COMMON_AT)
        common_write(p, offset, size, value);
    else if (PAGE_OF(offset) == NOTIFY_AT)
        vdev_kick(p->v, (uint32_t)(offset - NOTIFY_AT) / NOTIFY_STRIDE);
}

static void drop_doorbells(struct virtio_pci *p, uint64_t base, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hv_ioeventfd_del(p->v->vm, false, base + NOTIFY_AT + i * NOTIFY_STRIDE, 2, false, 0,
                         p->v->doorbells[i]);
}

static void regs_moved(struct pci_dev *d, int bar, uint64_t old_base, uint64_t new_base)
{
    struct virtio_pci *p = of_pci(d);
    uint32_t n = p->v->type->nqueues;
    struct err e = ERR_INIT;

    (void)bar;
    if (old_base)
        drop_doorbells(p, old_base, n);
    for (uint32_t i = 0; new_base && i < n; i++) {
        if (hv_ioeventfd_add(p->v->vm, false, new_base + NOTIFY_AT + i * NOTIFY_STRIDE, 2, false, 0,
                             p->v->doorbells[i], &e)) {
            log_warn(STAGE, "'%s': doorbell %u will be slow: %s", p->v->id, i, e.text);
            break;
        }
    }
}

/* The window into the BARs through configuration space, for firmware (sec. 4.1.4.9) */

static bool window(struct virtio_pci *p, uint32_t *offset, uint32_t *len)
{
    struct virtio_pci_cap cap;

    memcpy(&cap, &p->pci.config[p->cfg_cap], sizeof(cap));
    *offset = cap.offset;
    *len = cap.length;
    return cap.bar == REGS_BAR && (cap.length == 1 || cap.length == 2 || cap.length == 4) &&
           cap.offset % cap.length == 0 && cap.offset < REGS_BAR_SIZE;
}

static bool touches_window(const struct virtio_pci *p, uint32_t offset, uint32_t size)
{
    uint32_t data = p->cfg_cap + (uint32_t)sizeof(struct virtio_pci_cap);

    return offset < data + 4 && offset + size > data;
}

static void config_reading(struct pci_dev *d, uint32_t offset, uint32_t size)
{
    struct virtio_pci *p = of_pci(d);
    uint32_t at, len, value;

    if (!touches_window(p, offset, size) || !window(p, &at, &len))
        return;
    value = (uint32_t)regs_read(d, at, len);
    memcpy(&d->config[p->cfg_cap + sizeof(struct virtio_pci_cap)], &value, len);
}

static void config_written(struct pci_dev *d, uint32_t offset, uint32_t size)
{
    struct virtio_pci *p = of_pci(d);
    uint32_t at, len, value = 0;

    if (!touches_window(p, offset, size) || !window(p, &at, &len))
        return;
    memcpy(&value, &d->config[p->cfg_cap + sizeof(struct virtio_pci_cap)], len);
    regs_write(d, at, len, value);
}

/* Operations as a device */

static void reset(struct device *d)
{
    struct virtio_pci *p = of_device(d);

    vdev_power_on(p->v);
    forget_selects(p);
    pci_dev_reset(&p->pci);
}

static void save(struct device *d, void *state)
{
    struct virtio_pci *p = of_device(d);
    struct virtio_pci_state *s = state;

    pci_dev_save(&p->pci, &s->pci);
    vdev_save(p->v, &s->virtio);
    s->device_feature_select = p->device_feature_select;
    s->driver_feature_select = p->driver_feature_select;
    s->queue_select = p->queue_select;
    s->config_vector = p->config_vector;
    s->isr = p->isr;
}

static int check_vectors(const struct virtio_pci *p, const struct virtio_pci_state *s,
                         struct err *e)
{
    bool ok = take_vector(p, s->config_vector) == s->config_vector;

    for (uint32_t i = 0; i < p->v->type->nqueues; i++)
        ok = ok && take_vector(p, s->virtio.queues[i].vector) == s->virtio.queues[i].vector;
    if (!ok || s->isr & ~(ISR_QUEUE | ISR_CONFIG))
        return err_set(e, -EPROTO, STAGE, "an interrupt vector is not among the device's %u",
                       p->pci.msix_vectors);
    return 0;
}

static int load(struct device *d, const void *state, struct err *e)
{
    struct virtio_pci *p = of_device(d);
    const struct virtio_pci_state *s = state;
    int ret = check_vectors(p, s, e);

    if (!ret)
        ret = pci_dev_load(&p->pci, &s->pci, e);
    if (!ret)
        ret = vdev_load(p->v, &s->virtio, e);
    if (ret)
        return ret;
    p->device_feature_select = s->device_feature_select;
    p->driver_feature_select = s->driver_feature_select;
    p->queue_select = s->queue_select;
    p->config_vector = s->config_vector;
    p->isr = s->isr;
    return 0;
}

static int start(struct device *d, struct err *e)
{
    (void)e;
    vdev_start(of_device(d)->v);
    return 0;
}

static void stop(struct device *d)
{
    vdev_stop(of_device(d)->v);
}

static bool idle(struct device *d)
{
    return vdev_idle(of_device(d)->v);
}

static void free_device(struct device *d)
{
    struct virtio_pci *p = of_device(d);
    uint64_t base = p->pci.bars[REGS_BAR].mapped_at;

    if (base)
        drop_doorbells(p, base, p->v->type->nqueues);
    p->pci.bars[REGS_BAR].moved = NULL; /* p->v goes before the BAR does */
    virtio_device_free(p->v);
    pci_dev_fini(&p->pci);
    free(p);
}

#define OPS(label)                                                                                 \
    {                                                                                              \
        .type = (label), .state = &virtio_pci_state_desc, .reset = reset, .save = save,            \
        .load = load, .start = start, .stop = stop, .idle = idle, .free = free_device              \
    }

static const struct device_ops ops[] = {
    OPS("virtio-blk-pci"),
    OPS("virtio-net-pci"),
    OPS("virtio-rng-pci"),
};

static const struct device_ops *ops_of(const struct virtio_type *type)
{
    size_t len = strlen(type->name);

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (!strncmp(ops[i].type, type->name, len) && !strcmp(ops[i].type + len, "-pci"))
            return &ops[i];
    return NULL;
}

struct virtio_device *virtio_pci_vdev(struct device *d)
{
    return d->ops->free == free_device ? of_device(d)->v : NULL;
}

/* Making */

static uint8_t add_cap(struct virtio_pci *p, uint8_t type, uint8_t extra, uint32_t offset,
                       uint32_t length)
{
    uint8_t len = (uint8_t)(sizeof(struct virtio_pci_cap) + extra);
    uint8_t at = pci_add_capability(&p->pci, PCI_CAP_ID_VNDR, len);
    uint8_t *c = &p->pci.config[at];

    c[VIRTIO_PCI_CAP_LEN] = len;
    c[VIRTIO_PCI_CAP_CFG_TYPE] = type;
    c[VIRTIO_PCI_CAP_BAR] = REGS_BAR;
    memcpy(&c[VIRTIO_PCI_CAP_OFFSET], &offset, sizeof(offset));
    memcpy(&c[VIRTIO_PCI_CAP_LENGTH], &length, sizeof(length));
    return at;
}

static void add_caps(struct virtio_pci *p)
{
    const uint32_t stride = NOTIFY_STRIDE;
    uint8_t at;

    add_cap(p, VIRTIO_PCI_CAP_COMMON_CFG, 0, COMMON_AT, COMMON_SIZE);
    add_cap(p, VIRTIO_PCI_CAP_ISR_CFG, 0, ISR_AT, 1);
    if (p->v->config_len)
        add_cap(p, VIRTIO_PCI_CAP_DEVICE_CFG, 0, DEVICE_AT, p->v->config_len);
    at = add_cap(p, VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(stride), NOTIFY_AT,
                 NOTIFY_STRIDE * p->v->type->nqueues);
    memcpy(&p->pci.config[at + sizeof(struct virtio_pci_cap)], &stride, sizeof(stride));

    p->cfg_cap = at = add_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 4, 0, 0);
    p->pci.config[at + VIRTIO_PCI_CAP_BAR] = 0;
    p->pci.wmask[at + VIRTIO_PCI_CAP_BAR] = 0xff;
    memset(&p->pci.wmask[at + VIRTIO_PCI_CAP_OFFSET], 0xff, 12); /* offset, length, data */
    p->pci.config_reading = config_reading;
    p->pci.config_written = config_written;
}

static void set_subsystem(struct pci_dev *d)
{
    const uint16_t ids[2] = {VENDOR_VIRTIO, SUBSYSTEM_ID};

    memcpy(&d->config[PCI_SUBSYSTEM_VENDOR_ID], ids, sizeof(ids));
}

static int build(struct virtio_pci *p, struct virtio_device *v, struct err *e)
{
    struct pci_bar regs = {.size = REGS_BAR_SIZE,
                           .is_64 = true,
                           .read = regs_read,
                           .write = regs_write,
                           .moved = regs_moved};
    int ret;

    set_subsystem(&p->pci);
    ret = pci_add_msix(&p->pci, MSIX_BAR, v->vm, v->type->nqueues + 1, e);
    if (ret)
        return ret;
    pci_add_bar(&p->pci, REGS_BAR, &regs);
    add_caps(p);
    forget_selects(p);
    return vdev_attach(v, &transport, &p->pci.dev, e);
}

int virtio_pci_new(struct virtio_device *v, struct pci_dev **out, struct err *e)
{
    struct virtio_pci *p = calloc(1, sizeof(*p));
    int ret;

    if (!p)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", v->id);
    p->v = v;
    pci_dev_init(&p->pci, ops_of(v->type), v->id, VENDOR_VIRTIO,
                 (uint16_t)(DEVICE_BASE + v->type->id), v->type->pci_class << 8 | REVISION);
    ret = build(p, v, e);
    if (ret) {
        pci_dev_fini(&p->pci);
        free(p);
        return ret;
    }
    *out = &p->pci;
    return 0;
}
