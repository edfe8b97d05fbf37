/*
 * Theory of operation.  What the guest sends is handed to the backend at once, so the transmitter
 * is always empty; "empty" interrupts are remembered in thre_pending, since they are edges to the
 * guest.  What the backend gives waits in the receive FIFO.  The line level is a function of the
 * registers, computed anew after every change.
 */
#include "device/serial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "state/serial_state.h"

#define STAGE "device"

/* Registers by offset (with DLAB: 0 and 1 are the divisor). */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, REGS };

#define IER_RX     0x01
#define IER_TX     0x02
#define IER_LINE   0x04
#define IER_MODEM  0x08
#define IIR_NONE   0x01
#define IIR_TX     0x02
#define IIR_RX     0x04
#define IIR_LINE   0x06
#define IIR_TIME   0x0c
#define IIR_MODEM  0x00
#define IIR_FIFO   0xc0
#define FCR_ENABLE 0x01
#define FCR_RX_CLR 0x02
#define FCR_KEPT   0xc9 /* enable, DMA mode, trigger level */
#define LCR_DLAB   0x80
#define MCR_OUT2   0x08 /* gates the interrupt line on a PC */
#define MCR_LOOP   0x10
#define MCR_KEPT   0x1f
#define LSR_DATA   0x01
#define LSR_OVER   0x02
#define LSR_ERRORS 0x1e
#define LSR_EMPTY  0x60 /* holding register and transmitter */
#define MSR_DELTA  0x0f
#define MSR_LINES  0xb0 /* DCD, DSR, CTS: someone is there */

struct serial {
    struct device dev; /* first */
    struct bus *pio;
    uint16_t base;
    struct hv_vm *vm;
    uint32_t gsi;
    bool running;
    bool full_seen; /* serial_can_receive said 0: the backend waits to hear of room */
    struct serial_backend backend;
    struct serial_state s;
};

static bool fifo_on(const struct serial *s)
{
    return s->s.fcr & FCR_ENABLE;
}

static uint32_t rx_capacity(const struct serial *s)
{
    return fifo_on(s) ? SERIAL_FIFO_SIZE : 1;
}

static uint32_t rx_trigger(const struct serial *s)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return fifo_on(s) ? levels[s->s.fcr >> 6] : 1;
}

static uint8_t msr(const struct serial *s)
{
    uint8_t mcr = s->s.mcr;

    if (!(mcr & MCR_LOOP))
        return MSR_LINES | s->s.msr_delta;
    /* Loopback wires RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. */
    return (uint8_t)((mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x04) << 4 | (mcr & 0x08) << 4 |
                     s->s.msr_delta);
}

/* The highest pending interrupt, in the data sheet's order of priority. */
static uint8_t iir(const struct serial *s)
{
    if ((s->s.ier & IER_LINE) && s->s.lsr_errors)
        return IIR_LINE;
    if ((s->s.ier & IER_RX) && s->s.rx_count >= rx_trigger(s))
        return IIR_RX;
    if ((s->s.ier & IER_RX) && s->s.rx_count)
        return IIR_TIME; /* nothing more is on its way: the timeout has passed */
    if ((s->s.ier & IER_TX) && s->s.thre_pending)
        return IIR_TX;
    if ((s->s.ier & IER_MODEM) && s->s.msr_delta)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_line(struct serial *s)
{
    if (s->running)
        hv_irq_set_level(s->vm, s->gsi, iir(s) != IIR_NONE && (s->s.mcr & MCR_OUT2));
}

static void rx_push(struct serial *s, uint8_t c)
{
    if (s->s.rx_count >= rx_capacity(s))
        s->s.lsr_errors |= LSR_OVER;
    else
        s->s.rx[s->s.rx_count++] = c;
}

static uint8_t rx_pop(struct serial *s)
{
    uint8_t c = s->s.rx[0];

    if (s->s.rx_count == 0)
        return 0;
    s->s.rx_count--;
    memmove(s->s.rx, s->s.rx + 1, s->s.rx_count);
    return c;
}

static void tell_room(struct serial *s)
{
    if (!s->full_seen || s->s.rx_count)
        return;
    s->full_seen = false;
    if (s->backend.can_receive)
        s->backend.can_receive(s->backend.opaque);
}

static uint8_t read_iir(struct serial *s)
{
    uint8_t v = iir(s);

    if (v == IIR_TX)
        s->s.thre_pending = 0;
    return v | (fifo_on(s) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
    uint8_t v = LSR_EMPTY | s->s.lsr_errors | (s->s.rx_count ? LSR_DATA : 0);

    s->s.lsr_errors = 0;
    return v;
}

static uint8_t read_msr(struct serial *s)
{
    uint8_t v = msr(s);

    s->s.msr_delta = 0;
    return v;
}

static uint8_t read_register(struct serial *s, uint64_t reg)
{
    bool dlab = s->s.lcr & LCR_DLAB;

    switch (reg) {
    case REG_DATA:
        return dlab ? s->s.divisor_low : rx_pop(s);
    case REG_IER:
        return dlab ? s->s.divisor_high : s->s.ier;
    case REG_IIR_FCR:
        return read_iir(s);
    case REG_LCR:
        return s->s.lcr;
    case REG_MCR:
        return s->s.mcr;
    case REG_LSR:
        return read_lsr(s);
    case REG_MSR:
        return read_msr(s);
    default:
        return s->s.scr;
    }
}

static uint64_t serial_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct serial *s = opaque;
    uint64_t v = 0;

    for (uint32_t i = 0; i < size && offset + i < REGS; i++)
        v |= (uint64_t)read_register(s, offset + i) << (8 * i);
    update_line(s);
    tell_room(s);
    return v;
}

static void transmit(struct serial *s, uint8_t c)
{
    if (s->s.mcr & MCR_LOOP)
        rx_push(s, c);
    else if (s->backend.write)
        s->backend.write(s->backend.opaque, &c, 1);
    s->s.thre_pending = 1;
}

static void write_ier(struct serial *s, uint8_t v)
{
    /* Enabling the interrupt while the transmitter is empty raises it (data sheet, sec. 8.6). */
    if ((v & IER_TX) && !(s->s.ier & IER_TX))
        s->s.thre_pending = 1;
    s->s.ier = v & 0x0f;
}

static void write_fcr(struct serial *s, uint8_t v)
{
    /* Switching the FIFOs on or off empties them. */
    if ((v & FCR_RX_CLR) || ((v ^ s->s.fcr) & FCR_ENABLE))
        s->s.rx_count = 0;
    s->s.fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
}

static void write_mcr(struct serial *s, uint8_t v)
{
    uint8_t before = msr(s) >> 4, after;

    s->s.mcr = v & MCR_KEPT;
    after = msr(s) >> 4;
    /* Lines that changed; the ring indicator (bit 2) counts only its trailing edge. */
    s->s.msr_delta |= (before ^ after) & (0x0b | (before & 0x04));
}

static void write_register(struct serial *s, uint64_t reg, uint8_t v)
{
    bool dlab = s->s.lcr & LCR_DLAB;

    switch (reg) {
    case REG_DATA:
        if (dlab)
            s->s.divisor_low = v;
        else
            transmit(s, v);
        break;
    case REG_IER:
        if (dlab)
            s->s.divisor_high = v;
        else
            write_ier(s, v);
        break;
    case REG_IIR_FCR:
        write_fcr(s, v);
        break;
    case REG_LCR:
        s->s.lcr = v;
        break;
    case REG_MCR:
        write_mcr(s, v);
        break;
    case REG_SCR:
        s->s.scr = v;
        break;
    default: /* LSR and MSR: read-only */
        break;
    }
}

static void serial_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct serial *s = opaque;

    for (uint32_t i = 0; i < size && offset + i < REGS; i++)
        write_register(s, offset + i, (uint8_t)(value >> (8 * i)));
    update_line(s);
    tell_room(s);
}

static void serial_reset(struct device *d)
{
    struct serial *s = (struct serial *)d;

    s->s = (struct serial_state){.divisor_low = 12, .lcr = 3, .thre_pending = 1};
    update_line(s);
    tell_room(s);
}

static void serial_save(struct device *d, void *state)
{
    *(struct serial_state *)state = ((struct serial *)d)->s;
}

static int serial_load(struct device *d, const void *state, struct err *e)
{
    const struct serial_state *in = state;
    struct serial *s = (struct serial *)d;

    if (in->rx_count > SERIAL_FIFO_SIZE || (!(in->fcr & FCR_ENABLE) && in->rx_count > 1))
        return err_set(e, -EPROTO, STAGE, "%u bytes wait in a receive FIFO of %u", in->rx_count,
                       in->fcr & FCR_ENABLE ? SERIAL_FIFO_SIZE : 1);
    if (in->ier & ~0x0f || in->fcr & ~FCR_KEPT || in->mcr & ~MCR_KEPT ||
        in->lsr_errors & ~LSR_ERRORS || in->msr_delta & ~MSR_DELTA || in->thre_pending > 1)
        return err_set(e, -EPROTO, STAGE,
                       "impossible register: ier 0x%x fcr 0x%x mcr 0x%x lsr 0x%x msr 0x%x "
                       "thre_pending %u",
                       in->ier, in->fcr, in->mcr, in->lsr_errors, in->msr_delta, in->thre_pending);
    s->s = *in;
    return 0;
}

static int serial_start(struct device *d, struct err *e)
{
    struct serial *s = (struct serial *)d;

    (void)e;
    pthread_mutex_lock(&d->lock);
    s->running = true;
    update_line(s);
    s->full_seen = true; /* whoever gave up while we were stopped hears of the room */
    tell_room(s);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void serial_stop(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    ((struct serial *)d)->running = false;
    pthread_mutex_unlock(&d->lock);
}

static void serial_free(struct device *d)
{
    struct serial *s = (struct serial *)d;

    bus_remove(s->pio, s->base);
    device_fini(d);
    free(s);
}

static const struct device_ops ops = {
    .type = "serial",
    .state = &serial_state_desc,
    .reset = serial_reset,
    .save = serial_save,
    .load = serial_load,
    .start = serial_start,
    .stop = serial_stop,
    .free = serial_free,
};

int serial_new(struct bus *pio, uint16_t base, struct hv_vm *vm, uint32_t gsi, const char *id,
               struct serial **out, struct err *e)
{
    struct serial *s = calloc(1, sizeof(*s));
    struct bus_range range = {
        .base = base, .size = REGS, .read = serial_read, .write = serial_write};
    int ret;

    if (!s)
        return err_set(e, -ENOMEM, STAGE, "no memory for serial port '%s'", id);
    device_init(&s->dev, &ops, id);
    s->pio = pio;
    s->base = base;
    s->vm = vm;
    s->gsi = gsi;
    serial_reset(&s->dev);
    range.dev = &s->dev;
    range.opaque = s;
    ret = bus_add(pio, &range, e);
    if (ret) {
        device_fini(&s->dev);
        free(s);
        return ret;
    }
    *out = s;
    return 0;
}

struct device *serial_device(struct serial *s)
{
    return &s->dev;
}

void serial_set_backend(struct serial *s, const struct serial_backend *b)
{
    pthread_mutex_lock(&s->dev.lock);
    s->backend = *b;
    pthread_mutex_unlock(&s->dev.lock);
}

size_t serial_can_receive(struct serial *s)
{
    size_t room = 0;

    pthread_mutex_lock(&s->dev.lock);
    if (s->running && !(s->s.mcr & MCR_LOOP))
        room = rx_capacity(s) - s->s.rx_count;
    s->full_seen = room == 0;
    pthread_mutex_unlock(&s->dev.lock);
    return room;
}

size_t serial_receive(struct serial *s, const uint8_t *data, size_t len)
{
    size_t taken = 0;

    pthread_mutex_lock(&s->dev.lock);
    if (s->running && !(s->s.mcr & MCR_LOOP))
        while (taken < len && s->s.rx_count < rx_capacity(s))
            rx_push(s, data[taken++]);
    update_line(s);
    pthread_mutex_unlock(&s->dev.lock);
    return taken;
}
