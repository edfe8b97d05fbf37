/* The manifest survives the trip, and hostile ones are refused with the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/image.h"
#include "vmm/manifest.h"

static struct image disk = {.size = 1 << 20, .path = "/secret/path.img"};
static struct board_backends backends = {
    .kernel_fd = -1, .initrd_fd = -1, .nimages = 1, .images = {{.id = "root", .image = &disk}}};

static struct vm *sample_vm(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    vm->backends = &backends;
    vm->config = (struct machine_config){
        .machine = "q35-1.0", .ram_size = 1ULL << 30, .vcpus = 3, .name = "n\"ame", .ndevices = 2};
    strcpy(vm->config.uuid, "6d2b3f1e-0000-4000-8000-000000000001");
    strcpy(vm->config.append, "console=ttyS0 root=/dev/vda");
    strcpy(vm->config.cpu.model, "host");
    vm->config.devices[0] = (struct device_config){
        .kind = DEVICE_BLK, .transport = DEVICE_PCI, .id = "d0", .backend = "root", .slot = -1,
        .serial = "SERIAL"};
    vm->config.devices[1] = (struct device_config){.kind = DEVICE_NET,
                                                   .transport = DEVICE_MMIO,
                                                   .id = "n0",
                                                   .backend = "net",
                                                   .slot = 4,
                                                   .mac = {2, 0, 0, 0xab, 0xcd, 0xef},
                                                   .mac_set = true};
    vm->cpu.tsc_khz = 2100000;
    vm->cpu.cpuid.n = 1;
    vm->cpu.cpuid.entries[0] = (struct x86_cpuid_entry){7, 1, 1, 0xffffffff, 2, 3, 4};
    vm->cpu.msrs = (struct x86_msr_list){2, {0x10, 0xc0000080}};
    vm->cpu.msrs_left_out = (struct x86_msr_list){1, {0x10a}};
    return vm;
}

static char *written(void)
{
    struct vm *vm = sample_vm();
    struct err e = ERR_INIT;
    struct buf b;
    char *text;

    buf_init(&b, 0);
    assert_int_equal(manifest_write(vm, &b, &e), 0);
    text = strndup((char *)b.data, b.len);
    buf_fini(&b);
    free(vm);
    return text;
}

static void test_round_trip(void **state)
{
    struct manifest *m = calloc(1, sizeof(*m));
    struct err e = ERR_INIT;
    char *text = written();

    assert_int_equal(manifest_parse(text, strlen(text), m, &e), 0);
    assert_string_equal(m->config.machine, "q35-1.0");
    assert_string_equal(m->config.name, "n\"ame");
    assert_string_equal(m->config.append, "console=ttyS0 root=/dev/vda");
    assert_int_equal(m->config.vcpus, 3);
    assert_int_equal(m->config.ram_size, 1ULL << 30);
    assert_int_equal(m->config.ndevices, 2);
    assert_int_equal(m->config.devices[0].slot, -1);
    assert_string_equal(m->config.devices[0].serial, "SERIAL");
    assert_int_equal(m->config.devices[1].transport, DEVICE_MMIO);
    assert_int_equal(m->config.devices[1].slot, 4);
    assert_true(m->config.devices[1].mac_set);
    assert_int_equal(m->config.devices[1].mac[5], 0xef);
    assert_int_equal(m->cpu.cpuid.entries[0].eax, 0xffffffff);
    assert_int_equal(m->cpu.msrs.index[1], 0xc0000080);
    assert_int_equal(m->cpu.msrs_left_out.index[0], 0x10a);
    assert_int_equal(m->ndisks, 1);
    assert_int_equal(m->disks[0].size, 1 << 20);
    free(text);
    free(m);
}

static void test_no_path_travels(void **state)
{
    char *text = written();

    assert_null(strstr(text, "secret"));
    free(text);
}

/* The text with `from` replaced by `to` must be refused, and the reason must name `named`. */
static void refused(const char *from, const char *to, int code, const char *named)
{
    struct manifest *m = calloc(1, sizeof(*m));
    struct err e = ERR_INIT;
    char *text = written(), *at = strstr(text, from), *changed = NULL;

    assert_non_null(at);
    assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    assert_int_equal(manifest_parse(changed, strlen(changed), m, &e), code);
    assert_non_null(strstr(e.text, named));
    free(changed);
    free(text);
    free(m);
}

static void test_refusals(void **state)
{
    refused("\"manifest\":1", "\"manifest\":99", -ENOTSUP, "99");
    refused("x86_64", "riscv64", -ENOTSUP, "riscv64");
    refused("\"vcpus\":3", "\"vcpus\":255", -EPROTO, "vcpus");
    refused("\"vcpus\":3", "\"vcpus\":-1", -EPROTO, "vcpus");
    refused("\"vcpus\":3", "\"vcpus\":\"3\"", -EPROTO, "vcpus");
    refused("\"ram\":1073741824", "\"ram\":9223372036854775807", -EPROTO, "ram");
    refused("virtio-blk", "virtio-gpu", -ENOTSUP, "virtio-gpu");
    refused("02:00:00:ab:cd:ef", "02:00:00:zz:cd:ef", -EPROTO, "mac");
    refused("[7,1,1,4294967295,2,3,4]", "[7,1,1,4294967296,2,3,4]", -EPROTO, "cpuid");
    refused("[7,1,1,4294967295,2,3,4]", "[7]", -EPROTO, "cpuid");
    refused("\"name\":", "\"nome\":", -EPROTO, "name");
    refused("\"kernel-size\":0", "\"kernel-size\":1099511627776", -EPROTO, "kernel-size");
    refused("{", "", -EPROTO, "JSON");
}

static void test_every_prefix_is_refused(void **state)
{
    struct manifest *m = calloc(1, sizeof(*m));
    char *text = written();

    for (size_t n = 0; n < strlen(text); n++)
        assert_true(manifest_parse(text, n, m, NULL) < 0);
    free(text);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_path_travels),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_every_prefix_is_refused),
    };

    return cmocka_run_group_tests_name("vmm/manifest", tests, NULL, NULL);
}
