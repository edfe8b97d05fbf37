/* Configuration space by both ways, slots, and BARs that are sized and moved. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "device/pci/pci.h"
#include "state/pci_host_state.h"

#define ECAM     0xb0000000ULL
#define WINDOW   0xc0000000ULL
#define WINDOW64 0x400000000ULL

struct function {
    struct pci_dev pci; /* first */
    uint64_t last_offset, last_value;
    uint32_t moves;
    uint64_t moved_from, moved_to;
};

struct fixture {
    struct rig rig;
    struct pci_host *host;
    struct function f;
    uint32_t resets;
};

static uint64_t bar_read(struct pci_dev *d, uint64_t offset, uint32_t size)
{
    (void)d;
    (void)size;
    return 0xc0ffee00 + offset;
}

static void bar_write(struct pci_dev *d, uint64_t offset, uint32_t size, uint64_t value)
{
    struct function *f = (struct function *)d;

    (void)size;
    f->last_offset = offset;
    f->last_value = value;
}

static void bar_moved(struct pci_dev *d, int bar, uint64_t from, uint64_t to)
{
    struct function *f = (struct function *)d;

    (void)bar;
    f->moves++;
    f->moved_from = from;
    f->moved_to = to;
}

struct function_state {
    uint8_t id[DEVICE_ID_MAX];
    struct pci_state pci[1];
};

static const struct field function_fields[] = {
    FIELD_BLOB(struct function_state, id),
    FIELD_STRUCTS(struct function_state, pci, &pci_state_desc),
};
static STATE_DESC(function_desc, "function", 1, struct function_state, function_fields);

static void function_reset(struct device *d)
{
    pci_dev_reset((struct pci_dev *)d);
}

static void function_save(struct device *d, void *state)
{
    pci_dev_save((struct pci_dev *)d, ((struct function_state *)state)->pci);
}

static int function_load(struct device *d, const void *state, struct err *e)
{
    return pci_dev_load((struct pci_dev *)d, ((const struct function_state *)state)->pci, e);
}

static const struct device_ops function_ops = {.type = "function",
                                               .state = &function_desc,
                                               .reset = function_reset,
                                               .save = function_save,
                                               .load = function_load};

static uint64_t reset_read(void *opaque, uint64_t offset, uint32_t size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0x0a;
}

static void reset_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)offset;
    (void)size;
    if (value == 6)
        ((struct fixture *)opaque)->resets++;
}

static void make_function(struct function *f, const char *id)
{
    memset(f, 0, sizeof(*f));
    pci_dev_init(&f->pci, &function_ops, id, 0x1af4, 0x1042, 0x01000001);
    pci_add_bar(&f->pci, 0,
                &(struct pci_bar){
                    .size = 0x1000, .read = bar_read, .write = bar_write, .moved = bar_moved});
    pci_add_bar(
        &f->pci, 2,
        &(struct pci_bar){.size = 0x10000, .is_64 = true, .read = bar_read, .write = bar_write});
}

static int setup(void **state)
{
    static struct fixture f;
    struct pci_host_config c = {.ecam_base = ECAM,
                                .window_base = WINDOW,
                                .window_size = 768U << 20,
                                .window64_base = WINDOW64,
                                .window64_size = 1ULL << 30,
                                .reset_opaque = &f,
                                .reset_read = reset_read,
                                .reset_write = reset_write};
    struct err e = ERR_INIT;

    f.resets = 0;
    rig_init(&f.rig);
    c.pio = f.rig.pio;
    c.mmio = f.rig.mmio;
    c.vm = f.rig.vm;
    if (pci_host_new(&c, &f.host, &e))
        fail_msg("%s", e.text);
    make_function(&f.f, "f");
    if (pci_dev_attach(&f.f.pci, f.host, 3, &e))
        fail_msg("%s", e.text);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pci_dev_fini(&f->f.pci);
    pci_host_free(f->host);
    rig_fini(&f->rig);
    return 0;
}

static uint64_t config(uint32_t slot, uint32_t reg)
{
    return ECAM + (slot << 15) + reg;
}

static uint32_t get(struct fixture *f, uint32_t slot, uint32_t reg, uint32_t len)
{
    return (uint32_t)rig_load(&f->rig, config(slot, reg), len);
}

static void set(struct fixture *f, uint32_t slot, uint32_t reg, uint32_t len, uint32_t v)
{
    rig_store(&f->rig, config(slot, reg), len, v);
}

static void identities(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, 3, 0, 4), 0x10421af4);
    assert_int_equal(get(f, 3, 8, 4), 0x01000001);
    assert_int_equal(get(f, 3, 0x0b, 1), 0x01);
    assert_int_equal(get(f, 0, 0, 4), 0x29c08086); /* the bridge */
    assert_int_equal(get(f, 4, 0, 4), UINT32_MAX);
    assert_int_equal(rig_load(&f->rig, config(3, 0) + (1 << 12), 4), UINT32_MAX); /* function 1 */
    assert_int_equal(rig_load(&f->rig, config(3, 0) + (1 << 20), 4), UINT32_MAX); /* bus 1 */
    assert_int_equal(rig_load(&f->rig, config(3, 0), 8), 0x10421af4);
    assert_int_equal(get(f, 3, 0x100, 4), 0); /* no extended capabilities */
}

static void ports_and_ecam_agree(void **state)
{
    struct fixture *f = *state;

    rig_out(&f->rig, 0xcf8, 4, 0x80000000 | 3 << 11);
    assert_int_equal(rig_in(&f->rig, 0xcf8, 4), 0x80000000 | 3 << 11);
    assert_int_equal(rig_in(&f->rig, 0xcfc, 4), 0x10421af4);
    assert_int_equal(rig_in(&f->rig, 0xcfe, 2), 0x1042);
    rig_out(&f->rig, 0xcf8, 4, 0x80000000 | 3 << 11 | 0x3c);
    rig_out(&f->rig, 0xcfc, 1, 0x0b);
    assert_int_equal(get(f, 3, 0x3c, 1), 0x0b);
    rig_out(&f->rig, 0xcf8, 4, 3 << 11); /* not enabled */
    assert_int_equal(rig_in(&f->rig, 0xcfc, 4), UINT32_MAX);
}

static void reset_port_inside_the_address(void **state)
{
    struct fixture *f = *state;

    rig_out(&f->rig, 0xcf8, 4, 0x80001800);
    rig_out(&f->rig, 0xcf9, 1, 6);
    assert_int_equal(f->resets, 1);
    assert_int_equal(rig_in(&f->rig, 0xcf9, 1), 0x0a);
    assert_int_equal(rig_in(&f->rig, 0xcf8, 4), 0x80001800);
}

static void read_only_stays(void **state)
{
    struct fixture *f = *state;

    for (uint32_t reg = 0; reg < 0x10; reg += 4)
        set(f, 3, reg, 4, 0xffffffff);
    assert_int_equal(get(f, 3, 0, 4), 0x10421af4);
    assert_int_equal(get(f, 3, 4, 2), 0x0546);
    assert_int_equal(get(f, 3, 6, 2), 0);
    assert_int_equal(get(f, 3, 8, 4), 0x01000001);
    assert_int_equal(get(f, 3, 0x0c, 4), 0xff);
}

static void bars_tell_their_size(void **state)
{
    struct fixture *f = *state;

    set(f, 3, 0x10, 4, 0xffffffff);
    assert_int_equal(get(f, 3, 0x10, 4), 0xfffff000);
    set(f, 3, 0x18, 4, 0xffffffff);
    set(f, 3, 0x1c, 4, 0xffffffff);
    assert_int_equal(get(f, 3, 0x18, 4), 0xffff000c);
    assert_int_equal(get(f, 3, 0x1c, 4), 0xffffffff);
    set(f, 3, 0x14, 4, 0xffffffff); /* not there */
    assert_int_equal(get(f, 3, 0x14, 4), 0);
}

static void bars_answer_where_they_are(void **state)
{
    struct fixture *f = *state;

    set(f, 3, 0x10, 4, WINDOW);
    assert_int_equal(rig_load(&f->rig, WINDOW, 4), UINT32_MAX); /* decoding is off */
    set(f, 3, 4, 2, 2);
    assert_int_equal(rig_load(&f->rig, WINDOW + 8, 4), 0xc0ffee08);
    assert_int_equal(f->f.moves, 1);
    assert_int_equal(f->f.moved_to, WINDOW);
    rig_store(&f->rig, WINDOW + 0x10, 2, 0x1234);
    assert_int_equal(f->f.last_offset, 0x10);
    assert_int_equal(f->f.last_value, 0x1234);

    set(f, 3, 0x10, 4, WINDOW + 0x5000); /* moved while on */
    assert_int_equal(rig_load(&f->rig, WINDOW, 4), UINT32_MAX);
    assert_int_equal(rig_load(&f->rig, WINDOW + 0x5000, 4), 0xc0ffee00);
    assert_int_equal(f->f.moved_from, WINDOW);
    assert_int_equal(f->f.moved_to, WINDOW + 0x5000);

    set(f, 3, 4, 2, 0);
    assert_int_equal(rig_load(&f->rig, WINDOW + 0x5000, 4), UINT32_MAX);
    assert_int_equal(f->f.moves, 3);
    assert_int_equal(f->f.moved_to, 0);
}

static void a_64_bit_bar(void **state)
{
    struct fixture *f = *state;

    set(f, 3, 4, 2, 2);
    set(f, 3, 0x18, 4, 0x20000);
    set(f, 3, 0x1c, 4, WINDOW64 >> 32);
    assert_int_equal(rig_load(&f->rig, WINDOW64 + 0x20004, 4), 0xc0ffee04);
}

/* Sizing with decoding on, or a guest that puts a BAR over something else, maps nothing there. */
static void outside_the_windows_nothing_is_mapped(void **state)
{
    static const uint32_t where[] = {0xfffff000, 0xfee00000, 0x1000, ECAM, 0xf0000000};
    struct fixture *f = *state;

    set(f, 3, 4, 2, 2);
    for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
        set(f, 3, 0x10, 4, where[i]);
        assert_int_equal(f->f.pci.bars[0].mapped_at, 0);
    }
    assert_int_equal(get(f, 0, 0, 4), 0x29c08086); /* ECAM still answers */
    set(f, 3, 0x10, 4, 0xeffff000);
    assert_int_equal(f->f.pci.bars[0].mapped_at, 0xeffff000); /* its very end */
}

static void two_bars_at_one_place(void **state)
{
    struct fixture *f = *state;
    struct function g;
    struct err e = ERR_INIT;

    make_function(&g, "g");
    assert_int_equal(pci_dev_attach(&g.pci, f->host, 5, &e), 0);
    set(f, 3, 4, 2, 2);
    set(f, 5, 4, 2, 2);
    set(f, 3, 0x10, 4, WINDOW);
    set(f, 5, 0x10, 4, WINDOW);
    assert_int_equal(f->f.pci.bars[0].mapped_at, WINDOW); /* the first keeps it */
    assert_int_equal(g.pci.bars[0].mapped_at, 0);
    set(f, 3, 0x10, 4, WINDOW + 0x1000);
    assert_int_equal(g.pci.bars[0].mapped_at, WINDOW); /* and the second gets it then */
    pci_dev_fini(&g.pci);
}

static void slots(void **state)
{
    struct fixture *f = *state;
    struct function *g = calloc(32, sizeof(*g));
    struct err e = ERR_INIT;
    int n = 0;

    make_function(&g[n], "zero");
    assert_int_equal(pci_dev_attach(&g[n++].pci, f->host, 0, &e), 0); /* the bridge yields */
    assert_int_equal(get(f, 0, 0, 4), 0x10421af4);
    assert_int_equal(get(f, 31, 0, 4), 0x29c08086);
    make_function(&g[n], "again");
    assert_int_equal(pci_dev_attach(&g[n].pci, f->host, 0, &e), -EEXIST);
    assert_non_null(strstr(e.text, "zero"));
    assert_int_equal(pci_dev_attach(&g[n].pci, f->host, 32, &e), -EINVAL);
    assert_int_equal(pci_dev_attach(&g[n++].pci, f->host, 31, &e), 0); /* yields once more */
    assert_int_equal(get(f, 30, 0, 4), 0x29c08086);
    for (; n < 30; n++) {
        make_function(&g[n], "more");
        assert_int_equal(pci_dev_attach(&g[n].pci, f->host, -1, &e), 0);
    }
    make_function(&g[n], "last"); /* the 32nd with f and the bridge */
    assert_int_equal(pci_dev_attach(&g[n].pci, f->host, -1, &e), -ENOSPC);
    assert_int_equal(pci_dev_attach(&g[n].pci, f->host, 30, &e), -ENOSPC);
    for (int i = 0; i <= n; i++)
        pci_dev_fini(&g[i].pci);
    free(g);
}

static void addresses_as_firmware_gives_them(void **state)
{
    struct fixture *f = *state;
    struct function g;
    struct err e = ERR_INIT;

    make_function(&g, "g");
    assert_int_equal(pci_dev_attach(&g.pci, f->host, 1, &e), 0);
    assert_int_equal(pci_host_assign_bars(f->host, &e), 0);
    assert_int_equal(get(f, 1, 0x10, 4), WINDOW);
    assert_int_equal(get(f, 3, 0x10, 4), WINDOW + 0x1000);
    assert_int_equal(get(f, 1, 0x18, 4), (uint32_t)WINDOW64 | 0xc);
    assert_int_equal(get(f, 3, 0x18, 4), (uint32_t)(WINDOW64 + 0x10000) | 0xc);
    assert_int_equal(get(f, 3, 0x1c, 4), WINDOW64 >> 32);
    assert_int_equal(get(f, 3, 4, 2), 0);
    pci_dev_fini(&g.pci);
}

static void capabilities_are_a_list(void **state)
{
    struct fixture *f = *state;
    struct function g;

    make_function(&g, "g");
    assert_int_equal(pci_add_capability(&g.pci, 0x09, 16), 0x40);
    assert_int_equal(pci_add_capability(&g.pci, 0x09, 17), 0x50);
    assert_int_equal(pci_add_capability(&g.pci, 0x11, 12), 0x64);
    assert_int_equal(pci_dev_attach(&g.pci, f->host, 7, NULL), 0);
    assert_int_equal(get(f, 7, 0x06, 2), 0x10);
    assert_int_equal(get(f, 7, 0x34, 1), 0x64);
    assert_int_equal(get(f, 7, 0x65, 1), 0x50);
    assert_int_equal(get(f, 7, 0x51, 1), 0x40);
    assert_int_equal(get(f, 7, 0x41, 1), 0);
    assert_int_equal(pci_add_capability(&g.pci, 0x09, 200), 0);
    pci_dev_fini(&g.pci);
}

static void reset_turns_decoding_off(void **state)
{
    struct fixture *f = *state;

    set(f, 3, 0x10, 4, WINDOW);
    set(f, 3, 4, 2, 6);
    rig_reset(&f->f.pci.dev);
    assert_int_equal(get(f, 3, 4, 2), 0);
    assert_int_equal(get(f, 3, 0x10, 4), 0);
    assert_int_equal(f->f.moved_to, 0);
    assert_int_equal(rig_load(&f->rig, WINDOW, 4), UINT32_MAX);
}

static void save_load_save(void **state)
{
    struct fixture *f = *state;
    struct device *d = &f->f.pci.dev;
    struct err e = ERR_INIT;
    struct buf a, b;

    set(f, 3, 0x10, 4, WINDOW + 0x3000);
    set(f, 3, 4, 2, 6);
    set(f, 3, 0x3c, 1, 0x55);
    rig_save(d, &a);
    rig_reset(d);
    assert_int_equal(rig_restore(d, &a, &e), 0);
    rig_save(d, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(rig_load(&f->rig, WINDOW + 0x3000, 4), 0xc0ffee00);
    assert_int_equal(f->f.moved_to, WINDOW + 0x3000);
    buf_fini(&a);
    buf_fini(&b);
}

static void another_device_is_refused(void **state)
{
    struct fixture *f = *state;
    struct function_state s = {.id = {0}};
    struct err e = ERR_INIT;

    pci_dev_save(&f->f.pci, s.pci);
    s.pci[0].config[2] ^= 1; /* another device id */
    assert_int_equal(rig_restore_struct(&f->f.pci.dev, &s, &e), -EPROTO);
    assert_non_null(strstr(e.text, "0x02"));
    pci_dev_save(&f->f.pci, s.pci);
    s.pci[0].msix_pending[3] = 1; /* a vector that is not there */
    assert_int_equal(rig_restore_struct(&f->f.pci.dev, &s, &e), -EPROTO);
    pci_dev_save(&f->f.pci, s.pci);
    s.pci[0].msix_vectors = 4;
    assert_int_equal(rig_restore_struct(&f->f.pci.dev, &s, &e), -EPROTO);
}

static void the_bridge_moves_too(void **state)
{
    struct fixture *f = *state;
    struct device *d = pci_host_device(f->host);
    struct pci_host_state bad = {.address = 1};
    struct err e = ERR_INIT;
    struct buf a;

    rig_out(&f->rig, 0xcf8, 4, 0x80001810);
    set(f, 0, 0x3c, 1, 0x77);
    rig_save(d, &a);
    rig_reset(d);
    assert_int_equal(rig_in(&f->rig, 0xcf8, 4), 0);
    assert_int_equal(rig_restore(d, &a, &e), 0);
    assert_int_equal(rig_in(&f->rig, 0xcf8, 4), 0x80001810);
    assert_int_equal(get(f, 0, 0x3c, 1), 0x77);
    buf_fini(&a);
    assert_int_equal(rig_restore_struct(d, &bad, &e), -EPROTO);
    bad.address = 0; /* and a config space that is no bridge's */
    assert_int_equal(rig_restore_struct(d, &bad, &e), -EPROTO);
}

/* vCPUs use a BAR while another moves it: nobody waits for ever, every answer is the device's or
 * all ones.  (The move must not hold the function's lock while it waits for the handlers.) */

#define STORM_MS 300

struct storm {
    struct fixture *f;
    uint64_t until_ns;
    atomic_uint answered;
};

static void *storm_reader(void *opaque)
{
    struct storm *s = opaque;

    while (clock_now_ns() < s->until_ns)
        for (uint64_t at = WINDOW; at < WINDOW + 0x4000; at += 0x1000) {
            uint64_t v = rig_load(&s->f->rig, at, 4);

            assert_true(v == 0xc0ffee00 || v == UINT32_MAX);
            if (v == 0xc0ffee00)
                s->answered++;
        }
    return NULL;
}

static void *storm_mover(void *opaque)
{
    struct storm *s = opaque;

    while (clock_now_ns() < s->until_ns)
        for (uint32_t i = 0; i < 4; i++)
            set(s->f, 3, 0x10, 4, (uint32_t)WINDOW + i * 0x1000);
    return NULL;
}

static void a_bar_moves_under_its_users(void **state)
{
    struct storm s = {.f = *state, .until_ns = clock_now_ns() + STORM_MS * NS_PER_MS};
    pthread_t threads[4];

    set(s.f, 3, 4, 2, 2);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? storm_reader : storm_mover, &s),
                         0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(s.answered > 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(identities),
        T(ports_and_ecam_agree),
        T(reset_port_inside_the_address),
        T(read_only_stays),
        T(bars_tell_their_size),
        T(bars_answer_where_they_are),
        T(a_64_bit_bar),
        T(outside_the_windows_nothing_is_mapped),
        T(two_bars_at_one_place),
        T(slots),
        T(addresses_as_firmware_gives_them),
        T(capabilities_are_a_list),
        T(a_bar_moves_under_its_users),
        T(reset_turns_decoding_off),
        T(save_load_save),
        T(another_device_is_refused),
        T(the_bridge_moves_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
