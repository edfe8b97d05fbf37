/*
 * Interrupts and doorbells.
 *
 * An MSI is an eventfd bound by irqfd to a GSI of its own, and the GSI is routed to (address,
 * data). The routing table belongs to the VM and is given to KVM as a whole: the chips' pins first,
 * then every MSI that has a route.
 *
 * When has a raised MSI arrived?  The write to the eventfd runs irqfd's wake-up before it returns;
 * that delivers at once where it can (one destination, found in KVM's APIC map), and otherwise
 * leaves it to a kernel worker.  KVM_IRQFD with DEASSIGN returns only after that irqfd's work has
 * been flushed ("we guarantee there will not be any more interrupts on this gsi once this deassign
 * function returns", virt/kvm/eventfd.c).  So hv_irq_settle takes every irqfd that was raised since
 * the last time off and puts it on again; what was raised in between stays counted in the eventfd,
 * is read from there and delivered by KVM_SIGNAL_MSI, which does not defer.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hv/kvm_priv.h"

_Static_assert(sizeof(struct kvm_irq_routing_entry) == 48, "kvm_irq_routing_entry");
_Static_assert(sizeof(struct kvm_irqfd) == 32, "kvm_irqfd");
_Static_assert(sizeof(struct kvm_ioeventfd) == 64, "kvm_ioeventfd");
_Static_assert(sizeof(struct kvm_msi) == 32, "kvm_msi");

#define PIC_PINS    8
#define CHIP_ROUTES (2 * PIC_PINS + KVM_IOAPIC_NUM_PINS)
#define GSI_MSI     KVM_IOAPIC_NUM_PINS /* the first GSI that is no pin */
#define MSIS_MAX    4096

struct hv_msi {
    struct hv_vm *vm;
    int fd;
    uint32_t gsi;
    bool routed; /* under routes.lock, as are: */
    uint64_t address;
    uint32_t data;
    uint32_t raised; /* atomic: since the last settle */
};

struct hv_routes {
    pthread_mutex_t lock; /* guards everything here, and KVM_SET_GSI_ROUTING */
    uint32_t batch;       /* depth of hv_route_begin */
    bool changed;         /* KVM has not seen the newest table */
    uint32_t max;         /* MSIs that fit */
    struct hv_msi **msis; /* [gsi - GSI_MSI] or NULL */
    struct kvm_irq_routing *table;
};

/* ---- routes ---- */

static void add_pin(struct kvm_irq_routing *t, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    t->entries[t->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = chip, .pin = pin},
    };
}

static void add_msi(struct kvm_irq_routing *t, const struct hv_msi *m)
{
    t->entries[t->nr++] = (struct kvm_irq_routing_entry){
        .gsi = m->gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = {.address_lo = (uint32_t)m->address,
                  .address_hi = (uint32_t)(m->address >> 32),
                  .data = m->data},
    };
}

/* The pins as KVM_CREATE_IRQCHIP routes them. */
static void add_chips(struct kvm_irq_routing *t)
{
    for (uint32_t i = 0; i < PIC_PINS; i++)
        add_pin(t, i, KVM_IRQCHIP_PIC_MASTER, i);
    for (uint32_t i = 0; i < PIC_PINS; i++)
        add_pin(t, PIC_PINS + i, KVM_IRQCHIP_PIC_SLAVE, i);
    for (uint32_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
        add_pin(t, i, KVM_IRQCHIP_IOAPIC, i);
}

/* Under routes.lock. */
static int commit(struct hv_vm *vm)
{
    struct hv_routes *r = vm->routes;
    int rc;

    r->changed = true;
    if (r->batch > 0)
        return 0;
    r->table->nr = 0;
    add_chips(r->table);
    for (uint32_t i = 0; i < r->max; i++)
        if (r->msis[i] && r->msis[i]->routed)
            add_msi(r->table, r->msis[i]);
    rc = kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, r->table);
    if (rc == 0)
        r->changed = false;
    return rc;
}

int kvm_routes_new(struct hv_vm *vm, struct err *e)
{
    struct hv_routes *r = calloc(1, sizeof(*r));

    if (!r)
        goto nomem;
    pthread_mutex_init(&r->lock, NULL);
    vm->routes = r;
    if (vm->caps.max_routes < CHIP_ROUTES + 1)
        return err_set(e, -ENOTSUP, STAGE, "KVM offers %u interrupt routes", vm->caps.max_routes);
    r->max = vm->caps.max_routes - CHIP_ROUTES;
    if (r->max > MSIS_MAX)
        r->max = MSIS_MAX;
    r->msis = calloc(r->max, sizeof(*r->msis));
    r->table = calloc(1, sizeof(*r->table) + (r->max + CHIP_ROUTES) * sizeof(r->table->entries[0]));
    if (r->msis && r->table)
        return 0;
nomem:
    return err_set_errno(e, -ENOMEM, STAGE, "interrupt routes");
}

void kvm_routes_free(struct hv_vm *vm)
{
    struct hv_routes *r = vm->routes;

    if (!r)
        return;
    for (uint32_t i = 0; r->msis && i < r->max; i++) {
        if (r->msis[i])
            close(r->msis[i]->fd);
        free(r->msis[i]);
    }
    pthread_mutex_destroy(&r->lock);
    free(r->msis);
    free(r->table);
    free(r);
    vm->routes = NULL;
}

void hv_route_begin(struct hv_vm *vm)
{
    pthread_mutex_lock(&vm->routes->lock);
    vm->routes->batch++;
    pthread_mutex_unlock(&vm->routes->lock);
}

int hv_route_end(struct hv_vm *vm, struct err *e)
{
    struct hv_routes *r = vm->routes;
    int rc = 0;

    pthread_mutex_lock(&r->lock);
    if (--r->batch == 0 && r->changed)
        rc = commit(vm);
    pthread_mutex_unlock(&r->lock);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "interrupt routes") : 0;
}

/* ---- lines ---- */

int hv_irq_set_level(struct hv_vm *vm, uint32_t gsi, bool level)
{
    struct kvm_irq_level l = {.irq = gsi, .level = level};

    if (gsi >= KVM_IOAPIC_NUM_PINS)
        return -EINVAL;
    return kvm_ioctl(vm->fd, KVM_IRQ_LINE, &l);
}

/* ---- MSIs ---- */

static int irqfd(const struct hv_msi *m, uint32_t flags)
{
    struct kvm_irqfd k = {.fd = (uint32_t)m->fd, .gsi = m->gsi, .flags = flags};

    return kvm_ioctl(m->vm->fd, KVM_IRQFD, &k);
}

static int take_gsi(struct hv_routes *r, struct hv_msi *m)
{
    int rc = -ENOSPC;

    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < r->max && rc < 0; i++) {
        if (r->msis[i])
            continue;
        r->msis[i] = m;
        m->gsi = GSI_MSI + i;
        rc = 0;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int hv_msi_new(struct hv_vm *vm, struct hv_msi **out, struct err *e)
{
    struct hv_msi *m = calloc(1, sizeof(*m));
    int rc = -ENOMEM;

    *out = NULL;
    if (!m)
        goto fail;
    m->vm = vm;
    m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->fd < 0) {
        rc = -errno;
        free(m);
        goto fail;
    }
    rc = take_gsi(vm->routes, m);
    if (rc == 0)
        rc = irqfd(m, 0);
    if (rc == 0) {
        *out = m;
        return 0;
    }
    hv_msi_free(m);
fail:
    return err_set_errno(e, rc, STAGE, "message-signalled interrupt");
}

int hv_msi_route(struct hv_msi *m, uint64_t address, uint32_t data, struct err *e)
{
    struct hv_routes *r = m->vm->routes;
    struct hv_msi before;
    int rc = 0;

    pthread_mutex_lock(&r->lock);
    before = *m;
    if (!m->routed || m->address != address || m->data != data) {
        m->routed = true;
        m->address = address;
        m->data = data;
        rc = commit(m->vm);
    }
    if (rc < 0) {
        m->routed = before.routed;
        m->address = before.address;
        m->data = before.data;
    }
    pthread_mutex_unlock(&r->lock);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "KVM refuses an MSI to 0x%" PRIx64 ", data 0x%x",
                                  address, data)
                  : 0;
}

/* Noted before the write: settle may see a note too many, never one too few. */
void hv_msi_raise(struct hv_msi *m)
{
    const uint64_t one = 1;
    ssize_t n;

    __atomic_store_n(&m->raised, 1, __ATOMIC_SEQ_CST);
    do
        n = write(m->fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
}

void hv_msi_free(struct hv_msi *m)
{
    struct hv_routes *r;

    if (!m)
        return;
    r = m->vm->routes;
    irqfd(m, KVM_IRQFD_FLAG_DEASSIGN);
    pthread_mutex_lock(&r->lock);
    if (m->gsi >= GSI_MSI && r->msis[m->gsi - GSI_MSI] == m) {
        r->msis[m->gsi - GSI_MSI] = NULL;
        if (m->routed)
            commit(m->vm);
    }
    pthread_mutex_unlock(&r->lock);
    close(m->fd);
    free(m);
}

/* Under routes.lock. */
static void settle_one(struct hv_msi *m)
{
    struct kvm_msi k = {
        .address_lo = (uint32_t)m->address,
        .address_hi = (uint32_t)(m->address >> 32),
        .data = m->data,
    };
    uint64_t missed;

    irqfd(m, KVM_IRQFD_FLAG_DEASSIGN);
    if (read(m->fd, &missed, sizeof(missed)) > 0 && m->routed)
        kvm_ioctl(m->vm->fd, KVM_SIGNAL_MSI, &k);
    irqfd(m, 0);
}

void hv_irq_settle(struct hv_vm *vm)
{
    struct hv_routes *r = vm->routes;

    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < r->max; i++) {
        struct hv_msi *m = r->msis[i];

        if (m && __atomic_exchange_n(&m->raised, 0, __ATOMIC_SEQ_CST))
            settle_one(m);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- doorbells ---- */

static int ioeventfd(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                     uint64_t match, int fd, uint32_t flags)
{
    struct kvm_ioeventfd k = {
        .datamatch = match,
        .addr = addr,
        .len = len,
        .fd = fd,
        .flags = flags | (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (datamatch ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
    };

    return kvm_ioctl(vm->fd, KVM_IOEVENTFD, &k);
}

int hv_ioeventfd_add(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                     uint64_t match, int eventfd, struct err *e)
{
    int rc = ioeventfd(vm, pio, addr, len, datamatch, match, eventfd, 0);

    return rc < 0 ? err_set_errno(e, rc, STAGE, "doorbell at %s 0x%" PRIx64 ", %u bytes",
                                  pio ? "port" : "address", addr, len)
                  : 0;
}

void hv_ioeventfd_del(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                      uint64_t match, int eventfd)
{
    ioeventfd(vm, pio, addr, len, datamatch, match, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
