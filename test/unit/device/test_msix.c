/* MSI-X: the table, masking and pending bits, routes, and what moves. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "device/pci/pci.h"

#define ECAM    0xb0000000ULL
#define WINDOW  0xc0000000ULL
#define SLOT    2
#define VECTORS 3
#define PBA     0x1000

struct fixture {
    struct rig rig;
    struct pci_host *host;
    struct pci_dev d;
};

struct msix_state {
    uint8_t id[DEVICE_ID_MAX];
    struct pci_state pci[1];
};

static const struct field fields[] = {
    FIELD_BLOB(struct msix_state, id),
    FIELD_STRUCTS(struct msix_state, pci, &pci_state_desc),
};
static STATE_DESC(desc, "msix", 1, struct msix_state, fields);

static void do_reset(struct device *d)
{
    pci_dev_reset((struct pci_dev *)d);
}

static void do_save(struct device *d, void *state)
{
    pci_dev_save((struct pci_dev *)d, ((struct msix_state *)state)->pci);
}

static int do_load(struct device *d, const void *state, struct err *e)
{
    return pci_dev_load((struct pci_dev *)d, ((const struct msix_state *)state)->pci, e);
}

static const struct device_ops ops = {
    .type = "msix", .state = &desc, .reset = do_reset, .save = do_save, .load = do_load};

static void plug(struct fixture *f)
{
    struct pci_host_config c = {.pio = f->rig.pio,
                                .mmio = f->rig.mmio,
                                .vm = f->rig.vm,
                                .ecam_base = ECAM,
                                .window_base = WINDOW,
                                .window_size = 1U << 20};
    struct err e = ERR_INIT;

    if (pci_host_new(&c, &f->host, &e))
        fail_msg("%s", e.text);
    pci_dev_init(&f->d, &ops, "d", 1, 2, 3);
    if (pci_add_msix(&f->d, 1, f->rig.vm, VECTORS, &e) || pci_dev_attach(&f->d, f->host, SLOT, &e))
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    rig_init(&f.rig);
    plug(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pci_dev_fini(&f->d);
    pci_host_free(f->host);
    rig_fini(&f->rig);
    return 0;
}

static uint32_t cap(struct fixture *f)
{
    return (uint32_t)rig_load(&f->rig, ECAM + (SLOT << 15) + 0x34, 1);
}

static void control(struct fixture *f, uint16_t v)
{
    rig_store(&f->rig, ECAM + (SLOT << 15) + cap(f) + 2, 2, v);
}

static void map(struct fixture *f)
{
    rig_store(&f->rig, ECAM + (SLOT << 15) + 0x14, 4, WINDOW);
    rig_store(&f->rig, ECAM + (SLOT << 15) + 4, 2, 2);
}

static void vector(struct fixture *f, uint32_t v, uint64_t address, uint32_t data, uint32_t mask)
{
    uint64_t at = WINDOW + v * 16;

    rig_store(&f->rig, at, 4, address & UINT32_MAX);
    rig_store(&f->rig, at + 4, 4, address >> 32);
    rig_store(&f->rig, at + 8, 4, data);
    rig_store(&f->rig, at + 12, 4, mask);
}

static void raise(struct fixture *f, uint32_t v)
{
    pthread_mutex_lock(&f->d.dev.lock);
    pci_msix_raise(&f->d, v);
    pthread_mutex_unlock(&f->d.dev.lock);
}

static uint64_t pending(struct fixture *f)
{
    return rig_load(&f->rig, WINDOW + PBA, 8);
}

static void the_capability(void **state)
{
    struct fixture *f = *state;
    uint64_t at = ECAM + (SLOT << 15) + cap(f);

    assert_int_equal(rig_load(&f->rig, at, 1), 0x11);
    assert_int_equal(rig_load(&f->rig, at + 2, 2), VECTORS - 1);
    assert_int_equal(rig_load(&f->rig, at + 4, 4), 1);       /* table: BAR 1 */
    assert_int_equal(rig_load(&f->rig, at + 8, 4), PBA | 1); /* pending bits */
    control(f, 0xffff);
    assert_int_equal(rig_load(&f->rig, at + 2, 2), 0xc000 | (VECTORS - 1));
}

static void table_is_masked_at_first(void **state)
{
    struct fixture *f = *state;

    map(f);
    for (uint32_t v = 0; v < VECTORS; v++)
        assert_int_equal(rig_load(&f->rig, WINDOW + v * 16 + 12, 4), 1);
    assert_int_equal(rig_load(&f->rig, WINDOW + VECTORS * 16 + 12, 4), 0); /* beyond: nothing */
}

static void delivers_with_the_vectors_message(void **state)
{
    struct fixture *f = *state;
    struct fake_msi m;

    map(f);
    vector(f, 1, 0xfee01000, 0x4031, 0);
    control(f, 0x8000);
    raise(f, 1);
    assert_int_equal(fake_msi_count(f->rig.vm), 1);
    assert_true(fake_msi_get(f->rig.vm, 0, &m));
    assert_int_equal(m.address, 0xfee01000);
    assert_int_equal(m.data, 0x4031);
    assert_int_equal(pending(f), 0);
}

static void off_means_nothing_at_all(void **state)
{
    struct fixture *f = *state;

    map(f);
    vector(f, 0, 0xfee00000, 0x20, 0);
    raise(f, 0);
    control(f, 0x8000);
    assert_int_equal(fake_msi_count(f->rig.vm), 0);
    raise(f, VECTORS); /* not there */
    raise(f, UINT32_MAX);
    assert_int_equal(fake_msi_count(f->rig.vm), 0);
}

static void masked_waits(void **state)
{
    struct fixture *f = *state;

    map(f);
    control(f, 0x8000);
    vector(f, 2, 0xfee00000, 0x22, 1);
    raise(f, 2);
    raise(f, 2);
    assert_int_equal(fake_msi_count(f->rig.vm), 0);
    assert_int_equal(pending(f), 4);
    rig_store(&f->rig, WINDOW + PBA, 8, 0); /* read-only */
    assert_int_equal(pending(f), 4);
    vector(f, 2, 0xfee00000, 0x23, 0);
    assert_int_equal(fake_msi_count(f->rig.vm), 1); /* once, with the new message */
    assert_int_equal(pending(f), 0);
}

static void function_mask_waits_for_all(void **state)
{
    struct fixture *f = *state;

    map(f);
    control(f, 0xc000);
    vector(f, 0, 0xfee00000, 0x20, 0);
    vector(f, 1, 0xfee00000, 0x21, 0);
    raise(f, 0);
    raise(f, 1);
    assert_int_equal(fake_msi_count(f->rig.vm), 0);
    assert_int_equal(pending(f), 3);
    control(f, 0x8000);
    assert_int_equal(fake_msi_count(f->rig.vm), 2);
    assert_int_equal(pending(f), 0);
}

static void a_changed_message_counts_from_then_on(void **state)
{
    struct fixture *f = *state;
    struct fake_msi m;

    map(f);
    control(f, 0x8000);
    vector(f, 0, 0xfee00000, 0x20, 0);
    raise(f, 0);
    vector(f, 0, 0xfee03000, 0x33, 1);
    raise(f, 0); /* masked: waits */
    rig_store(&f->rig, WINDOW + 12, 4, 0);
    assert_int_equal(fake_msi_count(f->rig.vm), 2);
    assert_true(fake_msi_get(f->rig.vm, 1, &m));
    assert_int_equal(m.address, 0xfee03000);
    assert_int_equal(m.data, 0x33);
}

static void only_dwords_and_qwords(void **state)
{
    struct fixture *f = *state;

    map(f);
    rig_store(&f->rig, WINDOW, 8, 0x1234567800000010ULL);
    assert_int_equal(rig_load(&f->rig, WINDOW, 4), 0x10);
    assert_int_equal(rig_load(&f->rig, WINDOW + 4, 4), 0x12345678);
    rig_store(&f->rig, WINDOW, 1, 0xff);
    rig_store(&f->rig, WINDOW + 2, 4, 0xffffffff);
    assert_int_equal(rig_load(&f->rig, WINDOW, 8), 0x1234567800000010ULL);
    assert_int_equal(rig_load(&f->rig, WINDOW + 1, 1), 0xff);
}

static void save_load_save(void **state)
{
    struct fixture *f = *state, g;
    struct err e = ERR_INIT;
    struct buf a, b;

    map(f);
    control(f, 0x8000);
    vector(f, 0, 0xfee00000, 0x20, 0);
    vector(f, 1, 0xfee01000, 0x21, 1);
    raise(f, 1);
    rig_save(&f->d.dev, &a);

    memset(&g, 0, sizeof(g));
    rig_init(&g.rig);
    plug(&g);
    if (rig_restore(&g.d.dev, &a, &e))
        fail_msg("%s", e.text);
    rig_save(&g.d.dev, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(fake_msi_count(g.rig.vm), 0);
    raise(&g, 0); /* routed by the load alone */
    assert_int_equal(fake_msi_count(g.rig.vm), 1);
    rig_store(&g.rig, WINDOW + 16 + 12, 4, 0); /* what was pending there is delivered here */
    assert_int_equal(fake_msi_count(g.rig.vm), 2);
    assert_int_equal(fake_msi_lost(g.rig.vm), 0);
    teardown((void *[]){&g});
    buf_fini(&a);
    buf_fini(&b);
}

static void impossible_vectors_are_refused(void **state)
{
    struct fixture *f = *state;
    struct msix_state s;
    struct err e = ERR_INIT;

    memset(&s, 0, sizeof(s));
    pci_dev_save(&f->d, s.pci);
    s.pci[0].msix_control[0] = 2;
    assert_int_equal(rig_restore_struct(&f->d.dev, &s, &e), -EPROTO);
    pci_dev_save(&f->d, s.pci);
    s.pci[0].msix_address[1] = 0xfee00001;
    assert_int_equal(rig_restore_struct(&f->d.dev, &s, &e), -EPROTO);
    pci_dev_save(&f->d, s.pci);
    s.pci[0].msix_pending[0] = 1ULL << VECTORS;
    assert_int_equal(rig_restore_struct(&f->d.dev, &s, &e), -EPROTO);
}

static void reset_masks_all(void **state)
{
    struct fixture *f = *state;

    map(f);
    control(f, 0x8000);
    vector(f, 0, 0xfee00000, 0x20, 0);
    vector(f, 1, 0xfee00000, 0x21, 1);
    raise(f, 1);
    rig_reset(&f->d.dev);
    assert_false(pci_msix_enabled(&f->d));
    map(f);
    assert_int_equal(pending(f), 0);
    assert_int_equal(rig_load(&f->rig, WINDOW + 12, 4), 1);
}

static void too_many_vectors(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pci_dev d;

    pci_dev_init(&d, &ops, "big", 1, 2, 3);
    assert_int_equal(pci_add_msix(&d, 1, f->rig.vm, PCI_MSIX_MAX + 1, &e), -EINVAL);
    assert_int_equal(pci_add_msix(&d, 1, f->rig.vm, 0, &e), -EINVAL);
    pci_dev_fini(&d);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_capability),
        T(table_is_masked_at_first),
        T(delivers_with_the_vectors_message),
        T(off_means_nothing_at_all),
        T(masked_waits),
        T(function_mask_waits_for_all),
        T(a_changed_message_counts_from_then_on),
        T(only_dwords_and_qwords),
        T(save_load_save),
        T(impossible_vectors_are_refused),
        T(reset_masks_all),
        T(too_many_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
