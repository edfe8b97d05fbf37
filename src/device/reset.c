#include "device/reset.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "state/reset_state.h"

#define STAGE "device"

#define CONTROL_KEPT 0x0a /* system reset, full reset */
#define CONTROL_NOW  0x04
#define KBD_PORT     0x64
#define KBD_PULSE    0xfe /* pulse output line 0, which is the processors' reset line */

struct reset {
    struct device dev; /* first */
    struct reset_config config;
    _Atomic uint8_t control;
};

uint64_t reset_port_read(void *reset, uint64_t offset, uint32_t size)
{
    (void)offset;
    (void)size;
    return ((struct reset *)reset)->control;
}

void reset_port_write(void *reset, uint64_t offset, uint32_t size, uint64_t value)
{
    struct reset *r = reset;

    (void)offset;
    (void)size;
    r->control = value & CONTROL_KEPT;
    if (value & CONTROL_NOW)
        r->config.reset(r->config.opaque);
}

static uint64_t kbd_read(void *opaque, uint64_t offset, uint32_t size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0; /* no byte to fetch, none waiting to be taken */
}

static void kbd_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct reset *r = opaque;

    (void)offset;
    (void)size;
    if (value == KBD_PULSE)
        r->config.reset(r->config.opaque);
}

static void reset_reset(struct device *d)
{
    ((struct reset *)d)->control = 0;
}

static void reset_save(struct device *d, void *state)
{
    ((struct reset_state *)state)->control = ((struct reset *)d)->control;
}

static int reset_load(struct device *d, const void *state, struct err *e)
{
    const struct reset_state *in = state;

    if (in->control & ~CONTROL_KEPT)
        return err_set(e, -EPROTO, STAGE, "impossible reset control register 0x%x", in->control);
    ((struct reset *)d)->control = in->control;
    return 0;
}

static void reset_free(struct device *d)
{
    struct reset *r = (struct reset *)d;

    bus_remove(r->config.pio, KBD_PORT);
    if (r->config.own_port)
        bus_remove(r->config.pio, RESET_PORT);
    device_fini(d);
    free(r);
}

static const struct device_ops ops = {
    .type = "reset",
    .state = &reset_state_desc,
    .reset = reset_reset,
    .save = reset_save,
    .load = reset_load,
    .free = reset_free,
};

int reset_new(const struct reset_config *c, const char *id, struct reset **out, struct err *e)
{
    struct reset *r = calloc(1, sizeof(*r));
    struct bus_range kbd = {.base = KBD_PORT, .size = 1, .read = kbd_read, .write = kbd_write};
    struct bus_range port = {
        .base = RESET_PORT, .size = 1, .read = reset_port_read, .write = reset_port_write};
    int ret;

    if (!r)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", id);
    kbd.dev = port.dev = &r->dev;
    kbd.opaque = port.opaque = r;
    device_init(&r->dev, &ops, id);
    r->config = *c;
    ret = bus_add(c->pio, &kbd, e);
    if (!ret && c->own_port) {
        ret = bus_add(c->pio, &port, e);
        if (ret)
            bus_remove(c->pio, KBD_PORT);
    }
    if (ret) {
        device_fini(&r->dev);
        free(r);
        return ret;
    }
    *out = r;
    return 0;
}

struct device *reset_device(struct reset *r)
{
    return &r->dev;
}
