#include "rig.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

void rig_init(struct rig *r)
{
    const struct guest_mem_config mc = {.size = 4U << 20, .low_max = 2ULL << 30};
    struct hv_vm_config vc = {.vcpus = 1};
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    if (guest_mem_new(&mc, &r->mem, &e))
        fail_msg("%s", e.text);
    vc.mem = r->mem;
    if (hv_vm_new(&vc, &r->vm, &e))
        fail_msg("%s", e.text);
    r->loop = loop_new();
    r->pio = bus_new("ports");
    r->mmio = bus_new("memory");
    assert_non_null(r->loop);
    assert_non_null(r->pio);
    assert_non_null(r->mmio);
}

void rig_fini(struct rig *r)
{
    bus_free(r->mmio);
    bus_free(r->pio);
    loop_free(r->loop);
    hv_vm_free(r->vm);
    guest_mem_free(r->mem);
}

uint64_t rig_in(struct rig *r, uint16_t port, uint32_t len)
{
    uint64_t v = 0;

    bus_read(r->pio, port, &v, len);
    return v;
}

void rig_out(struct rig *r, uint16_t port, uint32_t len, uint64_t v)
{
    bus_write(r->pio, port, &v, len);
}

uint64_t rig_load(struct rig *r, uint64_t gpa, uint32_t len)
{
    uint64_t v = 0;

    bus_read(r->mmio, gpa, &v, len);
    return v;
}

void rig_store(struct rig *r, uint64_t gpa, uint32_t len, uint64_t v)
{
    bus_write(r->mmio, gpa, &v, len);
}

static void quit(void *opaque)
{
    loop_quit(opaque);
}

void rig_run(struct rig *r, uint32_t ms)
{
    struct loop_timer *t = loop_timer_new(r->loop, quit, r->loop);

    loop_timer_set(t, clock_now_ns() + ms * NS_PER_MS);
    assert_int_equal(loop_run(r->loop), 0);
    loop_timer_free(t);
}

void rig_start(struct device *d)
{
    struct err e = ERR_INIT;

    if (d->ops->start && d->ops->start(d, &e))
        fail_msg("%s", e.text);
}

void rig_reset(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    d->ops->reset(d);
    pthread_mutex_unlock(&d->lock);
}

void rig_save(struct device *d, struct buf *out)
{
    struct err e = ERR_INIT;

    buf_init(out, 0);
    if (device_save(d, out, &e))
        fail_msg("%s", e.text);
}

int rig_restore(struct device *d, const struct buf *in, struct err *e)
{
    struct state_section s;
    struct reader r;
    int ret;

    reader_init(&r, in->data, in->len);
    assert_int_equal(state_section_next(&r, &s, e), 0);
    ret = device_load(d, &s, &r, e);
    if (!ret)
        assert_true(reader_done(&r));
    return ret;
}

int rig_restore_struct(struct device *d, void *state, struct err *e)
{
    struct buf b;
    int ret;

    memcpy(state, d->id, sizeof(d->id)); /* the id is every state's first member */
    buf_init(&b, 0);
    assert_int_equal(state_encode(d->ops->state, d->instance, state, &b), 0);
    ret = rig_restore(d, &b, e);
    buf_fini(&b);
    return ret;
}
