#include "device/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "state/acpi_pm_state.h"

#define STAGE "device"

#define STS_PWRBTN    0x0100
#define STS_CLEARABLE 0x8731 /* TMR, BM, GBL, PWRBTN, SLPBTN, RTC, WAK */
#define EN_WRITABLE   0x0721
#define CNT_SCI_EN    0x0001
#define CNT_WRITABLE  0x1c06 /* BM_RLD, GBL_RLS, SLP_TYP */
#define CNT_SLP_TYP   0x1c00
#define CNT_SLP_EN    0x2000

#define TIMER_HZ 3579545ULL

struct acpi_pm {
    struct device dev; /* first */
    struct acpi_pm_config config;
    bool running;
    struct acpi_pm_state s;
};

static void update_sci(struct acpi_pm *p)
{
    if (p->running)
        hv_irq_set_level(p->config.vm, p->config.sci_gsi, p->s.pm1_status & p->s.pm1_enable);
}

static uint32_t timer_value(const struct acpi_pm *p)
{
    struct x86_clock_state clock;

    if (hv_vm_get_clock(p->config.vm, &clock, NULL))
        return 0;
    return (uint32_t)(clock.clock_ns / 1000000000 * TIMER_HZ +
                      clock.clock_ns % 1000000000 * TIMER_HZ / 1000000000);
}

/* The registers as the guest sees them: 16-bit words at even offsets, then the timer. */
static uint16_t word_at(const struct acpi_pm *p, uint64_t offset)
{
    switch (offset & ~1ULL) {
    case 0:
        return p->s.pm1_status;
    case 2:
        return p->s.pm1_enable;
    case 4:
        return p->s.pm1_control | CNT_SCI_EN; /* there is no legacy mode to leave */
    default:
        return 0;
    }
}

static uint64_t pm_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct acpi_pm *p = opaque;
    uint64_t v = 0;

    if (offset >= ACPI_PM_TMR_OFFSET)
        return timer_value(p) >> (8 * (offset - ACPI_PM_TMR_OFFSET));
    for (uint32_t i = 0; i < size; i++) {
        uint64_t at = offset + i;

        v |= (uint64_t)(word_at(p, at) >> (8 * (at & 1)) & 0xff) << (8 * i);
    }
    return v;
}

static void write_control(struct acpi_pm *p, uint16_t mask, uint16_t v)
{
    p->s.pm1_control = (p->s.pm1_control & ~(mask & CNT_WRITABLE)) | (v & mask & CNT_WRITABLE);
    if ((v & CNT_SLP_EN) && !(p->s.pm1_control & CNT_SLP_TYP))
        p->config.poweroff(p->config.opaque);
}

static void pm_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct acpi_pm *p = opaque;

    for (uint32_t done = 0; done < size;) {
        uint64_t at = offset + done;
        uint32_t n = (at & 1) || size - done == 1 ? 1 : 2;
        uint16_t shift = 8 * (at & 1);
        uint16_t mask = (uint16_t)((n == 2 ? 0xffff : 0xff) << shift);
        uint16_t v = (uint16_t)(value >> (8 * done) << shift) & mask;

        if (at < 2)
            p->s.pm1_status &= (uint16_t) ~(v & STS_CLEARABLE);
        else if (at < 4)
            p->s.pm1_enable = (p->s.pm1_enable & ~mask) | (v & EN_WRITABLE);
        else if (at < 6)
            write_control(p, mask, v);
        done += n;
    }
    update_sci(p);
}

void acpi_pm_press_power_button(struct acpi_pm *p)
{
    pthread_mutex_lock(&p->dev.lock);
    p->s.pm1_status |= STS_PWRBTN;
    update_sci(p);
    pthread_mutex_unlock(&p->dev.lock);
}

static void pm_reset(struct device *d)
{
    struct acpi_pm *p = (struct acpi_pm *)d;

    p->s = (struct acpi_pm_state){0};
    update_sci(p);
}

static void pm_save(struct device *d, void *state)
{
    *(struct acpi_pm_state *)state = ((struct acpi_pm *)d)->s;
}

static int pm_load(struct device *d, const void *state, struct err *e)
{
    const struct acpi_pm_state *in = state;

    if (in->pm1_status & ~STS_CLEARABLE || in->pm1_enable & ~EN_WRITABLE ||
        in->pm1_control & ~CNT_WRITABLE)
        return err_set(e, -EPROTO, STAGE,
                       "impossible register: status 0x%x enable 0x%x control 0x%x", in->pm1_status,
                       in->pm1_enable, in->pm1_control);
    ((struct acpi_pm *)d)->s = *in;
    return 0;
}

static int pm_start(struct device *d, struct err *e)
{
    struct acpi_pm *p = (struct acpi_pm *)d;

    (void)e;
    pthread_mutex_lock(&d->lock);
    p->running = true;
    update_sci(p);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void pm_stop(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    ((struct acpi_pm *)d)->running = false;
    pthread_mutex_unlock(&d->lock);
}

static void pm_free(struct device *d)
{
    struct acpi_pm *p = (struct acpi_pm *)d;

    bus_remove(p->config.pio, p->config.base);
    device_fini(d);
    free(p);
}

static const struct device_ops ops = {
    .type = "acpi-pm",
    .state = &acpi_pm_state_desc,
    .reset = pm_reset,
    .save = pm_save,
    .load = pm_load,
    .start = pm_start,
    .stop = pm_stop,
    .free = pm_free,
};

int acpi_pm_new(const struct acpi_pm_config *c, const char *id, struct acpi_pm **out, struct err *e)
{
    struct acpi_pm *p = calloc(1, sizeof(*p));
    struct bus_range range = {
        .base = c->base, .size = ACPI_PM_SIZE, .read = pm_read, .write = pm_write};
    int ret;

    if (!p)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", id);
    device_init(&p->dev, &ops, id);
    p->config = *c;
    range.dev = &p->dev;
    range.opaque = p;
    ret = bus_add(c->pio, &range, e);
    if (ret) {
        device_fini(&p->dev);
        free(p);
        return ret;
    }
    *out = p;
    return 0;
}

struct device *acpi_pm_device(struct acpi_pm *p)
{
    return &p->dev;
}
