/* Command lines that make no sense: the whole text of every kind of refusal. */
#include "cmd/vmm/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "parse.h"

#define ID_FORM                                                                                    \
    "(allowed: a name of at most 63 letters, digits, '-', '.', '_' that begins with a letter)"

static void refused(const char *line, const char *text)
{
    const struct parsed *p = parse(line);

    if (p->ret != -EINVAL || strcmp(p->e.text, text) != 0)
        fail_msg("%s\n gave %d %s\n not  %s", line, p->ret, p->e.text, text);
    assert_string_equal(p->e.stage, "command line");
}

static void test_unknown_options(void **state)
{
    refused("-kernl k", "there is no option -kernl; did you mean -kernel?");
    refused("-memprealloc", "there is no option -memprealloc; did you mean -mem-prealloc?");
    refused("--drives x", "there is no option --drives; did you mean -drive?");
    refused("-watchdog i6300esb", "there is no option -watchdog; -h lists all there are");
    refused("disk.img",
            "'disk.img' is not an option: options begin with '-', and an image is given "
            "by -drive");
    refused("-kernel", "-kernel lacks its value: FILE");
    refused("-kernel k -m", "-m lacks its value: [size=]SIZE");
}

static void test_machine(void **state)
{
    refused("-machine pc", "-machine pc: not a valid value (allowed: "
                           "q35|q35-1.0|microvm|microvm-1.0)");
    refused("-machine q35-9.9", "-machine q35-9.9: not a valid value (allowed: "
                                "q35|q35-1.0|microvm|microvm-1.0)");
    refused("-machine q35,accel=tcg", "-machine accel=tcg: not a valid value (allowed: kvm)");
    refused("-machine accel=kvm", "-machine lacks type=");
    refused("-machine q35,acell=kvm", "-machine has no 'acell'; did you mean 'accel'?");
    refused("-accel kvm,dirty-ring-size=1000",
            "-accel dirty-ring-size=1000: not a valid value (allowed: 0, or a power of two from "
            "1024 to 65536)");
    refused("-accel kvm,dirty-ring-size=512",
            "-accel dirty-ring-size=512: not a valid value (allowed: 0, or a power of two from "
            "1024 to 65536)");
    refused("-accel kvm,dirty-ring-size=131072",
            "-accel dirty-ring-size=131072: not a valid value (allowed: 0 to 65536)");
    refused("-accel tcg", "-accel tcg: not a valid value (allowed: kvm)");
}

static void test_memory(void **state)
{
    static const char form[] = "not a valid value (allowed: 128M to 512G, in MiB or with a suffix "
                               "K, M, G)";
    static const char *const bad[] = {"127", "513G", "1X", "-5", "99999999999999999999"};
    char line[64], text[160];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "-m %s", bad[i]);
        snprintf(text, sizeof(text), "-m %s: %s", bad[i], form);
        refused(line, text);
    }
    refused("-m 131073K", "-m 131073K: not a valid value (allowed: a multiple of 2 MiB)");
    refused("-m 129", "-m 129: not a valid value (allowed: a multiple of 2 MiB)");
    refused("-m 1G,slots=2", "-m has no 'slots'; it takes size");
}

static void test_smp(void **state)
{
    refused("-smp 0", "-smp 0: not a valid value (allowed: 1 to 254)");
    refused("-smp 255", "-smp 255: not a valid value (allowed: 1 to 254)");
    refused("-smp two", "-smp two: not a valid value (allowed: 1 to 254)");
    refused("-smp 4,cores=3",
            "-smp 4,cores=3: sockets x dies x cores x threads is 3 and not cpus=4");
    refused("-smp cores=200,threads=2", "-smp cores=200,threads=2: 400 vCPUs (allowed: 1 to 254)");
    refused("-smp 2,maxcpus=4",
            "-smp 2,maxcpus=4: vCPUs cannot be added later (allowed: maxcpus=2)");
}

static void test_cpu(void **state)
{
    refused("-cpu qemu64",
            "-cpu qemu64: not a valid value (allowed: host[,+FEATURE][,-FEATURE]...)");
    refused("-cpu hostess",
            "-cpu hostess: not a valid value (allowed: host[,+FEATURE][,-FEATURE]...)");
    refused("-cpu host,avx=maybe",
            "-cpu host,avx=maybe: not a valid feature (allowed: +NAME, -NAME, NAME=on|off)");
    refused("-cpu host,+avx=on",
            "-cpu host,+avx=on: not a valid feature (allowed: +NAME, -NAME, NAME=on|off)");
    refused("-cpu host,A!", "-cpu host,A!: not a valid feature (allowed: +NAME, -NAME, "
                            "NAME=on|off)");
}

static void test_drives(void **state)
{
    refused("-drive id=a", "-drive lacks file=");
    refused("-drive file=a", "-drive lacks id=");
    refused("-drive file=a,id=1", "-drive id=1: not a valid value " ID_FORM);
    refused("-drive file=a,id=b,format=qcow2",
            "-drive format=qcow2: not a valid value (allowed: raw)");
    refused("-drive file=a,id=b,if=virtio", "-drive if=virtio: not a valid value (allowed: none)");
    refused("-drive file=a,id=b,cache=unsafe",
            "-drive cache=unsafe: not a valid value (allowed: none|directsync|writeback)");
    refused("-drive file=a,id=b,direct=on,cache=writeback",
            "-drive: direct=on contradicts cache=writeback");
    refused("-drive file=a,id=b,direct=off,cache=none",
            "-drive: direct=off contradicts cache=none");
    refused("-drive file=a,id=b,file=c", "-drive has file= twice");
}

static void test_netdevs(void **state)
{
    refused("-netdev user,id=n", "-netdev user: not a valid value (allowed: tap)");
    refused("-netdev tap", "-netdev tap lacks id=");
    refused("-netdev tap,id=n", "-netdev tap,id=n needs either ifname= or fd=, and not both");
    refused("-netdev tap,id=n,ifname=t,fd=3",
            "-netdev tap,id=n needs either ifname= or fd=, and not both");
    refused("-netdev tap,id=n,ifname=a-name-too-long-",
            "-netdev tap ifname=a-name-too-long-: not a valid value (allowed: a text of 1 to 15 "
            "bytes)");
    refused("-netdev tap,id=n,fd=-3",
            "-netdev fd=-3: not a valid value (allowed: the number of an open descriptor, or a "
            "name given by getfd)");
    refused("-netdev tap,id=n,fd=99999999999",
            "-netdev fd=99999999999: not a valid value (allowed: the number of an open descriptor, "
            "or a name given by getfd)");
    refused("-netdev tap,id=n,ifname=t,vhost=on",
            "-netdev tap vhost=on: not a valid value (allowed: off)");
}

static void test_devices(void **state)
{
    refused("-device e1000,netdev=n",
            "-device e1000: not a valid value (allowed: virtio-blk-pci, virtio-net-pci, "
            "virtio-rng-pci, virtio-blk-device, virtio-net-device, virtio-rng-device)");
    refused("-device virtio-blk-pci", "-device virtio-blk-pci lacks drive=");
    refused("-device virtio-net-device", "-device virtio-net-device lacks netdev=");
    refused("-device virtio-blk-pci,drive=d,mac=52:54:00:12:34:56",
            "-device virtio-blk-pci has no 'mac'; it takes drive, serial, id, bootindex, "
            "num-queues, scsi, write-cache, bus, addr, multifunction, disable-legacy, "
            "disable-modern, iommu_platform");
    refused("-device virtio-rng-pci,bus=pci.1",
            "-device virtio-rng-pci bus=pci.1: not a valid value (allowed: pcie.0)");
    refused("-device virtio-rng-pci,addr=0x20",
            "-device virtio-rng-pci addr=0x20: not a valid value (allowed: a slot from 0x0 to 0x1f "
            "(hexadecimal), function 0)");
    refused("-device virtio-rng-pci,addr=3.1",
            "-device virtio-rng-pci addr=3.1: not a valid value (allowed: a slot from 0x0 to 0x1f "
            "(hexadecimal), function 0)");
    refused("-device virtio-net-pci,netdev=n,mac=01:00:00:00:00:00",
            "-device virtio-net-pci mac=01:00:00:00:00:00: not a valid value (allowed: six bytes "
            "as in 52:54:00:12:34:56, no group address)");
    refused("-device virtio-blk-pci,drive=d,serial=123456789012345678901",
            "-device virtio-blk-pci serial=123456789012345678901: not a valid value (allowed: a "
            "text of 1 to 20 bytes)");
    refused("-object memory-backend-memfd,id=m",
            "-object memory-backend-memfd: not a valid value (allowed: rng-random, "
            "tls-creds-x509, tls-creds-psk)");
}

static void test_too_many(void **state)
{
    char line[4096] = "-kernel k", one[64];

    for (int i = 0; i <= MACHINE_DRIVES_MAX; i++) {
        snprintf(one, sizeof(one), " -drive file=x,id=d%d", i);
        strcat(line, one);
    }
    refused(line, "-drive may be given at most 32 times");
    strcpy(line, "-kernel k");
    for (int i = 0; i <= MACHINE_NICS_MAX; i++) {
        snprintf(one, sizeof(one), " -netdev tap,id=n%d,fd=%d", i, i);
        strcat(line, one);
    }
    refused(line, "-netdev may be given at most 32 times");
    strcpy(line, "-kernel k");
    for (int i = 0; i < 9; i++)
        strcat(line, " -qmp unix:/q,server,nowait");
    refused(line, "-qmp may be given at most 8 times");
}

static void test_sockets(void **state)
{
    refused("-qmp unix:/q", "-qmp unix:/q: the socket is listened on, and start-up never waits for "
                            "a client: end the value with ,server,nowait");
    refused("-qmp unix:/q,server",
            "-qmp unix:/q,server: the socket is listened on, and start-up never waits for a "
            "client: end the value with ,server,nowait");
    refused("-qmp tcp:0.0.0.0:4444,server,nowait",
            "-qmp tcp:0.0.0.0:4444,server,nowait: \"0.0.0.0\" is not a loopback address: QMP is "
            "equal to a shell and has no password (allowed: 127.0.0.1, [::1], localhost)");
    refused("-qmp stdio,server,nowait",
            "-qmp stdio,server,nowait: \"stdio\" is not an address of a QMP socket (allowed: "
            "unix:PATH, or tcp:HOST:PORT with a loopback HOST)");
    refused("-serial tty", "-serial tty: not a valid value (allowed: stdio, none, pty, file:PATH "
                           "or unix:PATH,server,nowait)");
    refused("-serial file:", "-serial file:: not a valid value (allowed: stdio, none, pty, "
                             "file:PATH or unix:PATH,server,nowait)");
    refused("-serial unix:/s", "-serial unix:/s: the socket is listened on, and start-up never "
                               "waits for a client: end the value with ,server,nowait");
    refused("-serial unix:,server,nowait",
            "-serial unix:,server,nowait: not a valid value (allowed: stdio, none, pty, file:PATH "
            "or unix:PATH,server,nowait)");
}

static void test_incoming(void **state)
{
    static const char *const bad[] = {"tcp:host", "tcp:host:99999", "rdma:x:1", "unix:", "4446"};
    char line[64], text[160];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "-incoming %s", bad[i]);
        snprintf(text, sizeof(text),
                 "-incoming %s: not a valid value (allowed: tcp:HOST:PORT, tcp:[IPV6]:PORT, "
                 "unix:PATH, fd:FD, exec:COMMAND, file:PATH, defer)",
                 bad[i]);
        refused(line, text);
    }
}

static void test_other_values(void **state)
{
    char line[2200] = "-kernel ", text[256];

    refused("-uuid 1234", "-uuid 1234: not a valid value (allowed: 32 hexadecimal digits in groups "
                          "of 8-4-4-4-12)");
    refused("-kernel ''", "-kernel : not a valid value (allowed: 1 to 1023 bytes)");
    memset(line + 8, 'x', 1100);
    snprintf(text, sizeof(text), "-kernel %.64s...: not a valid value (allowed: 1 to 1023 bytes)",
             line + 8);
    refused(line, text);
    refused("-sandbox maybe", "-sandbox maybe: not a valid value (allowed: on|off)");
    refused("-display gtk", "-display gtk: not a valid value (allowed: none)");
    refused("-rtc base=localtime", "-rtc base=localtime: not a valid value (allowed: utc)");
    refused("-overcommit mem-lock=on", "-overcommit mem-lock=on: not a valid value (allowed: off)");
}

static void test_what_needs_what(void **state)
{
    refused("", "there is nothing to run: give -kernel FILE, or -incoming to wait for a machine "
                "(-h lists all options)");
    refused("-initrd i", "-initrd needs -kernel");
    refused("-append a", "-append needs -kernel");
    refused("-incoming defer -append a", "-append needs -kernel");
    refused("-kernel k -serial stdio -daemonize",
            "-daemonize has no stdio for -serial (allowed with it: file:PATH, "
            "unix:PATH,server,nowait, pty, none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_smp),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_drives),
        cmocka_unit_test(test_netdevs),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_incoming),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_what_needs_what),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
