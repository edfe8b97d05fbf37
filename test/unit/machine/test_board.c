/* Boards as wholes: what is plugged where, and a machine that moves: save, load elsewhere, save. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"

static const char *const machines[] = {"q35", "microvm"};

static uint64_t in(struct rig *r, uint16_t port, uint32_t len)
{
    uint64_t v = 0;

    bus_read(r->board->pio, port, &v, len);
    return v;
}

static void out(struct rig *r, uint16_t port, uint32_t len, uint64_t v)
{
    bus_write(r->board->pio, port, &v, len);
}

static uint32_t mmio(struct rig *r, uint64_t gpa)
{
    uint32_t v = 0;

    bus_read(r->board->mmio, gpa, &v, 4);
    return v;
}

static void mmio_out(struct rig *r, uint64_t gpa, uint32_t len, uint64_t v)
{
    bus_write(r->board->mmio, gpa, &v, len);
}

static void start_all(struct rig *r)
{
    for (uint32_t i = 0; i < r->board->ndevices; i++) {
        struct device *d = r->board->devices[i];
        struct err e = ERR_INIT;

        if (d->ops->start && d->ops->start(d, &e))
            fail_msg("%s", e.text);
    }
}

static void stop_all(struct rig *r)
{
    for (uint32_t i = 0; i < r->board->ndevices; i++) {
        struct device *d = r->board->devices[i];

        if (d->ops->stop)
            d->ops->stop(d);
    }
}

static void fixed_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig r;

        rig_init(&r, machines[i], 128 << 20);
        rig_board(&r);
        start_all(&r);
        assert_int_equal(in(&r, 0x3fd, 1), 0x60);
        out(&r, 0x70, 1, 0x0d);
        assert_int_equal(in(&r, 0x71, 1), 0x80);
        assert_int_equal(in(&r, 0x604, 2), 1);
        out(&r, 0x602, 2, 0x0100);
        board_power_button(r.board);
        assert_true(fake_irq_level(r.vm, 9));
        out(&r, 0x604, 2, 0x2000);
        assert_int_equal(r.poweroffs, 1);
        out(&r, 0xcf9, 1, 6);
        out(&r, 0x64, 1, 0xfe);
        assert_int_equal(r.resets, 2);
        stop_all(&r);
        rig_fini(&r);
    }
}

static void pci_devices_in_their_slots(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, "q35", 128 << 20);
    rig_add_disk(&r, "rootfs", 0);
    rig_add_rng(&r, "rng", -1);
    rig_add_disk(&r, "data", 9);
    rig_board(&r);
    assert_int_equal(mmio(&r, 0xb0000000), 0x10421af4);
    assert_int_equal(mmio(&r, 0xb0000000 + (1 << 15)), 0x10441af4);
    assert_int_equal(mmio(&r, 0xb0000000 + (9 << 15)), 0x10421af4);
    assert_int_equal(mmio(&r, 0xb0000000 + (31 << 15)), 0x29c08086);
    rig_fini(&r);
}

static void mmio_devices_in_their_slots(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, "microvm", 128 << 20);
    rig_add_disk(&r, "rootfs", -1);
    rig_add_rng(&r, "rng", -1);
    rig_board(&r);
    assert_int_equal(mmio(&r, 0xfeb00000), 0x74726976); /* "virt" */
    assert_int_equal(mmio(&r, 0xfeb00008), 2);
    assert_int_equal(mmio(&r, 0xfeb00208), 4);
    assert_int_equal(mmio(&r, 0xfeb00400), UINT32_MAX);
    rig_fini(&r);
}

static void full_boards(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        uint32_t slots = board_find(machines[i])->slots;

        rig_init(&r, machines[i], 128 << 20);
        for (uint32_t n = 0; n < slots; n++)
            rig_add_rng(&r, "", -1);
        rig_board(&r);
        assert_true(r.board->ndevices >= slots + 4);
        rig_fini(&r);
    }
}

static void what_was_not_opened_is_named(void **state)
{
    struct board_config c = {.machine = NULL};
    struct err e = ERR_INIT;
    struct board *b;
    struct rig r;

    (void)state;
    rig_init(&r, "q35", 128 << 20);
    rig_add_rng(&r, "rng", -1);
    rig_add_disk(&r, "rootfs", -1);
    assert_int_equal(machine_config_check(&r.config, &e), 0);
    strcpy(r.back.images[0].id, "other");
    c.machine = &r.config;
    c.mem = r.mem;
    c.vm = r.vm;
    c.loop = r.loop;
    assert_int_equal(board_new(&c, &r.back, &b, &e), -ENOENT);
    assert_non_null(strstr(e.text, "rootfs"));
    strcpy(r.config.machine, "pdp11");
    assert_int_equal(board_new(&c, &r.back, &b, &e), -EINVAL);
    assert_non_null(strstr(e.text, "q35-1.0"));
    rig_fini(&r);
}

static void instances_tell_devices_of_a_kind_apart(void **state)
{
    struct device *first, *second;
    struct rig r;

    (void)state;
    rig_init(&r, "q35", 128 << 20);
    rig_add_rng(&r, "a", -1);
    rig_add_rng(&r, "b", -1);
    rig_board(&r);
    first = r.board->devices[r.board->ndevices - 2];
    second = r.board->devices[r.board->ndevices - 1];
    assert_string_equal(first->ops->state->name, second->ops->state->name);
    assert_int_equal(first->instance, 0);
    assert_int_equal(second->instance, 1);
    assert_ptr_equal(board_find_device(r.board, second->ops->state->name, 1), second);
    assert_null(board_find_device(r.board, second->ops->state->name, 2));
    assert_null(board_find_device(r.board, "nothing", 0));
    rig_fini(&r);
}

/* Moving */

static void save(struct rig *r, struct buf *out)
{
    struct err e = ERR_INIT;

    buf_init(out, 0);
    for (uint32_t i = 0; i < r->board->ndevices; i++)
        if (device_save(r->board->devices[i], out, &e))
            fail_msg("%s", e.text);
}

static int load(struct rig *r, const struct buf *in, struct err *e)
{
    struct reader reader;
    int ret = 0;

    reader_init(&reader, in->data, in->len);
    while (!ret && reader_left(&reader)) {
        struct state_section s;
        struct device *d;

        ret = state_section_next(&reader, &s, e);
        if (ret)
            break;
        d = board_find_device(r->board, s.name, s.instance);
        ret = d ? device_load(d, &s, &reader, e) : -ENOENT;
    }
    return ret;
}

static void furnish(struct rig *r, const char *machine)
{
    rig_init(r, machine, 128 << 20);
    rig_add_disk(r, "rootfs", 0);
    rig_add_rng(r, "rng", -1);
    rig_add_disk(r, "data", -1);
    rig_board(r);
}

/* A guest that has touched a little of everything. */
static void use(struct rig *r, const char *machine)
{
    start_all(r);
    out(r, 0x3fb, 1, 0x1b);
    out(r, 0x3f9, 1, 0x05);
    out(r, 0x70, 2, 0x5542);
    out(r, 0x70, 2, 0x820b); /* the clock held: nothing ticks between two saves */
    out(r, 0x602, 2, 0x0120);
    if (!strcmp(machine, "q35")) {
        out(r, 0xcf8, 4, 0x80000040);
        mmio_out(r, 0xb0000000 + 0x14, 4, 0xc0010000);
        mmio_out(r, 0xb0000000 + 0x04, 2, 6);
        mmio_out(r, 0xc0010000, 8, 0xfee00000);
        mmio_out(r, 0xc0010008, 8, 0x41);
    } else {
        mmio_out(r, 0xfeb00070, 4, 3); /* acknowledge, driver */
        mmio_out(r, 0xfeb00030, 4, 0);
    }
    stop_all(r);
}

static void save_load_save(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig from, to;
        struct buf a, b;
        struct err e = ERR_INIT;

        furnish(&from, machines[i]);
        use(&from, machines[i]);
        save(&from, &a);
        furnish(&to, machines[i]);
        if (load(&to, &a, &e))
            fail_msg("%s", e.text);
        save(&to, &b);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        start_all(&to);
        stop_all(&to);
        buf_fini(&a);
        buf_fini(&b);
        rig_fini(&from);
        rig_fini(&to);
    }
}

static void another_machines_state_is_refused(void **state)
{
    struct rig from, to;
    struct buf a;
    struct err e = ERR_INIT;

    (void)state;
    furnish(&from, "q35");
    save(&from, &a);
    rig_init(&to, "q35", 128 << 20);
    rig_add_disk(&to, "rootfs", 0);
    rig_add_rng(&to, "entropy", -1); /* another id */
    rig_add_disk(&to, "data", -1);
    rig_board(&to);
    assert_int_equal(load(&to, &a, &e), -EPROTO);
    assert_non_null(strstr(e.text, "'rng'"));
    assert_non_null(strstr(e.text, "'entropy'"));
    buf_fini(&a);
    rig_fini(&from);
    rig_fini(&to);
}

static void reset_is_as_built(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        struct buf before, after;

        furnish(&r, machines[i]);
        out(&r, 0x70, 2, 0x5542); /* CMOS memory outlives a reset */
        out(&r, 0x70, 2, 0x020b);
        board_reset(r.board);
        save(&r, &before);
        use(&r, machines[i]);
        board_reset(r.board);
        save(&r, &after);
        assert_int_equal(before.len, after.len);
        for (size_t at = 0, different = 0; at < before.len; at++) {
            different += before.data[at] != after.data[at];
            assert_true(different <= 24); /* the RTC's three times */
        }
        buf_fini(&before);
        buf_fini(&after);
        rig_fini(&r);
    }
}

static void boots_twice_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        static struct image_bytes image;
        struct boot_entry a, b;
        struct err e = ERR_INIT;
        struct rig r;

        image_elf(&image, 1);
        furnish(&r, machines[i]);
        r.back.kernel_fd = rig_file(image.data, image.len);
        assert_int_equal(board_boot(r.board, &a, &e), 0);
        use(&r, machines[i]);
        memset(guest_mem_ptr(r.mem, 0, 1 << 20), 0xee, 1 << 20);
        board_reset(r.board);
        assert_int_equal(board_boot(r.board, &b, &e), 0);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_int_equal(rig_u32(&r, 0xe0000), 0x20445352); /* "RSD " */
        rig_fini(&r);
    }
}

static void names_are_those_of_the_table(void **state)
{
    char all[256] = "";

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct board_ops *ops = board_find(machines[i]);

        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s (%s)", i ? ", " : "",
                 ops->name, ops->alias);
        assert_ptr_equal(board_find(ops->name), ops);
    }
    assert_string_equal(board_names(), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_devices),
        cmocka_unit_test(pci_devices_in_their_slots),
        cmocka_unit_test(mmio_devices_in_their_slots),
        cmocka_unit_test(full_boards),
        cmocka_unit_test(what_was_not_opened_is_named),
        cmocka_unit_test(instances_tell_devices_of_a_kind_apart),
        cmocka_unit_test(save_load_save),
        cmocka_unit_test(another_machines_state_is_refused),
        cmocka_unit_test(reset_is_as_built),
        cmocka_unit_test(boots_twice_the_same),
        cmocka_unit_test(names_are_those_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
