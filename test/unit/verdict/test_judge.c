/* Each rule on its own: a machine and a host that fit, and then one fact changed. */
#include "verdict/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const boards[] = {"q35-1.0", "microvm-1.0", NULL};
static const char *const types[] = {"virtio-blk-pci", "virtio-net-pci", NULL};
static const uint32_t machine_msrs[] = {0x10, 0xc0000080};
static const uint32_t host_msrs[] = {0xc0000080, 0x174, 0x10};
static const struct verdict_device devices[] = {
    {"vda",  "virtio-blk-pci"},
    {"net0", "virtio-net-pci"}
};

struct fixture {
    struct verdict_machine m;
    struct verdict_host h;
    struct verdict_disk disk, disk_here;
    struct verdict_nic nic, nic_here;
    struct cpu_leaves cpu, cpu_here;
    struct verdict v;
};

/* Intel, with SSE3 in leaf 1, and 46 address bits. */
static void set_cpu(struct cpu_leaves *l)
{
    l->n = 0;
    *cpu_leaf_add(l, 0, 0, 0) = (struct cpu_leaf){0, 0, 0, 1, 0x756e6547, 0x6c65746e, 0x49656e69};
    cpu_leaf_add(l, 1, 0, 0)->ecx = 1;
    cpu_leaf_add(l, 0x80000008, 0, 0)->eax = 48 << 8 | 46;
}

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    set_cpu(&f->cpu);
    set_cpu(&f->cpu_here);
    f->disk = f->disk_here = (struct verdict_disk){"root", 1ULL << 30, false};
    f->nic = f->nic_here = (struct verdict_nic){
        "n0", {0x52, 0x54, 0, 1, 2, 3},
         true
    };
    f->m = (struct verdict_machine){
        .arch = "x86_64",
        .board = "q35-1.0",
        .stream_version = 2,
        .page_size = 4096,
        .ram_size = 4ULL << 30,
        .vcpus = 4,
        .cpu = &f->cpu,
        .tsc_khz = 2000000,
        .msrs = machine_msrs,
        .nmsrs = 2,
        .disks = &f->disk,
        .ndisks = 1,
        .nics = &f->nic,
        .nnics = 1,
        .devices = devices,
        .ndevices = 2,
    };
    f->h = (struct verdict_host){
        .arch = "x86_64",
        .boards = boards,
        .stream_min = 1,
        .stream_max = 3,
        .page_size = 4096,
        .vcpus_max = 254,
        .cpu = &f->cpu_here,
        .tsc_khz = 2000000,
        .tsc_tolerance_ppm = 250,
        .msrs = host_msrs,
        .nmsrs = 3,
        .disks = &f->disk_here,
        .ndisks = 1,
        .nics = &f->nic_here,
        .nnics = 1,
        .devices = types,
    };
}

static void accepted(struct fixture *f)
{
    if (verdict_judge(&f->m, &f->h, &f->v))
        fail_msg("refused: %s", f->v.items[0].field);
}

/* Exactly this, and nothing else. */
static void refused(struct fixture *f, const char *field, const char *source, const char *here,
                    const char *advice)
{
    const struct verdict_item *i = &f->v.items[0];

    assert_int_equal(verdict_judge(&f->m, &f->h, &f->v), 1);
    assert_int_equal(f->v.nkept, 1);
    assert_string_equal(i->field, field);
    assert_string_equal(i->source, source);
    assert_string_equal(i->here, here);
    assert_string_equal(i->advice, advice);
    set_up(f);
}

static void test_what_fits(void **state)
{
    struct fixture f;

    set_up(&f);
    accepted(&f);
    /* More at the destination is no harm. */
    f.h.ram_max = 4ULL << 30;
    f.h.vcpus_max = 4;
    f.h.tsc_khz = 1;
    f.h.tsc_control = true;
    cpu_leaf_find(&f.cpu_here, 1, 0)->ecx = ~0U;
    cpu_leaf_find(&f.cpu_here, 0x80000008, 0)->eax = 57 << 8 | 52;
    accepted(&f);
    /* Facts nobody has are not compared. */
    f.m.cpu = NULL;
    f.m.tsc_khz = 0;
    f.h.tsc_control = false;
    accepted(&f);
}

static void test_identity(void **state)
{
    struct fixture f;

    set_up(&f);
    strcpy(f.h.arch, "aarch64");
    refused(&f, "architecture", "x86_64", "aarch64",
            "choose a destination of the same architecture");
    strcpy(f.m.board, "q35-2.0");
    refused(&f, "machine", "q35-2.0", "q35-1.0, microvm-1.0",
            "use a monitor at the destination that has this board");
    f.m.stream_version = 4;
    refused(&f, "stream", "version 4", "versions 1 to 3", "upgrade the destination");
    f.m.stream_version = 0;
    refused(&f, "stream", "version 0", "versions 1 to 3", "upgrade the source");
}

static void test_sizes(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.page_size = 65536;
    refused(&f, "page size", "4096 bytes", "65536 bytes",
            "choose a destination with the same page size");
    f.h.ram_max = (4ULL << 30) - 1;
    refused(&f, "ram size", "4096 MiB", "4294967295 bytes",
            "choose a destination that takes so much memory");
    f.h.vcpus_max = 3;
    refused(&f, "vcpus", "4", "at most 3", "choose a destination that takes so many");
}

static void test_processor(void **state)
{
    struct fixture f;

    set_up(&f);
    cpu_leaf_find(&f.cpu_here, 1, 0)->ecx = 0;
    assert_int_equal(verdict_judge(&f.m, &f.h, &f.v), 1);
    assert_string_equal(f.v.items[0].source, "on");
    assert_string_equal(f.v.items[0].here, "off");
    assert_memory_equal(f.v.items[0].field, "cpu ", 4);
    assert_non_null(strstr(f.v.items[0].advice, "-cpu host,-"));
    /* The other way round it fits. */
    cpu_leaf_find(&f.cpu_here, 1, 0)->ecx = 1;
    cpu_leaf_find(&f.cpu, 1, 0)->ecx = 0;
    accepted(&f);
    set_up(&f);
    *cpu_leaf_find(&f.cpu_here, 0, 0) =
        (struct cpu_leaf){0, 0, 0, 1, 0x68747541, 0x444d4163, 0x69746e65};
    refused(&f, "cpu vendor", "GenuineIntel", "AuthenticAMD",
            "choose a destination with a processor like the source's");
    cpu_leaf_find(&f.cpu_here, 0x80000008, 0)->eax = 48 << 8 | 39;
    refused(&f, "cpu phys-bits", "46", "39",
            "choose a destination with a processor like the source's");
}

static void test_tsc(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.tsc_khz = 2000500; /* 250 ppm, rounded up */
    accepted(&f);
    f.h.tsc_khz = 1999500;
    refused(&f, "tsc rate", "2000000 kHz", "1999500 kHz, no scaling, at most 250 ppm off",
            "choose a destination with TSC scaling or the same rate");
    f.h.tsc_khz = 2000502;
    refused(&f, "tsc rate", "2000000 kHz", "2000502 kHz, no scaling, at most 250 ppm off",
            "choose a destination with TSC scaling or the same rate");
    f.m.tsc_exact = true;
    accepted(&f);
    f.h.tsc_khz = 2000001;
    refused(&f, "tsc rate", "2000000 kHz", "2000001 kHz, no scaling, at most 0 ppm off",
            "choose a destination with TSC scaling, or start the machine without +invtsc");
    f.m.tsc_exact = true;
    f.h.tsc_khz = 0;
    f.h.tsc_control = true;
    accepted(&f);
    f.h.tsc_control = false;
    f.h.tsc_tolerance_ppm = UINT32_MAX;
    assert_int_equal(verdict_judge(&f.m, &f.h, &f.v), 1); /* a rate nobody knows fits nothing */
}

static void test_msrs(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.nmsrs = 2; /* without 0x10 */
    refused(&f, "msr 0x10", "part of the machine", "cannot be written",
            "choose a destination whose KVM has this MSR");
    f.h.nmsrs = 0;
    assert_int_equal(verdict_judge(&f.m, &f.h, &f.v), 2);
    assert_string_equal(f.v.items[1].field, "msr 0xc0000080");
}

static void test_disks(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.ndisks = 0;
    refused(&f, "disk 'root'", "present", "absent",
            "start the destination with -drive file=PATH,id=root");
    strcpy(f.disk_here.id, "data");
    refused(&f, "disk 'root'", "present", "absent",
            "start the destination with -drive file=PATH,id=root");
    f.disk_here.size += 512;
    refused(&f, "disk 'root' size", "1024 MiB", "1073742336 bytes",
            "open the same image on both sides");
    f.disk_here.readonly = true;
    refused(&f, "disk 'root' access", "writable", "read-only", "give its -drive here readonly=off");
    f.disk.readonly = true;
    refused(&f, "disk 'root' access", "read-only", "writable", "give its -drive here readonly=on");
    f.m.ndisks = 0; /* a disk more here is not the machine's */
    accepted(&f);
}

static void test_nics(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.nnics = 0;
    refused(&f, "nic 'n0'", "present", "absent",
            "start the destination with -netdev tap,id=n0,ifname=NAME");
    f.nic_here.mac[5] = 9;
    refused(&f, "nic 'n0' mac", "52:54:00:01:02:03", "52:54:00:01:02:09",
            "give its -device here mac=52:54:00:01:02:03, or no mac=");
    f.nic_here.mac[5] = 9;
    f.nic_here.mac_set = false;
    accepted(&f);
}

static void test_devices(void **state)
{
    struct fixture f;

    set_up(&f);
    f.h.devices = types + 1;
    refused(&f, "device 'vda'", "virtio-blk-pci", "unknown",
            "use a monitor at the destination that has such devices");
}

/* Nothing hides anything else. */
static void test_all_at_once(void **state)
{
    static const char *const fields[] = {
        "architecture", "stream",    "machine",  "cpu phys-bits",    "tsc rate",     "msr 0x10",
        "vcpus",        "page size", "ram size", "disk 'root' size", "nic 'n0' mac", "device 'vda'",
    };
    struct fixture f;

    set_up(&f);
    strcpy(f.h.arch, "aarch64");
    f.h.stream_max = 1;
    f.h.boards = boards + 1;
    cpu_leaf_find(&f.cpu_here, 0x80000008, 0)->eax = 48 << 8 | 39;
    f.h.tsc_khz = 3000000;
    f.h.nmsrs = 2;
    f.h.vcpus_max = 1;
    f.h.page_size = 16384;
    f.h.ram_max = 1 << 20;
    f.disk_here.size++;
    f.nic_here.mac[0] = 2;
    f.h.devices = types + 1;
    assert_int_equal(verdict_judge(&f.m, &f.h, &f.v), sizeof(fields) / sizeof(fields[0]));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        assert_string_equal(f.v.items[i].field, fields[i]);
}

/* A manifest may claim anything, and all of it is counted. */
static void test_more_than_can_be_kept(void **state)
{
    static uint32_t many[100000];
    struct fixture f;

    for (uint32_t i = 0; i < 100000; i++)
        many[i] = 0x40000000 + i;
    set_up(&f);
    f.m.msrs = many;
    f.m.nmsrs = 100000;
    assert_int_equal(verdict_judge(&f.m, &f.h, &f.v), 100000);
    assert_int_equal(f.v.nkept, VERDICT_ITEMS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_processor),
        cmocka_unit_test(test_tsc),
        cmocka_unit_test(test_msrs),
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_nics),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_more_than_can_be_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
