/*
 * Theory of operation.  What a vCPU would dirty were it let alone is what it dirties divided by the
 * share of time it is given.  So the share it should get is limit / that, and the throttle moves
 * half of the way there each time: the figures are of a quarter of a second and jump.
 */
#include "vmm/dirtylimit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/monitor.h"

#define PERIOD_NS (250 * NS_PER_MS)
#define STAGE     "dirty limit"

struct limited {
    uint64_t limit;  /* bytes/s; 0: none */
    double rate;     /* bytes/s, smoothed over about a second */
    double throttle; /* percent */
};

struct dirtylimit {
    struct monitor *m;
    struct vm *vm;
    struct loop_timer *timer;
    struct vm_dirty_since since;
    uint64_t pages[X86_VCPUS_MAX];
    struct limited vcpus[X86_VCPUS_MAX];
};

static void apply(struct dirtylimit *d, uint32_t i)
{
    vm_throttle(d->vm, VM_THROTTLE_LIMIT, i, (uint32_t)(d->vcpus[i].throttle + 0.5));
}

static void steer(struct limited *v, uint64_t rate)
{
    double alone, wanted;

    v->rate += ((double)rate - v->rate) / 4;
    alone = (double)rate / (1 - v->throttle / 100);
    wanted = alone > (double)v->limit ? 100 * (1 - (double)v->limit / alone) : 0;
    v->throttle += (wanted - v->throttle) / 2;
    if (v->throttle > 99)
        v->throttle = 99;
}

static void tick(void *opaque)
{
    struct dirtylimit *d = opaque;
    uint64_t rates[X86_VCPUS_MAX];
    struct err e = ERR_INIT;

    if (!vm_is_paused(d->vm) && vm_dirty_rates(d->vm, &d->since, rates, d->vm->nvcpus, &e) != 0) {
        log_error("dirtylimit", "the limits are lifted, and the guest has all of its time: %s",
                  e.text);
        dirtylimit_free(d->m);
        return;
    }
    loop_timer_set(d->timer, clock_now_ns() + PERIOD_NS);
    if (vm_is_paused(d->vm))
        return;
    for (uint32_t i = 0; i < d->vm->nvcpus; i++) {
        if (!d->vcpus[i].limit)
            continue;
        steer(&d->vcpus[i], rates[i]);
        apply(d, i);
    }
}

static int begin(struct monitor *m, struct err *e)
{
    struct dirtylimit *d = calloc(1, sizeof(*d));
    int rc;

    if (d)
        d->timer = loop_timer_new(m->loop, tick, d);
    if (!d || !d->timer) {
        free(d);
        return err_set(e, -ENOMEM, STAGE, "no memory for a limit");
    }
    d->m = m;
    d->vm = m->vm;
    d->since.pages = d->pages;
    rc = hv_dirty_start(d->vm->hv, e);
    if (rc != 0) {
        loop_timer_free(d->timer);
        free(d);
        return rc;
    }
    m->dirtylimit = d;
    loop_timer_set(d->timer, 0);
    return 0;
}

static int check(struct monitor *m, uint32_t vcpu, struct err *e)
{
    int rc = monitor_check_mine(m, "limit what is dirtied", e);

    if (rc != 0)
        return rc;
    if (!hv_vm_caps(m->vm->hv)->dirty_ring)
        return err_set(e, -ENOTSUP, STAGE,
                       "this machine was started without dirty rings (-accel "
                       "kvm,dirty-ring-size=4096), so what each vCPU dirties is not known");
    if (vcpu != VM_ALL_VCPUS && vcpu >= m->vm->nvcpus)
        return err_set(e, -EINVAL, STAGE, "there is no vCPU %u; the last is %u", vcpu,
                       m->vm->nvcpus - 1);
    return 0;
}

int dirtylimit_set(struct monitor *m, uint32_t vcpu, uint64_t bytes_per_s, struct err *e)
{
    int rc = check(m, vcpu, e);

    if (rc == 0 && bytes_per_s == 0)
        rc = err_set(e, -EINVAL, STAGE, "a limit of 0");
    if (rc == 0 && !m->dirtylimit)
        rc = begin(m, e);
    for (uint32_t i = 0; rc == 0 && i < m->vm->nvcpus; i++)
        if (vcpu == VM_ALL_VCPUS || vcpu == i)
            m->dirtylimit->vcpus[i].limit = bytes_per_s;
    return rc;
}

int dirtylimit_cancel(struct monitor *m, uint32_t vcpu, struct err *e)
{
    struct dirtylimit *d = m->dirtylimit;
    bool any = false;
    int rc = check(m, vcpu, e);

    if (rc != 0 || !d)
        return rc;
    for (uint32_t i = 0; i < d->vm->nvcpus; i++) {
        if (vcpu == VM_ALL_VCPUS || vcpu == i) {
            d->vcpus[i] = (struct limited){0};
            apply(d, i);
        }
        any |= d->vcpus[i].limit != 0;
    }
    if (!any)
        dirtylimit_free(m);
    return 0;
}

uint32_t dirtylimit_query(struct monitor *m, struct dirtylimit_vcpu *out, uint32_t cap)
{
    struct dirtylimit *d = m->dirtylimit;
    uint32_t n = 0;

    for (uint32_t i = 0; d && i < d->vm->nvcpus && n < cap; i++) {
        const struct limited *v = &d->vcpus[i];

        if (v->limit)
            out[n++] = (struct dirtylimit_vcpu){.vcpu = i,
                                                .limit = v->limit,
                                                .rate = (uint64_t)v->rate,
                                                .throttle = (uint32_t)(v->throttle + 0.5)};
    }
    return n;
}

void dirtylimit_free(struct monitor *m)
{
    struct dirtylimit *d = m->dirtylimit;

    if (!d)
        return;
    vm_throttle(d->vm, VM_THROTTLE_LIMIT, VM_ALL_VCPUS, 0);
    hv_dirty_stop(d->vm->hv);
    loop_timer_free(d->timer);
    free(d);
    m->dirtylimit = NULL;
}
