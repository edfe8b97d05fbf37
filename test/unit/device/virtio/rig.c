#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"

void rig_init(struct rig *r)
{
    struct guest_mem_config mc = {.size = RIG_RAM, .low_max = 2ULL << 30};
    struct hv_vm_config vc = {.vcpus = 1};
    struct pci_host_config pc;
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    if (guest_mem_new(&mc, &r->mem, &e))
        fail_msg("%s", e.text);
    vc.mem = r->mem;
    if (hv_vm_new(&vc, &r->vm, &e))
        fail_msg("%s", e.text);
    r->loop = loop_new();
    assert_non_null(r->loop);
    r->pio = bus_new("pio");
    r->mmio = bus_new("mmio");
    pc = (struct pci_host_config){.pio = r->pio,
                                  .mmio = r->mmio,
                                  .vm = r->vm,
                                  .ecam_base = RIG_ECAM,
                                  .window_base = 0xc0000000,
                                  .window_size = 0x30000000,
                                  .window64_base = 1ULL << 40,
                                  .window64_size = 1ULL << 36};
    if (pci_host_new(&pc, &r->host, &e))
        fail_msg("%s", e.text);
    r->env = (struct virtio_env){.mem = r->mem, .vm = r->vm, .loop = r->loop};
}

void rig_fini(struct rig *r)
{
    pci_host_free(r->host);
    bus_free(r->pio);
    bus_free(r->mmio);
    loop_free(r->loop);
    hv_vm_free(r->vm);
    guest_mem_free(r->mem);
}

struct device *rig_plug(struct rig *r, struct virtio_device *v, enum rig_transport t)
{
    struct err e = ERR_INIT;
    struct device *d;
    struct pci_dev *p;

    if (t == RIG_MMIO_BUS) {
        if (virtio_mmio_new(v, r->mmio, RIG_MMIO, RIG_GSI, &d, &e))
            fail_msg("%s", e.text);
        return d;
    }
    if (virtio_pci_new(v, &p, &e) || pci_dev_attach(p, r->host, 1, &e) ||
        pci_host_assign_bars(r->host, &e))
        fail_msg("%s", e.text);
    return &p->dev;
}

void rig_unplug(struct device *d)
{
    d->ops->free(d);
}

/* The loop, by hand */

struct wait {
    struct rig *rig;
    bool (*done)(void *opaque);
    void *opaque;
    uint64_t deadline_ns;
    bool met;
    struct loop_timer *timer;
};

static void look(void *opaque)
{
    struct wait *w = opaque;

    w->met = w->done && w->done(w->opaque);
    if (w->met || clock_now_ns() >= w->deadline_ns)
        loop_quit(w->rig->loop);
    else
        loop_timer_set(w->timer, clock_now_ns() + NS_PER_MS);
}

static bool run(struct rig *r, bool (*done)(void *opaque), void *opaque, uint32_t ms)
{
    struct wait w = {
        .rig = r, .done = done, .opaque = opaque, .deadline_ns = clock_now_ns() + ms * NS_PER_MS};

    w.timer = loop_timer_new(r->loop, look, &w);
    assert_non_null(w.timer);
    loop_timer_set(w.timer, 1);
    assert_int_equal(loop_run(r->loop), 0);
    loop_timer_free(w.timer);
    return w.met;
}

bool rig_run_until(struct rig *r, bool (*done)(void *opaque), void *opaque)
{
    return run(r, done, opaque, RIG_TIMEOUT_MS);
}

void rig_run_ms(struct rig *r, uint32_t ms)
{
    run(r, NULL, NULL, ms);
}

/* Life */

void rig_start(struct device *d)
{
    struct err e = ERR_INIT;

    if (d->ops->start(d, &e))
        fail_msg("start: %s", e.text);
}

static bool device_idle(void *opaque)
{
    struct device *d = opaque;

    return d->ops->idle(d);
}

void rig_stop(struct rig *r, struct device *d)
{
    d->ops->stop(d);
    assert_true(rig_run_until(r, device_idle, d));
}

void rig_save(struct device *d, struct buf *out)
{
    struct err e = ERR_INIT;

    buf_init(out, 0);
    if (device_save(d, out, &e))
        fail_msg("save: %s", e.text);
}

int rig_load(struct device *d, const struct buf *in, struct err *e)
{
    struct state_section s;
    struct reader r;
    int ret;

    reader_init(&r, in->data, in->len);
    if (state_section_next(&r, &s, e))
        fail_msg("section: %s", e->text);
    ret = device_load(d, &s, &r, e);
    if (!ret)
        assert_true(reader_done(&r));
    return ret;
}

/* Accesses */

uint64_t rig_read(struct rig *r, uint64_t addr, uint32_t len)
{
    uint64_t value = 0;

    bus_read(r->mmio, addr, &value, len);
    return value;
}

void rig_write(struct rig *r, uint64_t addr, uint32_t len, uint64_t value)
{
    bus_write(r->mmio, addr, &value, len);
}

bool rig_dirty(struct rig *r, uint64_t gpa)
{
    uint64_t page = gpa / GUEST_PAGE_SIZE, bit = 1ULL << (page % 64);

    return __atomic_fetch_and(&r->mem->dirty[page / 64], ~bit, __ATOMIC_RELAXED) & bit;
}

int rig_image_file(uint64_t size, char path[64])
{
    int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    uint64_t *p = malloc(size);

    assert_true(fd >= 0);
    assert_non_null(p);
    for (uint64_t i = 0; i < size / 8; i++)
        p[i] = (i * 8 + 1) * 0x9e3779b97f4a7c15ULL;
    assert_int_equal(pwrite(fd, p, size, 0), size);
    free(p);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}
