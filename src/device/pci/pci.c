/* A function: configuration space, capabilities, BARs, and what of it moves. */
#include "device/pci/internal.h"

#include <errno.h>
#include <string.h>

static const struct field fields[] = {
    FIELD_BLOB(struct pci_state, config),
    FIELD_VARRAY(struct pci_state, FIELD_U64, msix_address, msix_vectors),
    FIELD_VARRAY(struct pci_state, FIELD_U32, msix_data, msix_vectors),
    FIELD_VARRAY(struct pci_state, FIELD_U32, msix_control, msix_vectors),
    FIELD_ARRAY(struct pci_state, FIELD_U64, msix_pending),
};

STATE_DESC(pci_state_desc, "pci", 1, struct pci_state, fields);

void pci_dev_init(struct pci_dev *d, const struct device_ops *ops, const char *id, uint16_t vendor,
                  uint16_t device, uint32_t class_rev)
{
    device_init(&d->dev, ops, id);
    d->host = NULL;
    d->slot = 0;
    memset(d->config, 0, sizeof(d->config));
    memset(d->wmask, 0, sizeof(d->wmask));
    memset(d->bars, 0, sizeof(d->bars));
    d->config_reading = d->config_written = NULL;
    d->caps_end = PCI_STD_HEADER_SIZEOF;
    d->msix_vectors = 0;
    pci_put(d->config, PCI_VENDOR_ID, 2, vendor);
    pci_put(d->config, PCI_DEVICE_ID, 2, device);
    pci_put(d->config, PCI_CLASS_REVISION, 4, class_rev);
    pci_put(d->config, PCI_SUBSYSTEM_VENDOR_ID, 2, vendor);
    pci_put(d->config, PCI_SUBSYSTEM_ID, 2, device);
    pci_put(d->wmask, PCI_COMMAND, 2, PCI_COMMAND_WRITABLE);
    pci_put(d->wmask, PCI_CACHE_LINE_SIZE, 1, 0xff);
    pci_put(d->wmask, PCI_INTERRUPT_LINE, 1, 0xff);
}

void pci_dev_fini(struct pci_dev *d)
{
    if (d->host)
        for (int i = 0; i < PCI_BARS; i++)
            if (d->bars[i].mapped_at)
                bus_remove(d->host->config.mmio, d->bars[i].mapped_at);
    if (d->host && d->host->slots[d->slot] == d)
        d->host->slots[d->slot] = NULL;
    pci_msix_fini(d);
    device_fini(&d->dev);
}

/* Capabilities follow one another after the header; each new one becomes the head of the list. */
uint8_t pci_add_capability(struct pci_dev *d, uint8_t id, uint8_t len)
{
    uint32_t at = d->caps_end;

    if (at + len > PCI_CONV_SIZE)
        return 0;
    d->caps_end = (at + len + 3) & ~3U;
    d->config[at] = id;
    d->config[at + 1] = d->config[PCI_CAPABILITY_LIST];
    d->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
    pci_put(d->config, PCI_STATUS, 2, pci_get(d, PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
    return (uint8_t)at;
}

void pci_add_bar(struct pci_dev *d, int bar, const struct pci_bar *desc)
{
    uint32_t at = PCI_BASE_ADDRESS_0 + 4 * (uint32_t)bar;
    uint64_t mask = ~(desc->size - 1) & ~(uint64_t)PCI_BAR_FLAGS;

    d->bars[bar] = *desc;
    d->bars[bar].owner = d;
    d->bars[bar].mapped_at = 0;
    pci_put(d->config, at, 4,
            desc->is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
    pci_put(d->wmask, at, 4, (uint32_t)mask);
    if (desc->is_64)
        pci_put(d->wmask, at + 4, 4, (uint32_t)(mask >> 32));
}

/* Configuration accesses */

static bool overlaps(uint32_t offset, uint32_t size, uint32_t first, uint32_t len)
{
    return offset < first + len && first < offset + size;
}

uint32_t pci_config_read(struct pci_dev *d, uint32_t offset, uint32_t size)
{
    if (d->config_reading)
        d->config_reading(d, offset, size);
    return pci_get(d, offset, size);
}

bool pci_config_write(struct pci_dev *d, uint32_t offset, uint32_t size, uint32_t v)
{
    for (uint32_t i = 0; i < size; i++) {
        uint8_t mask = d->wmask[offset + i];

        d->config[offset + i] = (d->config[offset + i] & ~mask) | ((v >> (8 * i)) & mask);
    }
    if (d->msix_vectors && overlaps(offset, size, d->msix_cap + 2U, 2))
        pci_msix_control_written(d);
    if (d->config_written)
        d->config_written(d, offset, size);
    return overlaps(offset, size, PCI_COMMAND, 2) ||
           overlaps(offset, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS);
}

/* BARs */

static bool inside(uint64_t base, uint64_t size, uint64_t window, uint64_t window_size)
{
    return base >= window && base - window < window_size && size <= window_size - (base - window);
}

uint64_t pci_bar_wanted(const struct pci_dev *d, int bar)
{
    const struct pci_bar *b = &d->bars[bar];
    const struct pci_host_config *c = &d->host->config;
    uint32_t at = PCI_BASE_ADDRESS_0 + 4 * (uint32_t)bar;
    uint64_t base;

    if (b->size == 0 || !(pci_get(d, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
        return 0;
    base = pci_get(d, at, 4) & ~(uint32_t)PCI_BAR_FLAGS;
    if (b->is_64)
        base |= (uint64_t)pci_get(d, at + 4, 4) << 32;
    return inside(base, b->size, c->window_base, c->window_size) ||
                   inside(base, b->size, c->window64_base, c->window64_size)
               ? base
               : 0;
}

static uint64_t bar_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct pci_bar *b = opaque;

    return b->read(b->owner, offset, size);
}

static void bar_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pci_bar *b = opaque;

    b->write(b->owner, offset, size, value);
}

void pci_bar_unmap(struct pci_dev *d, int bar)
{
    if (d->bars[bar].mapped_at)
        bus_remove(d->host->config.mmio, d->bars[bar].mapped_at);
    d->bars[bar].mapped_at = 0;
}

void pci_bar_map(struct pci_dev *d, int bar, uint64_t at)
{
    struct pci_bar *b = &d->bars[bar];
    struct bus_range r = {.base = at,
                          .size = b->size,
                          .dev = &d->dev,
                          .opaque = b,
                          .read = bar_read,
                          .write = bar_write};

    if (at && !bus_add(d->host->config.mmio, &r, NULL))
        b->mapped_at = at;
}

void pci_bar_tell(struct pci_dev *d, int bar, uint64_t old)
{
    struct pci_bar *b = &d->bars[bar];

    if (b->moved && b->mapped_at != old)
        b->moved(d, bar, old, b->mapped_at);
}

void pci_bars_sync(struct pci_dev *d)
{
    if (!d->host)
        return;
    for (int i = 0; i < PCI_BARS; i++) {
        uint64_t wanted = pci_bar_wanted(d, i), old = d->bars[i].mapped_at;

        if (wanted == old)
            continue;
        pci_bar_unmap(d, i);
        pci_bar_map(d, i, wanted);
        pci_bar_tell(d, i, old);
    }
}

/* What moves */

void pci_dev_reset(struct pci_dev *d)
{
    for (uint32_t i = 0; i < PCI_CONFIG_SIZE; i++)
        d->config[i] &= (uint8_t)~d->wmask[i];
    pci_msix_reset(d);
    pci_bars_sync(d);
}

void pci_dev_save(const struct pci_dev *d, struct pci_state *s)
{
    memcpy(s->config, d->config, sizeof(s->config));
    pci_msix_save(d, s);
}

int pci_dev_load(struct pci_dev *d, const struct pci_state *s, struct err *e)
{
    int ret;

    for (uint32_t i = 0; i < sizeof(s->config); i++)
        if ((s->config[i] ^ d->config[i]) & ~d->wmask[i])
            return err_set(e, -EPROTO, PCI_STAGE,
                           "read-only configuration byte 0x%02x is 0x%02x there and 0x%02x here: "
                           "not the same device",
                           i, s->config[i], d->config[i]);
    ret = pci_msix_check(d, s, e);
    if (ret)
        return ret;
    memcpy(d->config, s->config, sizeof(s->config));
    ret = pci_msix_load(d, s, e);
    pci_bars_sync(d);
    return ret;
}
