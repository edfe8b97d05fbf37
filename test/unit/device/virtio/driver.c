#include "driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define MSI_ADDRESS 0xfee00000U
#define VECTORS     (DRIVER_QUEUES + 1)

void *driver_ram(struct driver *g, uint64_t gpa)
{
    void *p = guest_mem_ptr(g->rig->mem, gpa, 1);

    assert_non_null(p);
    return p;
}

/* PCI: configuration space by ECAM, slot 1 */

static uint64_t config_at(uint32_t offset)
{
    return RIG_ECAM + (1U << 15) + offset;
}

static uint64_t bar_address(struct rig *r, uint8_t bar)
{
    uint64_t low = rig_read(r, config_at(PCI_BASE_ADDRESS_0 + 4U * bar), 4), high = 0;

    if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
        high = rig_read(r, config_at(PCI_BASE_ADDRESS_0 + 4U * bar + 4), 4);
    return high << 32 | (low & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
}

static void find_structure(struct driver *g, uint32_t cap)
{
    struct rig *r = g->rig;
    uint8_t type = (uint8_t)rig_read(r, config_at(cap + VIRTIO_PCI_CAP_CFG_TYPE), 1);
    uint8_t bar = (uint8_t)rig_read(r, config_at(cap + VIRTIO_PCI_CAP_BAR), 1);
    uint64_t at = bar_address(r, bar) + rig_read(r, config_at(cap + VIRTIO_PCI_CAP_OFFSET), 4);

    switch (type) {
    case VIRTIO_PCI_CAP_COMMON_CFG:
        g->regs = at;
        break;
    case VIRTIO_PCI_CAP_NOTIFY_CFG:
        g->notify = at;
        break;
    case VIRTIO_PCI_CAP_DEVICE_CFG:
        g->config = at;
        break;
    default:
        break;
    }
}

static void enable_msix(struct driver *g, uint32_t cap)
{
    uint64_t table = bar_address(g->rig, (uint8_t)(rig_read(g->rig, config_at(cap + 4), 4) & 7));

    for (uint32_t i = 0; i < VECTORS; i++) {
        rig_write(g->rig, table + 16 * i, 4, MSI_ADDRESS);
        rig_write(g->rig, table + 16 * i + 4, 4, 0);
        rig_write(g->rig, table + 16 * i + 8, 4, 0x40 + i);
        rig_write(g->rig, table + 16 * i + 12, 4, 0);
    }
    rig_write(g->rig, config_at(cap + PCI_MSIX_FLAGS), 2, PCI_MSIX_FLAGS_ENABLE);
}

static void attach_pci(struct driver *g)
{
    struct rig *r = g->rig;
    uint32_t cap;

    rig_write(r, config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (cap = (uint32_t)rig_read(r, config_at(PCI_CAPABILITY_LIST), 1); cap;
         cap = (uint32_t)rig_read(r, config_at(cap + 1), 1)) {
        if (rig_read(r, config_at(cap), 1) == PCI_CAP_ID_VNDR)
            find_structure(g, cap);
        else if (rig_read(r, config_at(cap), 1) == PCI_CAP_ID_MSIX)
            enable_msix(g, cap);
    }
    assert_true(g->regs && g->notify);
}

void driver_attach(struct driver *g, struct rig *r, struct device *d, enum rig_transport t)
{
    memset(g, 0, sizeof(*g));
    g->rig = r;
    g->dev = d;
    g->transport = t;
    if (t == RIG_PCI) {
        attach_pci(g);
    } else {
        g->regs = RIG_MMIO;
        g->config = RIG_MMIO + VIRTIO_MMIO_CONFIG;
        assert_int_equal(rig_read(r, RIG_MMIO, 4), 0x74726976);
        assert_int_equal(rig_read(r, RIG_MMIO + VIRTIO_MMIO_VERSION, 4), 2);
    }
    driver_set_status(g, 0);
    assert_int_equal(driver_status(g), 0);
}

/* Registers that both transports have, each in its own place */

static uint64_t reg_read(struct driver *g, uint32_t pci, uint32_t pci_len, uint32_t mmio)
{
    return g->transport == RIG_PCI ? rig_read(g->rig, g->regs + pci, pci_len)
                                   : rig_read(g->rig, g->regs + mmio, 4);
}

static void reg_write(struct driver *g, uint32_t pci, uint32_t pci_len, uint32_t mmio,
                      uint64_t value)
{
    if (g->transport == RIG_PCI)
        rig_write(g->rig, g->regs + pci, pci_len, value);
    else
        rig_write(g->rig, g->regs + mmio, 4, value);
}

uint8_t driver_status(struct driver *g)
{
    return (uint8_t)reg_read(g, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_MMIO_STATUS);
}

void driver_set_status(struct driver *g, uint8_t status)
{
    reg_write(g, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_MMIO_STATUS, status);
}

uint64_t driver_config(struct driver *g, uint32_t offset, uint32_t len)
{
    return rig_read(g->rig, g->config + offset, len);
}

uint64_t driver_offered(struct driver *g)
{
    uint64_t features = 0;

    for (uint32_t half = 0; half < 2; half++) {
        reg_write(g, VIRTIO_PCI_COMMON_DFSELECT, 4, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        features |= reg_read(g, VIRTIO_PCI_COMMON_DF, 4, VIRTIO_MMIO_DEVICE_FEATURES)
                    << (32 * half);
    }
    return features;
}

bool driver_negotiate(struct driver *g, uint64_t features)
{
    driver_set_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver_set_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (uint32_t half = 0; half < 2; half++) {
        reg_write(g, VIRTIO_PCI_COMMON_GFSELECT, 4, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        reg_write(g, VIRTIO_PCI_COMMON_GF, 4, VIRTIO_MMIO_DRIVER_FEATURES,
                  (uint32_t)(features >> (32 * half)));
    }
    driver_set_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                             VIRTIO_CONFIG_S_FEATURES_OK);
    g->features = features;
    g->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
    return driver_status(g) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static void write_addresses(struct driver *g, const struct driver_queue *q)
{
    const uint64_t addresses[3] = {q->desc, q->avail, q->used};

    for (uint32_t i = 0; i < 3; i++) {
        uint32_t pci = VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i;
        uint32_t mmio = VIRTIO_MMIO_QUEUE_DESC_LOW + 16 * i;

        reg_write(g, pci, 4, mmio, (uint32_t)addresses[i]);
        reg_write(g, pci + 4, 4, mmio + 4, (uint32_t)(addresses[i] >> 32));
    }
}

void driver_queue(struct driver *g, uint32_t index, uint16_t size)
{
    struct driver_queue *q = &g->q[index];
    uint64_t base = DRIVER_RINGS + 0x10000ULL * index;

    *q = (struct driver_queue){.size = size,
                               .desc = base,
                               .avail = base + 0x2000,
                               .used = base + 0x3000,
                               .tables = base + 0x8000};
    memset(driver_ram(g, base), 0, 0x10000);
    reg_write(g, VIRTIO_PCI_COMMON_Q_SELECT, 2, VIRTIO_MMIO_QUEUE_SEL, index);
    reg_write(g, VIRTIO_PCI_COMMON_Q_SIZE, 2, VIRTIO_MMIO_QUEUE_NUM, size);
    write_addresses(g, q);
    if (g->transport == RIG_PCI)
        rig_write(g->rig, g->regs + VIRTIO_PCI_COMMON_Q_MSIX, 2, index + 1);
    reg_write(g, VIRTIO_PCI_COMMON_Q_ENABLE, 2, VIRTIO_MMIO_QUEUE_READY, 1);
}

void driver_ok(struct driver *g)
{
    if (g->transport == RIG_PCI)
        rig_write(g->rig, g->regs + VIRTIO_PCI_COMMON_MSIX, 2, 0);
    driver_set_status(g, driver_status(g) | VIRTIO_CONFIG_S_DRIVER_OK);
    assert_true(driver_status(g) & VIRTIO_CONFIG_S_DRIVER_OK);
}

void driver_probe(struct driver *g, struct rig *r, struct device *d, enum rig_transport t,
                  uint32_t nqueues, uint16_t size)
{
    driver_attach(g, r, d, t);
    assert_true(driver_negotiate(g, driver_offered(g)));
    for (uint32_t i = 0; i < nqueues; i++)
        driver_queue(g, i, size);
    driver_ok(g);
}

/* Rings */

struct vring_desc *driver_desc(struct driver *g, uint32_t queue, uint16_t i)
{
    return driver_ram(g, g->q[queue].desc + 16ULL * i);
}

struct vring_avail *driver_avail(struct driver *g, uint32_t queue)
{
    return driver_ram(g, g->q[queue].avail);
}

struct vring_used *driver_used_ring(struct driver *g, uint32_t queue)
{
    return driver_ram(g, g->q[queue].used);
}

static void fill_desc(struct vring_desc *d, const struct driver_seg *s, bool more, uint16_t next)
{
    *d = (struct vring_desc){
        .addr = s->gpa,
        .len = s->len,
        .flags = (uint16_t)((s->in ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0)),
        .next = more ? next : 0};
}

static uint16_t add_direct(struct driver *g, uint32_t queue, const struct driver_seg *segs,
                           uint32_t n)
{
    struct driver_queue *q = &g->q[queue];
    uint16_t head = q->next_desc % q->size;

    for (uint32_t i = 0; i < n; i++, q->next_desc++)
        fill_desc(driver_desc(g, queue, q->next_desc % q->size), &segs[i], i + 1 < n,
                  (uint16_t)(q->next_desc + 1) % q->size);
    return head;
}

static uint16_t add_indirect(struct driver *g, uint32_t queue, const struct driver_seg *segs,
                             uint32_t n)
{
    struct driver_queue *q = &g->q[queue];
    uint16_t head = q->next_desc++ % q->size;
    uint64_t table = q->tables + 16ULL * DRIVER_SEGS * head;
    struct vring_desc *t = driver_ram(g, table);

    assert_true(table + 16ULL * DRIVER_SEGS <= q->desc + 0x10000);
    for (uint32_t i = 0; i < n; i++)
        fill_desc(&t[i], &segs[i], i + 1 < n, (uint16_t)(i + 1));
    *driver_desc(g, queue, head) =
        (struct vring_desc){.addr = table, .len = 16 * n, .flags = VRING_DESC_F_INDIRECT};
    return head;
}

uint16_t driver_add(struct driver *g, uint32_t queue, const struct driver_seg *segs, uint32_t n)
{
    struct driver_queue *q = &g->q[queue];
    struct vring_avail *a = driver_avail(g, queue);
    uint16_t head;

    assert_true(n <= DRIVER_SEGS);
    head = g->indirect ? add_indirect(g, queue, segs, n) : add_direct(g, queue, segs, n);
    __atomic_store_n(&a->ring[q->avail_idx % q->size], head, __ATOMIC_RELAXED);
    __atomic_store_n(&a->idx, ++q->avail_idx, __ATOMIC_RELEASE);
    return head;
}

void driver_kick(struct driver *g, uint32_t queue)
{
    uint64_t at =
        g->transport == RIG_PCI ? g->notify + 4ULL * queue : g->regs + VIRTIO_MMIO_QUEUE_NOTIFY;
    uint32_t len = g->transport == RIG_PCI ? 2 : 4;

    if (g->slow_doorbell)
        rig_write(g->rig, at, len, queue);
    else
        assert_true(fake_doorbell(g->rig->vm, false, at, len, queue));
}

bool driver_used(struct driver *g, uint32_t queue, struct vring_used_elem *out)
{
    struct driver_queue *q = &g->q[queue];
    struct vring_used *u = driver_used_ring(g, queue);

    if (__atomic_load_n(&u->idx, __ATOMIC_ACQUIRE) == q->last_used)
        return false;
    *out = u->ring[q->last_used++ % q->size];
    if (g->event_idx)
        __atomic_store_n(&driver_avail(g, queue)->ring[q->size], q->last_used, __ATOMIC_RELAXED);
    return true;
}

struct waiting {
    struct driver *g;
    uint32_t queue;
    struct vring_used_elem elem;
};

static bool used_came(void *opaque)
{
    struct waiting *w = opaque;

    return driver_used(w->g, w->queue, &w->elem);
}

struct vring_used_elem driver_wait(struct driver *g, uint32_t queue)
{
    struct waiting w = {.g = g, .queue = queue};

    if (!rig_run_until(g->rig, used_came, &w))
        fail_msg("queue %u: nothing was used", queue);
    return w.elem;
}

uint32_t driver_ack(struct driver *g)
{
    uint32_t status;

    if (g->transport == RIG_PCI)
        return 0;
    status = (uint32_t)rig_read(g->rig, g->regs + VIRTIO_MMIO_INTERRUPT_STATUS, 4);
    rig_write(g->rig, g->regs + VIRTIO_MMIO_INTERRUPT_ACK, 4, status);
    assert_false(fake_irq_level(g->rig->vm, RIG_GSI));
    return status;
}

uint32_t driver_interrupts(struct driver *g, uint32_t queue)
{
    struct fake_msi msi;
    uint32_t n = 0;

    if (g->transport == RIG_MMIO_BUS)
        return fake_irq_edges(g->rig->vm, RIG_GSI);
    for (uint32_t i = 0; fake_msi_get(g->rig->vm, i, &msi); i++)
        n += msi.data == 0x40 + queue + 1;
    return n;
}
