/*
 * Theory of operation.  All configuration accesses come through the host bridge, whose lock the bus
 * holds.  The function's own lock is taken for the access to its registers alone: where a write
 * asks for BARs to move, they move afterwards, with only the host's lock held, because a vCPU may
 * sit in one of the BAR's handlers waiting for the function's lock (see bus_remove).
 */
#include "device/pci/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "state/pci_host_state.h"

#define ADDRESS_PORT   0xcf8
#define DATA_PORT      0xcfc
#define ADDRESS_ENABLE 0x80000000U
#define ADDRESS_KEPT   0x80fffffcU
#define ECAM_SIZE      (256ULL << 20)
#define HOST_VENDOR    0x8086
#define HOST_DEVICE    0x29c0
#define HOST_CLASS     0x06000000 /* host bridge */
#define ALL_ONES       0xffffffffU

/* BAR moves while the machine runs: every function's wishes are looked at, since one that moves
 * away may make room for another. */

static void move_away(struct pci_dev *d, uint64_t old[PCI_BARS])
{
    uint64_t wanted[PCI_BARS];

    pthread_mutex_lock(&d->dev.lock);
    for (int i = 0; i < PCI_BARS; i++)
        wanted[i] = pci_bar_wanted(d, i);
    pthread_mutex_unlock(&d->dev.lock);
    for (int i = 0; i < PCI_BARS; i++) {
        old[i] = d->bars[i].mapped_at;
        if (old[i] && old[i] != wanted[i])
            pci_bar_unmap(d, i);
    }
}

static void move_in(struct pci_dev *d, const uint64_t old[PCI_BARS])
{
    pthread_mutex_lock(&d->dev.lock);
    for (int i = 0; i < PCI_BARS; i++) {
        if (!d->bars[i].mapped_at)
            pci_bar_map(d, i, pci_bar_wanted(d, i));
        pci_bar_tell(d, i, old[i]);
    }
    pthread_mutex_unlock(&d->dev.lock);
}

static void move_bars(struct pci_host *h)
{
    uint64_t old[PCI_SLOTS][PCI_BARS];

    for (int i = 0; i < PCI_SLOTS; i++)
        if (h->slots[i])
            move_away(h->slots[i], old[i]);
    for (int i = 0; i < PCI_SLOTS; i++)
        if (h->slots[i])
            move_in(h->slots[i], old[i]);
}

/* Configuration accesses; bdf: bus, device, function as in ECAM addresses. */

static struct pci_dev *find(struct pci_host *h, uint32_t bdf)
{
    return bdf & 7 || bdf >> 8 ? NULL : h->slots[bdf >> 3];
}

static uint32_t config_read(struct pci_host *h, uint32_t bdf, uint32_t reg, uint32_t size)
{
    struct pci_dev *d = find(h, bdf);
    uint32_t v;

    if (!d || reg + size > PCI_CONFIG_SIZE)
        return ALL_ONES;
    pthread_mutex_lock(&d->dev.lock);
    v = pci_config_read(d, reg, size);
    pthread_mutex_unlock(&d->dev.lock);
    return v;
}

static void config_write(struct pci_host *h, uint32_t bdf, uint32_t reg, uint32_t size, uint32_t v)
{
    struct pci_dev *d = find(h, bdf);
    bool moved;

    if (!d || reg + size > PCI_CONFIG_SIZE)
        return;
    pthread_mutex_lock(&d->dev.lock);
    moved = pci_config_write(d, reg, size, v);
    pthread_mutex_unlock(&d->dev.lock);
    if (moved)
        move_bars(h);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, uint32_t size)
{
    uint32_t bdf = (uint32_t)(offset >> 12), reg = offset & (PCI_CONFIG_SIZE - 1);
    uint64_t v = config_read(opaque, bdf, reg, size > 4 ? 4 : size);

    if (size == 8)
        v |= (uint64_t)config_read(opaque, bdf, reg + 4, 4) << 32;
    return v;
}

static void ecam_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t bdf = (uint32_t)(offset >> 12), reg = offset & (PCI_CONFIG_SIZE - 1);

    config_write(opaque, bdf, reg, size > 4 ? 4 : size, (uint32_t)value);
    if (size == 8)
        config_write(opaque, bdf, reg + 4, 4, (uint32_t)(value >> 32));
}

/* The address register is a dword; the byte at 0xcf9 is the chipset's reset register. */

static uint64_t address_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct pci_host *h = opaque;

    if (offset == 0 && size == 4)
        return h->address;
    if (offset == 1 && size == 1 && h->config.reset_read)
        return h->config.reset_read(h->config.reset_opaque, 0, 1);
    return UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pci_host *h = opaque;

    if (offset == 0 && size == 4)
        h->address = (uint32_t)value & ADDRESS_KEPT;
    else if (offset == 1 && size == 1 && h->config.reset_write)
        h->config.reset_write(h->config.reset_opaque, 0, 1, value);
}

static uint64_t data_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct pci_host *h = opaque;

    if (!(h->address & ADDRESS_ENABLE))
        return ALL_ONES;
    return config_read(h, h->address >> 8 & 0xffff, (h->address & 0xfc) + (uint32_t)offset, size);
}

static void data_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pci_host *h = opaque;

    if (h->address & ADDRESS_ENABLE)
        config_write(h, h->address >> 8 & 0xffff, (h->address & 0xfc) + (uint32_t)offset, size,
                     (uint32_t)value);
}

/* Slots */

static int free_slot(const struct pci_host *h, int from, int step)
{
    for (int i = from; i >= 0 && i < PCI_SLOTS; i += step)
        if (!h->slots[i])
            return i;
    return -1;
}

static void put(struct pci_host *h, struct pci_dev *d, int slot)
{
    h->slots[slot] = d;
    d->host = h;
    d->slot = (uint8_t)slot;
}

/* The bridge's own function leaves `slot`, if that is where it is. */
static void make_room(struct pci_host *h, int slot)
{
    int other = free_slot(h, PCI_SLOTS - 1, -1);

    if (h->slots[slot] != &h->own || other < 0)
        return;
    h->slots[slot] = NULL;
    put(h, &h->own, other);
}

int pci_dev_attach(struct pci_dev *d, struct pci_host *h, int slot, struct err *e)
{
    int ret = 0;

    pthread_mutex_lock(&h->dev.lock);
    if (slot < 0)
        slot = free_slot(h, 0, 1);
    else if (slot < PCI_SLOTS)
        make_room(h, slot);
    if (slot < 0 || (slot < PCI_SLOTS && h->slots[slot] == &h->own))
        ret = err_set(e, -ENOSPC, PCI_STAGE, "no slot for '%s': the bus has %d devices already",
                      d->dev.id, PCI_SLOTS - 1);
    else if (slot >= PCI_SLOTS)
        ret = err_set(e, -EINVAL, PCI_STAGE, "'%s' cannot be at addr=%d: slots are 0 to %d",
                      d->dev.id, slot, PCI_SLOTS - 1);
    else if (h->slots[slot])
        ret = err_set(e, -EEXIST, PCI_STAGE, "'%s' cannot be at addr=%d: '%s' is there", d->dev.id,
                      slot, h->slots[slot]->dev.id);
    else
        put(h, d, slot);
    pthread_mutex_unlock(&h->dev.lock);
    return ret;
}

/* Addresses as firmware would give them */

struct window {
    uint64_t next, end;
};

static uint64_t take(struct window *w, uint64_t size)
{
    uint64_t at = (w->next + size - 1) & ~(size - 1);

    if (at < w->next || at > w->end || size > w->end - at)
        return 0;
    w->next = at + size;
    return at;
}

static int assign_function(struct pci_dev *d, struct window *low, struct window *high,
                           struct err *e)
{
    for (int i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &d->bars[i];
        uint32_t reg = PCI_BASE_ADDRESS_0 + 4 * (uint32_t)i;
        uint64_t at = b->size ? take(b->is_64 ? high : low, b->size) : 0;

        if (!b->size)
            continue;
        if (!at)
            return err_set(e, -ENOSPC, PCI_STAGE,
                           "no room in the PCI window for BAR %d of '%s' (0x%" PRIx64 " bytes)", i,
                           d->dev.id, b->size);
        pci_put(d->config, reg, 4, (uint32_t)at | (pci_get(d, reg, 4) & PCI_BAR_FLAGS));
        if (b->is_64)
            pci_put(d->config, reg + 4, 4, (uint32_t)(at >> 32));
    }
    return 0;
}

int pci_host_assign_bars(struct pci_host *h, struct err *e)
{
    const struct pci_host_config *c = &h->config;
    struct window low = {c->window_base, c->window_base + c->window_size};
    struct window high = {c->window64_base, c->window64_base + c->window64_size};
    int ret = 0;

    pthread_mutex_lock(&h->dev.lock);
    for (int i = 0; i < PCI_SLOTS && !ret; i++) {
        struct pci_dev *d = h->slots[i];

        if (!d)
            continue;
        pthread_mutex_lock(&d->dev.lock);
        ret = assign_function(d, &low, &high, e);
        pthread_mutex_unlock(&d->dev.lock);
    }
    pthread_mutex_unlock(&h->dev.lock);
    return ret;
}

/* The device */

static void host_reset(struct device *dev)
{
    struct pci_host *h = (struct pci_host *)dev;

    h->address = 0;
    pci_dev_reset(&h->own);
}

static void host_save(struct device *dev, void *state)
{
    struct pci_host *h = (struct pci_host *)dev;
    struct pci_host_state *s = state;

    s->address = h->address;
    memcpy(s->config, h->own.config, sizeof(s->config));
}

static int host_load(struct device *dev, const void *state, struct err *e)
{
    struct pci_host *h = (struct pci_host *)dev;
    const struct pci_host_state *s = state;
    struct pci_state own = {.msix_vectors = 0};

    if (s->address & ~ADDRESS_KEPT)
        return err_set(e, -EPROTO, PCI_STAGE, "impossible configuration address 0x%x", s->address);
    memcpy(own.config, s->config, sizeof(own.config));
    h->address = s->address;
    return pci_dev_load(&h->own, &own, e);
}

static void host_free(struct device *dev)
{
    pci_host_free((struct pci_host *)dev);
}

static const struct device_ops host_ops = {
    .type = "pci-host",
    .state = &pci_host_state_desc,
    .reset = host_reset,
    .save = host_save,
    .load = host_load,
    .free = host_free,
};

/* The bridge's function has no registers of its own to serve. */
static const struct device_ops own_ops = {.type = "pci-host-function"};

static int add_ranges(struct pci_host *h, struct err *e)
{
    struct bus_range ecam = {.base = h->config.ecam_base,
                             .size = ECAM_SIZE,
                             .dev = &h->dev,
                             .opaque = h,
                             .read = ecam_read,
                             .write = ecam_write};
    struct bus_range address = {.base = ADDRESS_PORT,
                                .size = 4,
                                .dev = &h->dev,
                                .opaque = h,
                                .read = address_read,
                                .write = address_write};
    struct bus_range data = {.base = DATA_PORT,
                             .size = 4,
                             .dev = &h->dev,
                             .opaque = h,
                             .read = data_read,
                             .write = data_write};
    int ret = bus_add(h->config.mmio, &ecam, e);

    if (ret)
        return ret;
    ret = bus_add(h->config.pio, &address, e);
    if (ret)
        goto no_address;
    ret = bus_add(h->config.pio, &data, e);
    if (ret)
        goto no_data;
    return 0;
no_data:
    bus_remove(h->config.pio, ADDRESS_PORT);
no_address:
    bus_remove(h->config.mmio, h->config.ecam_base);
    return ret;
}

int pci_host_new(const struct pci_host_config *c, struct pci_host **out, struct err *e)
{
    struct pci_host *h = calloc(1, sizeof(*h));
    int ret;

    if (!h)
        return err_set(e, -ENOMEM, PCI_STAGE, "no memory for the host bridge");
    h->config = *c;
    device_init(&h->dev, &host_ops, "pcie.0");
    pci_dev_init(&h->own, &own_ops, "pcie.0-host", HOST_VENDOR, HOST_DEVICE, HOST_CLASS);
    put(h, &h->own, 0);
    ret = add_ranges(h, e);
    if (ret) {
        pci_dev_fini(&h->own);
        device_fini(&h->dev);
        free(h);
        return ret;
    }
    *out = h;
    return 0;
}

void pci_host_free(struct pci_host *h)
{
    if (!h)
        return;
    bus_remove(h->config.pio, DATA_PORT);
    bus_remove(h->config.pio, ADDRESS_PORT);
    bus_remove(h->config.mmio, h->config.ecam_base);
    pci_dev_fini(&h->own);
    device_fini(&h->dev);
    free(h);
}

struct device *pci_host_device(struct pci_host *h)
{
    return &h->dev;
}
