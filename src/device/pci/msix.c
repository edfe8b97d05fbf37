/*
 * MSI-X (PCI Local Bus 3.0, sec. 6.8.2).  The table is at the start of its BAR, the pending bits
 * one page on.  A vector's message is handed to the hypervisor when it becomes deliverable
 * (unmasked), not on each of the three writes that make it up; what has been handed over is kept in
 * routed[], so that masking and unmasking the same message costs nothing.
 */
#include "device/pci/internal.h"

#include <errno.h>
#include <string.h>

#define BAR_SIZE   8192
#define PBA_OFFSET 4096
#define CAP_SIZE   12
#define CTRL       2 /* offset in the capability */
#define NOT_ROUTED 1U

_Static_assert(PCI_MSIX_MAX *PCI_MSIX_ENTRY_SIZE <= PBA_OFFSET,
               "the table ends where the PBA begins");

static bool table_masked(const struct pci_dev *d, uint32_t v)
{
    uint32_t ctrl = pci_get(d, d->msix_cap + CTRL, 2);

    return !(ctrl & PCI_MSIX_FLAGS_ENABLE) || (ctrl & PCI_MSIX_FLAGS_MASKALL) ||
           (d->msix[v].control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

bool pci_msix_enabled(const struct pci_dev *d)
{
    return d->msix_vectors && (pci_get(d, d->msix_cap + CTRL, 2) & PCI_MSIX_FLAGS_ENABLE);
}

/* Hands vector v's message over if it is not the one handed over before. */
static int route(struct pci_dev *d, uint32_t v, struct err *e)
{
    struct pci_msix_vector *now = &d->routed[v], *want = &d->msix[v];
    int ret;

    if (now->control != NOT_ROUTED && now->address == want->address && now->data == want->data)
        return 0;
    ret = hv_msi_route(d->msi[v], want->address, want->data, e);
    *now = (struct pci_msix_vector){want->address, want->data, ret ? NOT_ROUTED : 0};
    return ret;
}

/* Vector v may have become deliverable: then so is what it has pending. */
static void settle(struct pci_dev *d, uint32_t v)
{
    uint64_t bit = 1ULL << (v % 64);

    /* A message the chips refuse is the guest's own mistake: it goes nowhere, as on hardware. */
    if (table_masked(d, v) || route(d, v, NULL))
        return;
    if (d->msix_pending[v / 64] & bit) {
        d->msix_pending[v / 64] &= ~bit;
        hv_msi_raise(d->msi[v]);
    }
}

void pci_msix_raise(struct pci_dev *d, uint32_t v)
{
    if (v >= d->msix_vectors || !pci_msix_enabled(d))
        return;
    d->msix_pending[v / 64] |= 1ULL << (v % 64);
    settle(d, v);
}

void pci_msix_control_written(struct pci_dev *d)
{
    for (uint32_t v = 0; v < d->msix_vectors; v++)
        settle(d, v);
}

/* The BAR: dwords and qwords only (sec. 6.8.2: other accesses are undefined). */

static uint32_t read_dword(const struct pci_dev *d, uint64_t offset)
{
    const struct pci_msix_vector *v;

    if (offset >= PBA_OFFSET) {
        uint64_t word = (offset - PBA_OFFSET) / 8;

        if (word >= PCI_MSIX_MAX / 64)
            return 0;
        return (uint32_t)(d->msix_pending[word] >> (8 * (offset & 4)));
    }
    if (offset / PCI_MSIX_ENTRY_SIZE >= d->msix_vectors)
        return 0;
    v = &d->msix[offset / PCI_MSIX_ENTRY_SIZE];
    switch (offset % PCI_MSIX_ENTRY_SIZE) {
    case 0:
        return (uint32_t)v->address;
    case 4:
        return (uint32_t)(v->address >> 32);
    case 8:
        return v->data;
    default:
        return v->control;
    }
}

static void write_dword(struct pci_dev *d, uint64_t offset, uint32_t value)
{
    uint32_t n = (uint32_t)(offset / PCI_MSIX_ENTRY_SIZE);
    struct pci_msix_vector *v;

    if (n >= d->msix_vectors) /* the pending bits lie beyond, and are read-only */
        return;
    v = &d->msix[n];
    switch (offset % PCI_MSIX_ENTRY_SIZE) {
    case 0:
        v->address = (v->address & ~0xffffffffULL) | (value & ~3U);
        break;
    case 4:
        v->address = (v->address & 0xffffffffULL) | (uint64_t)value << 32;
        break;
    case 8:
        v->data = value;
        break;
    default:
        v->control = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
        break;
    }
    settle(d, n);
}

static uint64_t msix_read(struct pci_dev *d, uint64_t offset, uint32_t size)
{
    if (size < 4 || offset % size)
        return UINT64_MAX;
    return size == 4 ? read_dword(d, offset)
                     : read_dword(d, offset) | (uint64_t)read_dword(d, offset + 4) << 32;
}

static void msix_write(struct pci_dev *d, uint64_t offset, uint32_t size, uint64_t value)
{
    if (size < 4 || offset % size)
        return;
    write_dword(d, offset, (uint32_t)value);
    if (size == 8)
        write_dword(d, offset + 4, (uint32_t)(value >> 32));
}

int pci_add_msix(struct pci_dev *d, int bar, struct hv_vm *vm, uint32_t n, struct err *e)
{
    int ret;

    if (n == 0 || n > PCI_MSIX_MAX)
        return err_set(e, -EINVAL, PCI_STAGE, "device '%s': %u MSI-X vectors; 1 to %d can be had",
                       d->dev.id, n, PCI_MSIX_MAX);
    d->msix_cap = pci_add_capability(d, PCI_CAP_ID_MSIX, CAP_SIZE);
    if (!d->msix_cap)
        return err_set(e, -ENOSPC, PCI_STAGE, "device '%s': no room for the MSI-X capability",
                       d->dev.id);
    for (; d->msix_vectors < n; d->msix_vectors++) {
        ret = hv_msi_new(vm, &d->msi[d->msix_vectors], e);
        if (ret)
            return err_prefix(e, "device '%s'", d->dev.id); /* pci_dev_fini gives back the others */
    }
    pci_put(d->config, d->msix_cap + CTRL, 2, n - 1);
    pci_put(d->config, d->msix_cap + 4U, 4, (uint32_t)bar);
    pci_put(d->config, d->msix_cap + 8U, 4, PBA_OFFSET | (uint32_t)bar);
    pci_put(d->wmask, d->msix_cap + CTRL, 2, PCI_MSIX_FLAGS_MASKALL | PCI_MSIX_FLAGS_ENABLE);
    pci_add_bar(d, bar,
                &(struct pci_bar){.size = BAR_SIZE, .read = msix_read, .write = msix_write});
    pci_msix_reset(d);
    return 0;
}

void pci_msix_reset(struct pci_dev *d)
{
    for (uint32_t v = 0; v < d->msix_vectors; v++) {
        d->msix[v] = (struct pci_msix_vector){.control = PCI_MSIX_ENTRY_CTRL_MASKBIT};
        d->routed[v].control = NOT_ROUTED;
    }
    memset(d->msix_pending, 0, sizeof(d->msix_pending));
}

void pci_msix_save(const struct pci_dev *d, struct pci_state *s)
{
    s->msix_vectors = d->msix_vectors;
    for (uint32_t v = 0; v < d->msix_vectors; v++) {
        s->msix_address[v] = d->msix[v].address;
        s->msix_data[v] = d->msix[v].data;
        s->msix_control[v] = d->msix[v].control;
    }
    memcpy(s->msix_pending, d->msix_pending, sizeof(s->msix_pending));
}

int pci_msix_check(const struct pci_dev *d, const struct pci_state *s, struct err *e)
{
    if (s->msix_vectors != d->msix_vectors)
        return err_set(e, -EPROTO, PCI_STAGE, "%u MSI-X vectors there, %u here", s->msix_vectors,
                       d->msix_vectors);
    for (uint32_t v = 0; v < PCI_MSIX_MAX; v++) {
        bool pending = s->msix_pending[v / 64] >> (v % 64) & 1;

        if (v < s->msix_vectors
                ? s->msix_control[v] & ~PCI_MSIX_ENTRY_CTRL_MASKBIT || s->msix_address[v] & 3
                : pending)
            return err_set(e, -EPROTO, PCI_STAGE, "MSI-X vector %u of %u is impossible", v,
                           s->msix_vectors);
    }
    return 0;
}

int pci_msix_load(struct pci_dev *d, const struct pci_state *s, struct err *e)
{
    pci_msix_reset(d);
    for (uint32_t v = 0; v < d->msix_vectors; v++) {
        int ret;

        d->msix[v] =
            (struct pci_msix_vector){s->msix_address[v], s->msix_data[v], s->msix_control[v]};
        ret = table_masked(d, v) ? 0 : route(d, v, e);
        if (ret)
            return err_prefix(e, "MSI-X vector %u", v);
    }
    memcpy(d->msix_pending, s->msix_pending, sizeof(d->msix_pending));
    return 0;
}

void pci_msix_fini(struct pci_dev *d)
{
    for (uint32_t v = 0; v < d->msix_vectors; v++)
        hv_msi_free(d->msi[v]);
    d->msix_vectors = 0;
}
