/* The UART as a driver sees it: registers, FIFOs, interrupts; and what moves. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "device/serial.h"
#include "state/serial_state.h"

#define BASE 0x3f8
#define GSI  4

struct fixture {
    struct rig rig;
    struct serial *serial;
    char sent[64];
    size_t nsent;
    uint32_t room_told;
};

static void backend_write(void *opaque, const uint8_t *data, size_t len)
{
    struct fixture *f = opaque;

    assert_true(f->nsent + len < sizeof(f->sent));
    memcpy(f->sent + f->nsent, data, len);
    f->nsent += len;
}

static void backend_can_receive(void *opaque)
{
    ((struct fixture *)opaque)->room_told++;
}

static int setup(void **state)
{
    static struct fixture f;
    struct err e = ERR_INIT;

    memset(&f, 0, sizeof(f));
    rig_init(&f.rig);
    assert_int_equal(serial_new(f.rig.pio, BASE, f.rig.vm, GSI, "serial0", &f.serial, &e), 0);
    serial_set_backend(f.serial, &(struct serial_backend){.opaque = &f,
                                                          .write = backend_write,
                                                          .can_receive = backend_can_receive});
    rig_start(serial_device(f.serial));
    f.room_told = 0;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct device *d = serial_device(f->serial);

    d->ops->free(d);
    rig_fini(&f->rig);
    return 0;
}

static uint8_t in(struct fixture *f, int reg)
{
    return (uint8_t)rig_in(&f->rig, (uint16_t)(BASE + reg), 1);
}

static void out(struct fixture *f, int reg, uint8_t v)
{
    rig_out(&f->rig, (uint16_t)(BASE + reg), 1, v);
}

static bool line(struct fixture *f)
{
    return fake_irq_level(f->rig.vm, GSI);
}

static void sends_at_once(void **state)
{
    struct fixture *f = *state;

    for (const char *p = "hello"; *p; p++) {
        assert_int_equal(in(f, 5) & 0x60, 0x60);
        out(f, 0, (uint8_t)*p);
    }
    assert_string_equal(f->sent, "hello");
}

static void divisor_behind_dlab(void **state)
{
    struct fixture *f = *state;

    out(f, 3, 0x83);
    out(f, 0, 0x34);
    out(f, 1, 0x12);
    assert_int_equal(in(f, 0), 0x34);
    assert_int_equal(in(f, 1), 0x12);
    out(f, 3, 0x03);
    assert_int_equal(in(f, 1), 0);
    assert_int_equal(f->nsent, 0);
    assert_int_equal(in(f, 3), 0x03);
}

static void scratch_and_fifo_identification(void **state)
{
    struct fixture *f = *state;

    out(f, 7, 0xa5);
    assert_int_equal(in(f, 7), 0xa5);
    assert_int_equal(in(f, 2), 0x01);
    out(f, 2, 0x01);
    assert_int_equal(in(f, 2), 0xc1);
}

static void receives_in_order(void **state)
{
    struct fixture *f = *state;

    out(f, 2, 0x01);
    assert_int_equal(serial_can_receive(f->serial), 16);
    assert_int_equal(serial_receive(f->serial, (const uint8_t *)"abcdefghijklmnopqrst", 20), 16);
    assert_int_equal(serial_can_receive(f->serial), 0);
    for (char c = 'a'; c <= 'p'; c++) {
        assert_int_equal(in(f, 5) & 0x01, 0x01);
        assert_int_equal(in(f, 0), c);
    }
    assert_int_equal(in(f, 5) & 0x01, 0);
    assert_int_equal(f->room_told, 1);
    assert_int_equal(serial_can_receive(f->serial), 16);
}

static void without_fifo_one_byte(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(serial_receive(f->serial, (const uint8_t *)"xy", 2), 1);
    assert_int_equal(in(f, 0), 'x');
}

static void receive_interrupt_and_trigger(void **state)
{
    struct fixture *f = *state;

    out(f, 4, 0x08);
    out(f, 2, 0x81); /* trigger at 8 */
    out(f, 1, 0x01);
    assert_false(line(f));
    serial_receive(f->serial, (const uint8_t *)"a", 1);
    assert_true(line(f));
    assert_int_equal(in(f, 2), 0xcc); /* below the trigger: timeout */
    serial_receive(f->serial, (const uint8_t *)"bcdefgh", 7);
    assert_int_equal(in(f, 2), 0xc4);
    for (int i = 0; i < 8; i++)
        in(f, 0);
    assert_false(line(f));
    assert_int_equal(in(f, 2), 0xc1);
}

static void out2_gates_the_line(void **state)
{
    struct fixture *f = *state;

    out(f, 1, 0x01);
    serial_receive(f->serial, (const uint8_t *)"a", 1);
    assert_false(line(f));
    out(f, 4, 0x08);
    assert_true(line(f));
}

static void transmit_interrupt(void **state)
{
    struct fixture *f = *state;

    out(f, 4, 0x08);
    out(f, 1, 0x02);
    assert_true(line(f)); /* enabling it while empty raises it */
    assert_int_equal(in(f, 2), 0x02);
    assert_false(line(f)); /* reading IIR took it away */
    assert_int_equal(in(f, 2), 0x01);
    out(f, 0, 'x');
    assert_true(line(f));
    assert_int_equal(fake_irq_edges(f->rig.vm, GSI), 2);
}

static void loopback(void **state)
{
    struct fixture *f = *state;

    out(f, 4, 0x1a); /* loop, RTS, OUT2 */
    assert_int_equal(in(f, 6) & 0xf0, 0x90);
    out(f, 0, 'z');
    assert_int_equal(f->nsent, 0);
    assert_int_equal(in(f, 0), 'z');
    assert_int_equal(serial_receive(f->serial, (const uint8_t *)"a", 1), 0);
    out(f, 4, 0x1b); /* DTR: DSR follows, and the change is told once */
    assert_int_equal(in(f, 6), 0xb2);
    assert_int_equal(in(f, 6), 0xb0);
}

static void overrun_is_a_line_status(void **state)
{
    struct fixture *f = *state;

    out(f, 4, 0x18);
    out(f, 1, 0x04);
    out(f, 0, '1');
    assert_false(line(f));
    out(f, 0, '2');
    assert_true(line(f));
    assert_int_equal(in(f, 2), 0x06);
    assert_int_equal(in(f, 5) & 0x02, 0x02);
    assert_false(line(f));
    assert_int_equal(in(f, 0), '1');
}

static void stopped_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct device *d = serial_device(f->serial);

    out(f, 4, 0x08);
    out(f, 1, 0x01);
    d->ops->stop(d);
    assert_int_equal(serial_can_receive(f->serial), 0);
    assert_int_equal(serial_receive(f->serial, (const uint8_t *)"a", 1), 0);
    rig_start(d);
    assert_true(f->room_told > 0);
    assert_int_equal(serial_receive(f->serial, (const uint8_t *)"a", 1), 1);
    assert_true(line(f));
}

static void fill(struct fixture *f)
{
    out(f, 3, 0x83);
    out(f, 0, 0x01);
    out(f, 3, 0x1b);
    out(f, 2, 0x81);
    out(f, 4, 0x0b);
    out(f, 1, 0x07);
    out(f, 7, 0x5a);
    serial_receive(f->serial, (const uint8_t *)"waiting", 7);
}

static void save_load_save(void **state)
{
    struct fixture *f = *state, g;
    struct serial *other;
    struct err e = ERR_INIT;
    struct buf a, b;

    fill(f);
    rig_save(serial_device(f->serial), &a);
    rig_init(&g.rig);
    assert_int_equal(serial_new(g.rig.pio, BASE, g.rig.vm, GSI, "serial0", &other, &e), 0);
    if (rig_restore(serial_device(other), &a, &e))
        fail_msg("%s", e.text);
    rig_save(serial_device(other), &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_false(fake_irq_level(g.rig.vm, GSI)); /* silent until it is started */
    rig_start(serial_device(other));
    assert_true(fake_irq_level(g.rig.vm, GSI));
    assert_int_equal(rig_in(&g.rig, BASE, 1), 'w');
    serial_device(other)->ops->free(serial_device(other));
    rig_fini(&g.rig);
    buf_fini(&a);
    buf_fini(&b);
}

static void impossible_states_are_refused(void **state)
{
    struct fixture *f = *state;
    struct device *d = serial_device(f->serial);
    struct serial_state bad[] = {
        {.ier = 0x10},       {.fcr = 0x02},       {.mcr = 0x20},   {.lsr_errors = 0x01},
        {.msr_delta = 0x10}, {.thre_pending = 2}, {.rx_count = 2},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;

        assert_int_equal(rig_restore_struct(d, &bad[i], &e), -EPROTO);
        assert_true(e.text[0]);
    }
}

static void reset_is_power_on(void **state)
{
    struct fixture *f = *state;

    fill(f);
    assert_true(line(f));
    rig_reset(serial_device(f->serial));
    assert_false(line(f));
    assert_int_equal(in(f, 1), 0);
    assert_int_equal(in(f, 4), 0);
    assert_int_equal(in(f, 5), 0x60);
    assert_int_equal(in(f, 7), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sends_at_once),
        T(divisor_behind_dlab),
        T(scratch_and_fifo_identification),
        T(receives_in_order),
        T(without_fifo_one_byte),
        T(receive_interrupt_and_trigger),
        T(out2_gates_the_line),
        T(transmit_interrupt),
        T(loopback),
        T(overrun_is_a_line_status),
        T(stopped_takes_nothing),
        T(save_load_save),
        T(impossible_states_are_refused),
        T(reset_is_power_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
