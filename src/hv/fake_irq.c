/* The fake: lines, MSIs, doorbells. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "hv/fake_priv.h"

int hv_irq_set_level(struct hv_vm *vm, uint32_t gsi, bool level)
{
    if (gsi >= FAKE_GSIS)
        return -EINVAL;
    lock(vm);
    vm->edges[gsi] += level && !vm->level[gsi];
    vm->level[gsi] = level;
    unlock(vm);
    return 0;
}

bool fake_irq_level(struct hv_vm *vm, uint32_t gsi)
{
    bool level;

    lock(vm);
    level = gsi < FAKE_GSIS && vm->level[gsi];
    unlock(vm);
    return level;
}

uint32_t fake_irq_edges(struct hv_vm *vm, uint32_t gsi)
{
    uint32_t n;

    lock(vm);
    n = gsi < FAKE_GSIS ? vm->edges[gsi] : 0;
    unlock(vm);
    return n;
}

int hv_msi_new(struct hv_vm *vm, struct hv_msi **out, struct err *e)
{
    struct hv_msi *m = calloc(1, sizeof(*m));

    *out = NULL;
    if (!m)
        return err_set_errno(e, -ENOMEM, STAGE, "MSI");
    m->vm = vm;
    lock(vm);
    while (m->slot < MSIS_MAX && vm->msis[m->slot])
        m->slot++;
    if (m->slot < MSIS_MAX)
        *out = vm->msis[m->slot] = m;
    unlock(vm);
    if (*out)
        return 0;
    free(m);
    return err_set_errno(e, -ENOSPC, STAGE, "MSI");
}

int hv_msi_route(struct hv_msi *m, uint64_t address, uint32_t data, struct err *e)
{
    lock(m->vm);
    m->routed = true;
    m->route = (struct fake_msi){.address = address, .data = data};
    unlock(m->vm);
    return 0;
}

void hv_route_begin(struct hv_vm *vm)
{
}

int hv_route_end(struct hv_vm *vm, struct err *e)
{
    return 0;
}

void hv_msi_raise(struct hv_msi *m)
{
    struct hv_vm *vm = m->vm;

    lock(vm);
    m->raised++;
    if (!m->routed)
        vm->nlost++;
    else if (vm->nlog++ < FAKE_MSI_LOG)
        vm->log[vm->nlog - 1] = m->route;
    unlock(vm);
}

void hv_msi_free(struct hv_msi *m)
{
    if (!m)
        return;
    lock(m->vm);
    m->vm->msis[m->slot] = NULL;
    unlock(m->vm);
    free(m);
}

void hv_irq_settle(struct hv_vm *vm)
{
}

uint32_t fake_msi_count(struct hv_vm *vm)
{
    uint32_t n;

    lock(vm);
    n = vm->nlog;
    unlock(vm);
    return n;
}

uint32_t fake_msi_lost(struct hv_vm *vm)
{
    uint32_t n;

    lock(vm);
    n = vm->nlost;
    unlock(vm);
    return n;
}

bool fake_msi_get(struct hv_vm *vm, uint32_t n, struct fake_msi *out)
{
    bool kept;

    lock(vm);
    kept = n < vm->nlog && n < FAKE_MSI_LOG;
    if (kept)
        *out = vm->log[n];
    unlock(vm);
    return kept;
}

uint32_t fake_msi_raised(const struct hv_msi *m)
{
    uint32_t n;

    lock(m->vm);
    n = m->raised;
    unlock(m->vm);
    return n;
}

bool fake_msi_route(const struct hv_msi *m, struct fake_msi *out)
{
    bool routed;

    lock(m->vm);
    routed = m->routed;
    *out = m->route;
    unlock(m->vm);
    return routed;
}

void fake_msi_clear(struct hv_vm *vm)
{
    lock(vm);
    vm->nlog = vm->nlost = 0;
    unlock(vm);
}

/* ---- doorbells ---- */

static struct doorbell *find_doorbell(struct hv_vm *vm, const struct doorbell *key)
{
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++) {
        struct doorbell *d = &vm->doorbells[i];

        if (d->used && d->pio == key->pio && d->addr == key->addr && d->len == key->len &&
            d->datamatch == key->datamatch && (!d->datamatch || d->match == key->match))
            return d;
    }
    return NULL;
}

static struct doorbell *free_doorbell(struct hv_vm *vm)
{
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++)
        if (!vm->doorbells[i].used)
            return &vm->doorbells[i];
    return NULL;
}

int hv_ioeventfd_add(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                     uint64_t match, int eventfd, struct err *e)
{
    struct doorbell key = {.used = true,
                           .pio = pio,
                           .datamatch = datamatch,
                           .addr = addr,
                           .match = match,
                           .len = len,
                           .fd = eventfd};
    struct doorbell *d;
    int rc = 0;

    lock(vm);
    d = free_doorbell(vm);
    if (find_doorbell(vm, &key))
        rc = -EEXIST;
    else if (!d)
        rc = -ENOSPC;
    else
        *d = key;
    unlock(vm);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "doorbell") : 0;
}

void hv_ioeventfd_del(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, bool datamatch,
                      uint64_t match, int eventfd)
{
    struct doorbell key = {
        .pio = pio, .datamatch = datamatch, .addr = addr, .match = match, .len = len};
    struct doorbell *d;

    lock(vm);
    d = find_doorbell(vm, &key);
    if (d && d->fd == eventfd)
        d->used = false;
    unlock(vm);
}

/* As KVM matches: a registered length of 0 takes writes of any length. */
bool fake_doorbell(struct hv_vm *vm, bool pio, uint64_t addr, uint32_t len, uint64_t value)
{
    const uint64_t one = 1;
    bool rung = false;

    lock(vm);
    for (uint32_t i = 0; i < FAKE_DOORBELLS && !rung; i++) {
        const struct doorbell *d = &vm->doorbells[i];

        if (d->used && d->pio == pio && d->addr == addr && (d->len == 0 || d->len == len) &&
            (!d->datamatch || d->match == value))
            rung = write(d->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
    }
    unlock(vm);
    return rung;
}

uint32_t fake_doorbell_count(struct hv_vm *vm)
{
    uint32_t n = 0;

    lock(vm);
    for (uint32_t i = 0; i < FAKE_DOORBELLS; i++)
        n += vm->doorbells[i].used;
    unlock(vm);
    return n;
}
