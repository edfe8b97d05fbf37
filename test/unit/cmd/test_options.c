/* What each option does when it is right. test_options_refused.c has what is wrong. */
#include "cmd/vmm/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "parse.h"

#define MIB (1ULL << 20)

/* With the -kernel that every machine needs. */
static struct vmm_options *good(const char *line)
{
    char whole[2048];
    struct parsed *p;

    snprintf(whole, sizeof(whole), "-kernel k %s", line);
    p = parse(whole);
    if (p->ret)
        fail_msg("%s: %s", line, p->e.text);
    assert_int_equal(p->action, OPTIONS_RUN);
    return &p->o;
}

static void test_defaults(void **state)
{
    const struct vmm_options *o = good("");

    assert_string_equal(o->machine.machine, "q35");
    assert_true(o->machine.ram_size == 256 * MIB);
    assert_int_equal(o->machine.vcpus, 1);
    assert_string_equal(o->machine.cpu.model, "host");
    assert_int_equal(o->machine.cpu.nfeatures, 0);
    assert_int_equal(o->serial, SERIAL_NONE);
    assert_int_equal(o->nqmp, 0);
    assert_int_equal(o->ready_fd, -1);
    assert_int_equal(o->error_fd, -1);
    assert_true(o->sandbox);
    assert_false(o->incoming || o->start_paused || o->daemonize || o->mem_prealloc ||
                 o->no_reboot || o->no_shutdown);
    assert_string_equal(o->machine.uuid, "");
    assert_int_equal(o->given, OPTION_BOOT);
}

/* The two commands of StratoVirt's live-migration page, program name aside, as printed. */
#define PAGE                                                                                       \
    "-machine q35 "                                                                                \
    "-kernel ./vmlinux.bin "                                                                       \
    "-append 'console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda' "                        \
    "-drive file=path/to/rootfs,id=rootfs,readonly=off,direct=off "                                \
    "-device virtio-blk-pci,drive=rootfs,id=rootfs,bus=pcie.0,addr=0 "                             \
    "-qmp unix:path/to/socket1,server,nowait "                                                     \
    "-serial stdio "

static void check_page(const struct parsed *p)
{
    const struct machine_config *m = &p->o.machine;

    assert_int_equal(p->ret, 0);
    assert_string_equal(m->machine, "q35");
    assert_string_equal(m->kernel, "./vmlinux.bin");
    assert_string_equal(m->append, "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda");
    assert_int_equal(m->ndrives, 1);
    assert_string_equal(m->drives[0].file, "path/to/rootfs");
    assert_string_equal(m->drives[0].id, "rootfs");
    assert_false(m->drives[0].readonly || m->drives[0].direct);
    assert_int_equal(m->ndevices, 1);
    assert_int_equal(m->devices[0].kind, DEVICE_BLK);
    assert_int_equal(m->devices[0].transport, DEVICE_PCI);
    assert_string_equal(m->devices[0].backend, "rootfs");
    assert_string_equal(m->devices[0].id, "rootfs");
    assert_int_equal(m->devices[0].slot, 0);
    assert_int_equal(p->o.nqmp, 1);
    assert_string_equal(p->o.qmp[0], "unix:path/to/socket1");
    assert_int_equal(p->o.serial, SERIAL_STDIO);
    assert_int_equal(p->warnings.n, 0);
}

static void test_commands_of_the_page(void **state)
{
    struct parsed *p = parse(PAGE);

    check_page(p);
    assert_false(p->o.incoming);
    p = parse(PAGE "-incoming tcp:192.168.0.1:4446 ");
    check_page(p);
    assert_true(p->o.incoming);
    assert_string_equal(p->o.incoming_uri, "tcp:192.168.0.1:4446");
    p = parse(PAGE "-incoming unix:/tmp/stratovirt-migrate.socket ");
    check_page(p);
    assert_string_equal(p->o.incoming_uri, "unix:/tmp/stratovirt-migrate.socket");
}

static void test_machine(void **state)
{
    assert_string_equal(good("-machine q35")->machine.machine, "q35");
    assert_string_equal(good("-machine q35-1.0")->machine.machine, "q35-1.0");
    assert_string_equal(good("-machine type=microvm")->machine.machine, "microvm");
    assert_string_equal(
        good("-M microvm-1.0,accel=kvm,dump-guest-core=off,mem-share=on")->machine.machine,
        "microvm-1.0");
    assert_int_equal(good("-machine q35")->given, OPTION_BOOT | OPTION_MACHINE);
}

static void test_memory(void **state)
{
    assert_true(good("-m 128")->machine.ram_size == 128 * MIB);
    assert_true(good("-m 512G")->machine.ram_size == 512 * 1024 * MIB);
    assert_true(good("-m size=2g")->machine.ram_size == 2048 * MIB);
    assert_true(good("-m 1048576K")->machine.ram_size == 1024 * MIB);
    assert_true(good("-m 1G -m 2G")->machine.ram_size == 2048 * MIB); /* the later one wins */
    assert_int_equal(good("-m 1G")->given, OPTION_BOOT | OPTION_RAM);
    assert_string_equal(good("-mem-path /dev/hugepages")->mem_path, "/dev/hugepages");
    assert_true(good("-mem-prealloc")->mem_prealloc);
}

static void test_smp(void **state)
{
    assert_int_equal(good("-smp 4")->machine.vcpus, 4);
    assert_int_equal(good("-smp cpus=254")->machine.vcpus, 254);
    assert_int_equal(good("-smp 8,sockets=2,cores=2,threads=2,maxcpus=8")->machine.vcpus, 8);
    assert_int_equal(good("-smp cores=3,threads=2")->machine.vcpus, 6);
    assert_int_equal(good("-smp 1")->given, OPTION_BOOT | OPTION_VCPUS);
}

static void test_cpu(void **state)
{
    const struct cpu_config *c = &good("-cpu host")->machine.cpu;

    assert_string_equal(c->model, "host");
    c = &good("-cpu host,-avx512f,+x2apic,pmu=off,invtsc=on,rdtscp,+avx512f")->machine.cpu;
    assert_int_equal(c->nfeatures, 5);
    assert_string_equal(c->features[0].name, "avx512f");
    assert_true(c->features[0].on); /* the later word wins */
    assert_true(c->features[1].on);
    assert_string_equal(c->features[2].name, "pmu");
    assert_false(c->features[2].on);
    assert_true(c->features[3].on && c->features[4].on);
    assert_int_equal(good("-cpu host,+a -cpu host")->machine.cpu.nfeatures, 0);
    assert_int_equal(good("-cpu host")->given, OPTION_BOOT | OPTION_CPU);
}

static void test_boot(void **state)
{
    const struct vmm_options *o = good("-initrd /i -append 'a b  c'");

    assert_string_equal(o->machine.kernel, "k");
    assert_string_equal(o->machine.initrd, "/i");
    assert_string_equal(o->machine.append, "a b  c");
    assert_string_equal(good("-append ''")->machine.append, "");
}

static void test_drives(void **state)
{
    const struct machine_config *m =
        &good("-drive file=/a,,b=c,id=one,readonly=on,format=raw,if=none,aio=io_uring,cache=none "
              "-drive file=x,id=two,read-only,direct=true "
              "-drive file=y,id=three,cache=writeback,discard=unmap")
             ->machine;

    assert_int_equal(m->ndrives, 3);
    assert_string_equal(m->drives[0].file, "/a,b=c");
    assert_true(m->drives[0].readonly && m->drives[0].direct);
    assert_true(m->drives[1].readonly && m->drives[1].direct);
    assert_false(m->drives[2].readonly || m->drives[2].direct);
    /* Images alone say nothing about the machine. */
    assert_int_equal(good("-drive file=x,id=a")->given, OPTION_BOOT);
}

static void test_netdevs(void **state)
{
    const struct machine_config *m =
        &good("-netdev tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off "
              "-netdev tap,id=n1,fd=7 -netdev tap,id=n2,fd=net-fd")
             ->machine;

    assert_int_equal(m->nnetdevs, 3);
    assert_string_equal(m->netdevs[0].ifname, "tap0");
    assert_int_equal(m->netdevs[0].fd, -1);
    assert_int_equal(m->netdevs[1].fd, 7);
    assert_string_equal(m->netdevs[1].ifname, "");
    assert_int_equal(m->netdevs[2].fd, -1);
    assert_string_equal(m->netdevs[2].fdname, "net-fd");
}

static void test_devices_on_pci(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    const struct machine_config *m =
        &good("-drive file=x,id=d -netdev tap,id=n,ifname=t "
              "-device virtio-blk-pci,drive=d,serial=12345678901234567890,addr=0x1f,bootindex=1 "
              "-device virtio-net-pci,netdev=n,mac=52:54:00:12:34:56,id=net0,addr=3.0 "
              "-object rng-random,id=r,filename=/dev/urandom "
              "-device virtio-rng-pci,rng=r -device virtio-rng-pci")
             ->machine;

    assert_int_equal(m->ndevices, 4);
    assert_string_equal(m->devices[0].backend, "d");
    assert_string_equal(m->devices[0].serial, "12345678901234567890");
    assert_string_equal(m->devices[0].id, "");
    assert_int_equal(m->devices[0].slot, 31);
    assert_false(m->devices[0].mac_set);
    assert_int_equal(m->devices[1].kind, DEVICE_NET);
    assert_string_equal(m->devices[1].backend, "n");
    assert_string_equal(m->devices[1].id, "net0");
    assert_true(m->devices[1].mac_set);
    assert_memory_equal(m->devices[1].mac, mac, 6);
    assert_int_equal(m->devices[1].slot, 3);
    assert_int_equal(m->devices[2].kind, DEVICE_RNG);
    assert_int_equal(m->devices[2].slot, -1);
    assert_int_equal(m->devices[3].transport, DEVICE_PCI);
    assert_int_equal(good("-device virtio-rng-pci")->given, OPTION_BOOT | OPTION_DEVICES);
}

static void test_devices_on_mmio(void **state)
{
    const struct machine_config *m =
        &good("-machine microvm -drive file=x,id=d -netdev tap,id=n,ifname=t "
              "-device virtio-blk-device,drive=d,id=a,serial=s -device virtio-net-device,netdev=n "
              "-device virtio-rng-device")
             ->machine;

    assert_int_equal(m->ndevices, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(m->devices[i].transport, DEVICE_MMIO);
    assert_int_equal(m->devices[0].kind, DEVICE_BLK);
    assert_int_equal(m->devices[1].kind, DEVICE_NET);
    assert_int_equal(m->devices[2].kind, DEVICE_RNG);
}

static void test_qmp(void **state)
{
    const struct vmm_options *o = good("-qmp unix:/a,,b,server,nowait "
                                       "-qmp tcp:127.0.0.1:4444,server=on,wait=off "
                                       "-qmp tcp:[::1]:1,nowait,server");

    assert_int_equal(o->nqmp, 3);
    assert_string_equal(o->qmp[0], "unix:/a,b");
    assert_string_equal(o->qmp[1], "tcp:127.0.0.1:4444");
    assert_string_equal(o->qmp[2], "tcp:[::1]:1");
}

static void test_serial(void **state)
{
    assert_int_equal(good("-serial stdio")->serial, SERIAL_STDIO);
    assert_int_equal(good("-serial pty")->serial, SERIAL_PTY);
    assert_int_equal(good("-serial none")->serial, SERIAL_NONE);
    assert_int_equal(good("-serial null")->serial, SERIAL_NONE);
    assert_int_equal(good("-serial file:/a,b")->serial, SERIAL_FILE);
    assert_string_equal(good("-serial file:/a,b")->serial_path, "/a,b");
    assert_int_equal(good("-serial unix:/s,server,nowait")->serial, SERIAL_UNIX);
    assert_string_equal(good("-serial unix:/s,server,nowait")->serial_path, "/s");
    assert_string_equal(good("-serial file:/a -serial pty")->serial_path, "");
    assert_int_equal(good("-nographic")->serial, SERIAL_STDIO);
    assert_int_equal(good("-serial none -nographic")->serial, SERIAL_NONE);
    assert_int_equal(good("-nographic -serial pty")->serial, SERIAL_PTY);
}

static void test_incoming(void **state)
{
    struct parsed *p = parse("-incoming defer -qmp unix:/q,server,nowait");

    assert_int_equal(p->ret, 0); /* no -kernel: the machine comes from the stream */
    assert_true(p->o.incoming);
    assert_string_equal(p->o.incoming_uri, "");
    assert_int_equal(p->o.given, 0);
    assert_string_equal(good("-incoming tcp:[::]:4446")->incoming_uri, "tcp:[::]:4446");
    assert_string_equal(good("-incoming tcp:host.example:1")->incoming_uri, "tcp:host.example:1");
    assert_string_equal(good("-incoming unix:/m")->incoming_uri, "unix:/m");
    assert_string_equal(good("-incoming unix:/m -incoming defer")->incoming_uri, "");
    p = parse("-incoming defer -drive file=x,id=d");
    assert_int_equal(p->warnings.n, 0); /* the stream will say which device uses it */
}

static void test_identity(void **state)
{
    assert_string_equal(good("-name vm1")->machine.name, "vm1");
    assert_string_equal(good("-name guest=vm1,debug-threads=on")->machine.name, "vm1");
    assert_string_equal(good("-uuid 9A3E5C1E-93D2-4F4E-A7A0-2D1C7D2E4F5B")->machine.uuid,
                        "9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5b");
    assert_int_equal(good("-name a -uuid 9a3e5c1e-93d2-4f4e-a7a0-2d1c7d2e4f5b")->given,
                     OPTION_BOOT | OPTION_NAME | OPTION_UUID);
}

static void test_process(void **state)
{
    assert_true(good("-S")->start_paused);
    assert_true(good("-daemonize")->daemonize);
    assert_string_equal(good("-pidfile /run/p")->pidfile, "/run/p");
    assert_string_equal(good("-D /log")->log_file, "/log");
    assert_true(good("-no-reboot")->no_reboot);
    assert_true(good("-no-shutdown")->no_shutdown);
    assert_false(good("-sandbox off")->sandbox);
    assert_false(good("-disable-seccomp")->sandbox);
    assert_true(good("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                     "resourcecontrol=deny")
                    ->sandbox);
    assert_true(good("-sandbox off -sandbox on")->sandbox);
}

static void test_accel(void **state)
{
    assert_int_equal(good("-accel kvm")->dirty_ring, 0);
    assert_int_equal(good("-accel kvm,dirty-ring-size=4096")->dirty_ring, 4096);
    assert_int_equal(good("-accel accel=kvm,dirty-ring-size=0")->dirty_ring, 0);
}

/* Options that others pass and that change nothing: the machine is the default one. */
static void test_harmless_options(void **state)
{
    static struct vmm_options plain, with;

    plain = *good("");
    with = *good("-nodefaults -no-user-config -display none -vga none -monitor none "
                 "-parallel none -accel kvm,kernel-irqchip=on -enable-kvm -no-hpet "
                 "-only-migratable -msg timestamp=on -rtc base=utc,driftfix=slew "
                 "-boot strict=on -overcommit mem-lock=off");
    assert_memory_equal(&plain, &with, sizeof(plain));
    assert_int_equal(parse("-kernel k -boot c -rtc base=utc,clock=host")->ret, 0);
}

static void test_warnings(void **state)
{
    struct parsed *p = parse("-kernel k -global ICH9-LPC.disable_s3=1");

    assert_int_equal(p->ret, 0);
    assert_int_equal(p->warnings.n, 1);
    assert_string_equal(p->warnings.text[0], "-global ICH9-LPC.disable_s3=1 has no effect here");
    p = parse("-kernel k -drive file=x,id=lonely");
    assert_int_equal(p->warnings.n, 1);
    assert_string_equal(p->warnings.text[0], "no -device uses -drive id=lonely");
}

static void test_help_and_version(void **state)
{
    assert_int_equal(parse("-h")->action, OPTIONS_HELP);
    assert_int_equal(parse("--help")->action, OPTIONS_HELP);
    assert_int_equal(parse("-m 1G -version -nonsense")->action, OPTIONS_VERSION);
    assert_int_equal(parse("--version")->ret, 0);
    assert_int_equal(parse("--kernel k --m 1G")->ret, 0); /* two dashes do */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_commands_of_the_page),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_smp),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_drives),
        cmocka_unit_test(test_netdevs),
        cmocka_unit_test(test_devices_on_pci),
        cmocka_unit_test(test_devices_on_mmio),
        cmocka_unit_test(test_qmp),
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_incoming),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_accel),
        cmocka_unit_test(test_harmless_options),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_help_and_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
