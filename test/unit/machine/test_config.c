/* What configurations are accepted, what is filled in, and what refusals say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "machine/board.h"
#include "machine/config.h"

static struct machine_config c;
static struct err e;

static int setup(void **state)
{
    (void)state;
    machine_config_init(&c);
    memset(&e, 0, sizeof(e));
    return 0;
}

static struct device_config *device(enum device_kind kind, enum device_transport transport)
{
    struct device_config *d = &c.devices[c.ndevices++];

    d->kind = kind;
    d->transport = transport;
    return d;
}

static void drive(const char *id)
{
    struct drive_config *d = &c.drives[c.ndrives++];

    snprintf(d->id, sizeof(d->id), "%s", id);
    snprintf(d->file, sizeof(d->file), "/disk");
}

static struct device_config *disk(const char *id)
{
    struct device_config *d = device(DEVICE_BLK, DEVICE_PCI);

    drive(id);
    snprintf(d->backend, sizeof(d->backend), "%s", id);
    return d;
}

static struct device_config *nic(const char *id)
{
    struct device_config *d = device(DEVICE_NET, DEVICE_PCI);
    struct netdev_config *n = &c.netdevs[c.nnetdevs++];

    snprintf(n->id, sizeof(n->id), "%s", id);
    snprintf(n->ifname, sizeof(n->ifname), "tap0");
    snprintf(d->backend, sizeof(d->backend), "%s", id);
    return d;
}

static void accepted(void)
{
    if (machine_config_check(&c, &e))
        fail_msg("%s", e.text);
}

/* Refused, with both words in the text. */
static void refused(const char *a, const char *b)
{
    assert_int_equal(machine_config_check(&c, &e), -EINVAL);
    if (!strstr(e.text, a) || !strstr(e.text, b))
        fail_msg("'%s' and '%s' are not in: %s", a, b, e.text);
}

static void defaults(void **state)
{
    (void)state;
    accepted();
    assert_string_equal(c.machine, "q35-1.0");
    assert_string_equal(c.cpu.model, "host");
    assert_int_equal(c.ram_size, 256 << 20);
    assert_int_equal(c.vcpus, 1);
}

static void machine_names(void **state)
{
    static const char *const names[][2] = {
        {"q35",         "q35-1.0"    },
        {"q35-1.0",     "q35-1.0"    },
        {"microvm",     "microvm-1.0"},
        {"microvm-1.0", "microvm-1.0"}
    };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        snprintf(c.machine, sizeof(c.machine), "%s", names[i][0]);
        accepted();
        assert_string_equal(c.machine, names[i][1]);
        assert_non_null(strstr(board_names(), c.machine));
    }
    snprintf(c.machine, sizeof(c.machine), "pc");
    refused("pc", "q35-1.0 (q35), microvm-1.0 (microvm)");
}

static void sizes(void **state)
{
    static const uint64_t bad[] = {0, 127ULL << 20, (512ULL << 30) + (2 << 20), UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        c.ram_size = bad[i];
        refused("-m", "128 MiB");
    }
    c.ram_size = 129ULL << 20;
    refused("-m", "2 MiB");
    c.ram_size = 512ULL << 30;
    accepted();
    c.vcpus = 0;
    refused("-smp", "254");
    c.vcpus = 255;
    refused("255", "254");
    c.vcpus = 254;
    accepted();
}

static void uuids(void **state)
{
    char first[37];

    (void)state;
    snprintf(c.uuid, sizeof(c.uuid), "123e4567-e89b-12d3-a456-42661417400");
    refused("-uuid", "123e4567");
    snprintf(c.uuid, sizeof(c.uuid), "123e4567-e89b-12d3-a456-42661417400g");
    refused("-uuid", "123e4567");
    snprintf(c.uuid, sizeof(c.uuid), "123e4567-e89b-12d3-a456-426614174000");
    accepted();
    assert_int_equal(machine_config_make_uuid(&c, &e), 0);
    assert_string_equal(c.uuid, "123e4567-e89b-12d3-a456-426614174000");
    c.uuid[0] = '\0';
    assert_int_equal(machine_config_make_uuid(&c, &e), 0);
    accepted();
    assert_int_equal(c.uuid[14], '4');
    memcpy(first, c.uuid, sizeof(first));
    c.uuid[0] = '\0';
    assert_int_equal(machine_config_make_uuid(&c, &e), 0);
    assert_string_not_equal(first, c.uuid);
}

static void ids_are_made_up(void **state)
{
    (void)state;
    disk("d");
    snprintf(device(DEVICE_RNG, DEVICE_PCI)->id, MACHINE_ID_MAX, "virtio-rng0");
    device(DEVICE_RNG, DEVICE_PCI);
    accepted();
    assert_string_equal(c.devices[0].id, "virtio-blk0");
    assert_string_equal(c.devices[2].id, "virtio-rng1");
}

static void a_device_may_share_its_drives_id(void **state)
{
    (void)state;
    snprintf(disk("rootfs")->id, MACHINE_ID_MAX, "rootfs");
    accepted();
}

static void bad_ids(void **state)
{
    (void)state;
    snprintf(disk("d")->id, MACHINE_ID_MAX, "a b");
    refused("a b", "letters");
    snprintf(c.devices[0].id, MACHINE_ID_MAX, "ok");
    snprintf(device(DEVICE_RNG, DEVICE_PCI)->id, MACHINE_ID_MAX, "ok");
    refused("ok", "twice");
    c.ndevices = 1;
    drive("d");
    refused("-drive id=d", "twice");
    c.drives[1].id[0] = '\0';
    refused("-drive", "id=");
    snprintf(c.drives[1].id, MACHINE_ID_MAX, "e");
    c.drives[1].file[0] = '\0';
    refused("id=e", "file=");
}

static void back_ends(void **state)
{
    struct device_config *d;

    (void)state;
    d = device(DEVICE_BLK, DEVICE_PCI);
    refused("virtio-blk", "drive=");
    snprintf(d->backend, sizeof(d->backend), "none");
    refused("drive=none", "no -drive");
    drive("none");
    accepted();
    snprintf(device(DEVICE_BLK, DEVICE_PCI)->backend, MACHINE_ID_MAX, "none");
    refused("drive=none", "virtio-blk0");
    c.ndevices = 1;
    snprintf(device(DEVICE_NET, DEVICE_PCI)->backend, MACHINE_ID_MAX, "none");
    refused("netdev=none", "no -netdev");
}

static void netdevs(void **state)
{
    (void)state;
    nic("n");
    accepted();
    c.netdevs[0].fd = 5;
    refused("id=n", "ifname=");
    c.netdevs[0].ifname[0] = '\0';
    accepted();
    c.netdevs[0].fd = -1;
    refused("id=n", "fd=");
    snprintf(c.netdevs[0].fdname, MACHINE_ID_MAX, "given");
    accepted();
    c.netdevs[1] = c.netdevs[0];
    c.nnetdevs = 2;
    refused("id=n", "twice");
}

static void macs_are_the_same_for_the_same_machine(void **state)
{
    uint8_t first[6];

    (void)state;
    nic("n");
    nic("m");
    accepted();
    assert_memory_equal(c.devices[0].mac, "\x52\x54\x00", 3);
    assert_memory_not_equal(c.devices[0].mac, c.devices[1].mac, 6);
    memcpy(first, c.devices[0].mac, 6);
    accepted();
    assert_memory_equal(c.devices[0].mac, first, 6);
    snprintf(c.name, sizeof(c.name), "other");
    accepted();
    assert_memory_not_equal(c.devices[0].mac, first, 6);
    memcpy(c.devices[0].mac, "\x02\x00\x00\x00\x00\x01", 6);
    c.devices[0].mac_set = true;
    accepted();
    assert_int_equal(c.devices[0].mac[0], 0x02);
    c.devices[0].mac[0] = 0x03;
    refused("03:00:00:00:00:01", "group");
}

static void transports(void **state)
{
    (void)state;
    device(DEVICE_RNG, DEVICE_MMIO);
    refused("virtio-rng-device", "virtio-rng-pci");
    snprintf(c.machine, sizeof(c.machine), "microvm");
    accepted();
    device(DEVICE_RNG, DEVICE_PCI);
    refused("virtio-rng-pci", "virtio-rng-device");
}

static void slots(void **state)
{
    (void)state;
    device(DEVICE_RNG, DEVICE_PCI);
    device(DEVICE_RNG, DEVICE_PCI)->slot = 1;
    device(DEVICE_RNG, DEVICE_PCI)->slot = 0;
    device(DEVICE_RNG, DEVICE_PCI);
    accepted();
    assert_int_equal(c.devices[0].slot, 2);
    assert_int_equal(c.devices[1].slot, 1);
    assert_int_equal(c.devices[2].slot, 0);
    assert_int_equal(c.devices[3].slot, 3);
    accepted(); /* once more: nothing changes */
    assert_int_equal(c.devices[0].slot, 2);
    c.devices[3].slot = 0;
    refused("addr=0", "virtio-rng2");
    c.devices[3].slot = 32;
    refused("addr=32", "31");
    c.devices[3].slot = -2;
    refused("addr=-2", "31");
}

static void full_boards(void **state)
{
    static const struct {
        const char *name;
        enum device_transport transport;
        uint32_t slots;
    } boards[] = {
        {"q35",     DEVICE_PCI,  31},
        {"microvm", DEVICE_MMIO, 16}
    };

    (void)state;
    for (size_t b = 0; b < 2; b++) {
        uint64_t taken = 0;

        machine_config_init(&c);
        snprintf(c.machine, sizeof(c.machine), "%s", boards[b].name);
        while (c.ndevices < boards[b].slots)
            device(DEVICE_RNG, boards[b].transport);
        accepted();
        for (uint32_t i = 0; i < c.ndevices; i++)
            taken |= 1ULL << c.devices[i].slot;
        assert_int_equal(__builtin_popcountll(taken), boards[b].slots);
        device(DEVICE_RNG, boards[b].transport);
        refused("devices", boards[b].name);
    }
}

static void pci_off_is_warned_of(void **state)
{
    static const struct {
        const char *append;
        const char *says; /* NULL: nothing */
    } cases[] = {
        {"console=ttyS0 pci=off reboot=k", "pci=off"  },
        {"pci=off",                        "pci=off"  },
        {"pci=noacpi,off quiet",           "pci=off"  },
        {"pci=nomsi",                      "pci=nomsi"},
        {"",                               NULL       },
        {"pci=offline",                    NULL       },
        {"xpci=off",                       NULL       },
        {"pci=noacpi",                     NULL       },
        {"pci=",                           NULL       },
    };
    char warning[CONFIG_WARNING_MAX];

    (void)state;
    disk("d");
    accepted();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(c.append, sizeof(c.append), "%s", cases[i].append);
        machine_config_warning(&c, warning);
        if (cases[i].says)
            assert_non_null(strstr(warning, cases[i].says));
        else
            assert_string_equal(warning, "");
    }
    snprintf(c.append, sizeof(c.append), "pci=off");
    c.ndevices = 0;
    machine_config_warning(&c, warning);
    assert_string_equal(warning, "");
}

static void counts_out_of_bounds(void **state)
{
    (void)state;
    c.ndevices = MACHINE_DEVICES_MAX + 1;
    refused("64", "devices");
    c.ndevices = 0;
    c.ndrives = UINT32_MAX;
    refused("32", "drives");
    c.ndrives = 0;
    device(DEVICE_RNG, DEVICE_PCI)->kind = (enum device_kind)77;
    refused("77", "kind");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(defaults),
        T(machine_names),
        T(sizes),
        T(uuids),
        T(ids_are_made_up),
        T(a_device_may_share_its_drives_id),
        T(bad_ids),
        T(back_ends),
        T(netdevs),
        T(macs_are_the_same_for_the_same_machine),
        T(transports),
        T(slots),
        T(full_boards),
        T(pci_off_is_warned_of),
        T(counts_out_of_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
