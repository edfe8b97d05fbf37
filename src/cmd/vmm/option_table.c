/* The one table of godwit-vmm's options.  What an option accepts is written here and nowhere else;
 * what it does is in handlers_*.c. */
#include <stddef.h>

#include "cmd/vmm/handlers.h"

#define ID_LEN   (MACHINE_ID_MAX - 1)
#define PATH_LEN (MACHINE_PATH_MAX - 1)

#define FIELD(f)                                                                                   \
    .offset = offsetof(struct vmm_options, f), .size = sizeof(((struct vmm_options *)0)->f)

/* A key that others' command lines carry and whose only sensible values change nothing here. */
#define HARMLESS(n, values)                                                                        \
    {                                                                                              \
        .name = (n), .type = KEY_CHOICE, .flags = KEY_IGNORED, .allowed = (values)                 \
    }

static const struct key machine_keys[] = {
    {.name = "type",
     .type = KEY_CHOICE,
     .flags = KEY_FIRST | KEY_REQUIRED,
     .allowed = "q35|q35-1.0|microvm|microvm-1.0"},
    HARMLESS("accel", "kvm"),
    HARMLESS("kernel-irqchip", "on"),
    HARMLESS("dump-guest-core", "on|off"),
    HARMLESS("mem-share", "on|off"),
    HARMLESS("usb", "off"),
    HARMLESS("vmport", "off"),
    HARMLESS("smm", "off"),
    HARMLESS("sata", "off"),
    HARMLESS("hpet", "off"),
    HARMLESS("graphics", "off"),
    {0}
};

static const struct key accel_keys[] = {
    {.name = "accel",
     .type = KEY_CHOICE,
     .flags = KEY_FIRST | KEY_REQUIRED | KEY_IGNORED,
     .allowed = "kvm"},
    HARMLESS("kernel-irqchip", "on"),
    {.name = "dirty-ring-size",
     .type = KEY_UINT,
     .max = VMM_DIRTY_RING_MAX,
     .help = "entries of each vCPU's dirty ring, a power of two from 1024 on; 0: the dirty bitmap"},
    {0}
};

#define SMP_KEY(n, f)                                                                              \
    {                                                                                              \
        .name = (n), .type = KEY_UINT, .flags = (f), .min = 1, .max = MACHINE_VCPUS_MAX            \
    }

static const struct key smp_keys[] = {SMP_KEY("cpus", KEY_FIRST),
                                      SMP_KEY("maxcpus", 0),
                                      SMP_KEY("sockets", 0),
                                      SMP_KEY("dies", 0),
                                      SMP_KEY("cores", 0),
                                      SMP_KEY("threads", 0),
                                      {0}};

static const struct key memory_keys[] = {
    {.name = "size",
     .type = KEY_SIZE,
     .flags = KEY_FIRST | KEY_REQUIRED,
     .min = MACHINE_RAM_MIN,
     .max = MACHINE_RAM_MAX},
    {0}
};

static const struct key name_keys[] = {
    {.name = "guest",                    .type = KEY_STRING, .flags = KEY_FIRST | KEY_REQUIRED, .max = ID_LEN},
    HARMLESS("debug-threads", "on|off"),
    {0}
};

static const struct key drive_keys[] = {
    {.name = "file",
     .type = KEY_STRING,
     .flags = KEY_REQUIRED,
     .max = PATH_LEN,
     .help = "a regular file or a block device"},
    {.name = "id",                      .type = KEY_ID, .flags = KEY_REQUIRED, .max = ID_LEN},
    {.name = "readonly", .type = KEY_BOOL},
    {.name = "read-only",                               .type = KEY_BOOL, .help = "the same as readonly"},
    {.name = "direct",                     .type = KEY_BOOL, .help = "bypass the host's page cache"},
    {.name = "cache",
     .type = KEY_CHOICE,
     .allowed = "none|directsync|writeback",
     .help = "QEMU's words: all but writeback mean direct=on"},
    {.name = "format",                          .type = KEY_CHOICE, .flags = KEY_IGNORED, .allowed = "raw"},
    HARMLESS("if", "none"),
    HARMLESS("media", "disk"),
    HARMLESS("aio", "io_uring|native|threads"),
    HARMLESS("discard", "unmap|on"),
    HARMLESS("detect-zeroes", "off"),
    {0                       }
};

static const struct key tap_keys[] = {
    {.name = "id",           .type = KEY_ID, .flags = KEY_REQUIRED, .max = ID_LEN},
    {.name = "ifname", .type = KEY_STRING, .max = 15, .help = "a tap that exists"},
    {.name = "fd",
     .type = KEY_STRING,
     .max = ID_LEN,
     .help = "an open tap: a descriptor's number, or a name given by getfd"},
    HARMLESS("script", "no"),
    HARMLESS("downscript", "no"),
    HARMLESS("vhost", "off"),
    HARMLESS("queues", "1"),
    {0   }
};

static const struct option_kind netdev_kinds[] = {
    {.name = "tap", .keys = tap_keys},
    {0            }
};

#define DEVICE_ID_KEY                                                                              \
    {                                                                                              \
        .name = "id", .type = KEY_ID, .max = ID_LEN                                                \
    }
#define BOOTINDEX_KEY                                                                              \
    {                                                                                              \
        .name = "bootindex", .type = KEY_UINT, .flags = KEY_IGNORED, .max = 1000                   \
    }
#define PCI_KEYS                                                                                   \
    {.name = "bus", .type = KEY_CHOICE, .flags = KEY_IGNORED, .allowed = "pcie.0"},                \
        {.name = "addr", .type = KEY_PCI_ADDR}, HARMLESS("multifunction", "off"),                  \
        HARMLESS("disable-legacy", "on|off|auto"), HARMLESS("disable-modern", "off"),              \
        HARMLESS("iommu_platform", "off")
#define BLK_KEYS                                                                                   \
    {.name = "drive", .type = KEY_ID, .flags = KEY_REQUIRED, .max = ID_LEN},                       \
        {.name = "serial", .type = KEY_STRING, .max = 20}, DEVICE_ID_KEY, BOOTINDEX_KEY,           \
        HARMLESS("num-queues", "1"), HARMLESS("scsi", "off"), HARMLESS("write-cache", "on")
#define NET_KEYS                                                                                   \
    {.name = "netdev", .type = KEY_ID, .flags = KEY_REQUIRED, .max = ID_LEN},                      \
        {.name = "mac", .type = KEY_MAC}, DEVICE_ID_KEY, BOOTINDEX_KEY, HARMLESS("mq", "off")
#define RNG_KEYS {.name = "rng", .type = KEY_ID, .flags = KEY_IGNORED, .max = ID_LEN}, DEVICE_ID_KEY

static const struct key blk_pci_keys[] = {BLK_KEYS, PCI_KEYS, {0}};
static const struct key net_pci_keys[] = {NET_KEYS, PCI_KEYS, {0}};
static const struct key rng_pci_keys[] = {RNG_KEYS, PCI_KEYS, {0}};
static const struct key blk_mmio_keys[] = {BLK_KEYS, {0}};
static const struct key net_mmio_keys[] = {NET_KEYS, {0}};
static const struct key rng_mmio_keys[] = {RNG_KEYS, {0}};

static const struct option_kind device_kinds[] = {
    {"virtio-blk-pci", blk_pci_keys, DEVICE_BLK, DEVICE_PCI},
    {"virtio-net-pci",      net_pci_keys, DEVICE_NET, DEVICE_PCI},
    {"virtio-rng-pci",                rng_pci_keys, DEVICE_RNG, DEVICE_PCI},
    {"virtio-blk-device",blk_mmio_keys, DEVICE_BLK, DEVICE_MMIO},
    {"virtio-net-device",      net_mmio_keys, DEVICE_NET, DEVICE_MMIO},
    {"virtio-rng-device", rng_mmio_keys, DEVICE_RNG, DEVICE_MMIO},
    {0     }
};

static const struct key rng_random_keys[] = {
    {.name = "id",                         .type = KEY_ID, .flags = KEY_REQUIRED | KEY_IGNORED, .max = ID_LEN},
    HARMLESS("filename", "/dev/urandom|/dev/random"),
    {0}
};

#define TLS_KEYS                                                                                   \
    {.name = "id", .type = KEY_ID, .flags = KEY_REQUIRED, .max = ID_LEN},                          \
        {.name = "dir", .type = KEY_STRING, .flags = KEY_REQUIRED, .max = VMM_PATH_MAX - 1},       \
        {.name = "endpoint", .type = KEY_CHOICE, .allowed = "server|client"},                      \
        HARMLESS("sanity-check", "on")

static const struct key tls_x509_keys[] = {
    TLS_KEYS, {.name = "verify-peer", .type = KEY_BOOL}, {0}};
static const struct key tls_psk_keys[] = {
    TLS_KEYS, {.name = "username", .type = KEY_STRING, .max = VMM_ID_MAX - 1}, {0}};

static const struct option_kind object_kinds[] = {
    {.name = "rng-random",     .keys = rng_random_keys, .kind = OBJECT_RNG     },
    {.name = "tls-creds-x509", .keys = tls_x509_keys,   .kind = OBJECT_TLS_X509},
    {.name = "tls-creds-psk",  .keys = tls_psk_keys,    .kind = OBJECT_TLS_PSK },
    {0                                                                         }
};

static const struct key sandbox_keys[] = {
    {.name = "enable",    .type = KEY_BOOL, .flags = KEY_FIRST},
    HARMLESS("obsolete", "allow|deny"),
    HARMLESS("elevateprivileges", "allow|deny|children"),
    {.name = "spawn", .type = KEY_CHOICE, .allowed = "allow|deny"},
    HARMLESS("resourcecontrol", "allow|deny"),
    {0}
};

static const struct key msg_keys[] = {
    HARMLESS("timestamp", "on|off"), HARMLESS("guest-name", "on|off"), {0}};

static const struct key rtc_keys[] = {
    HARMLESS("base", "utc"), HARMLESS("clock", "host"), HARMLESS("driftfix", "none|slew"), {0}};

static const struct key boot_keys[] = {
    {.name = "order",                   .type = KEY_STRING, .flags = KEY_FIRST | KEY_IGNORED, .max = 8},
    HARMLESS("strict", "on|off"),
    HARMLESS("menu", "off"),
    {0}
};

static const struct key overcommit_keys[] = {
    HARMLESS("mem-lock", "off"), HARMLESS("cpu-pm", "off"), {0}};

static const struct key none_keys[] = {
    {.name = "type",
     .type = KEY_CHOICE,
     .flags = KEY_FIRST | KEY_REQUIRED | KEY_IGNORED,
     .allowed = "none"},
    {0}
};

#define ACCEPTED "accepted, without effect"

/* clang-format off */
static const struct option table[] = {
    {.name = "machine", .shape = OPTION_KEYS, .args = "TYPE", .keys = machine_keys,
     .apply = apply_machine, .given = OPTION_MACHINE,
     .help = "the board; a name without a version is its newest (default: q35)"},
    {.name = "cpu", .shape = OPTION_TEXT, .args = "host[,+FEATURE][,-FEATURE]...",
     .apply = apply_cpu, .given = OPTION_CPU,
     .help = "the processor, with features added or taken away (default: host)"},
    {.name = "smp", .shape = OPTION_KEYS, .args = "[cpus=]N", .keys = smp_keys,
     .apply = apply_smp, .given = OPTION_VCPUS,
     .help = "vCPUs, 1 to 254 (default: 1); a topology must multiply to N and is not shown"},
    {.name = "m", .shape = OPTION_KEYS, .args = "[size=]SIZE", .keys = memory_keys,
     .apply = apply_memory, .given = OPTION_RAM,
     .help = "RAM in MiB, or with a suffix K, M, G; an even number of MiB (default: 256M)"},
    {.name = "mem-path", .shape = OPTION_TEXT, .args = "PATH", .apply = apply_text, FIELD(mem_path),
     .help = "keep RAM in a file in this directory (hugetlbfs, tmpfs) or in this file"},
    {.name = "mem-prealloc", .shape = OPTION_FLAG, .apply = apply_true, FIELD(mem_prealloc),
     .help = "touch all RAM before the machine starts"},
    {.name = "kernel", .shape = OPTION_TEXT, .args = "FILE", .apply = apply_text,
     FIELD(machine.kernel), .given = OPTION_BOOT,
     .help = "bzImage, ELF vmlinux (PVH or 64-bit) or flat vmlinux.bin"},
    {.name = "initrd", .shape = OPTION_TEXT, .args = "FILE", .apply = apply_text,
     FIELD(machine.initrd), .given = OPTION_BOOT, .help = "initial RAM disk"},
    {.name = "append", .shape = OPTION_TEXT, .args = "TEXT", .apply = apply_text,
     FIELD(machine.append), .given = OPTION_BOOT, .help = "the kernel's command line"},
    {.name = "drive", .shape = OPTION_KEYS, .args = "file=PATH,id=ID", .keys = drive_keys,
     .apply = apply_drive, .help = "an image for a virtio-blk device"},
    {.name = "netdev", .shape = OPTION_KINDS, .args = "tap,id=ID,ifname=NAME|fd=FD",
     .kinds = netdev_kinds, .apply = apply_netdev, .help = "a tap for a virtio-net device"},
    {.name = "device", .shape = OPTION_KINDS, .args = "TYPE[,KEY=VALUE]...", .kinds = device_kinds,
     .apply = apply_device, .given = OPTION_DEVICES,
     .help = "a device; -pci types for q35, -device types for microvm"},
    {.name = "object", .shape = OPTION_KINDS, .args = "tls-creds-x509|tls-creds-psk,id=ID,dir=DIR",
     .kinds = object_kinds, .apply = apply_object,
     .help = "credentials for the migration parameter tls-creds; rng-random is accepted"},
    {.name = "serial", .shape = OPTION_TEXT,
     .args = "stdio|file:PATH|unix:PATH,server,nowait|pty|none", .apply = apply_serial,
     .help = "where the first serial port is connected (default: none)"},
    {.name = "qmp", .shape = OPTION_TEXT, .args = "unix:PATH,server,nowait", .apply = apply_qmp,
     .help = "listen for QMP, which is equal to a shell; also tcp:127.0.0.1:PORT,server,nowait"},
    {.name = "incoming", .shape = OPTION_TEXT, .args = "tcp:HOST:PORT|unix:PATH|fd:FD|exec:COMMAND|file:PATH|defer",
     .apply = apply_incoming, .help = "wait for a machine that migrates here"},
    {.name = "name", .shape = OPTION_KEYS, .args = "NAME", .keys = name_keys, .apply = apply_name,
     .given = OPTION_NAME, .help = "the machine's name"},
    {.name = "uuid", .shape = OPTION_TEXT, .args = "UUID", .apply = apply_uuid,
     .given = OPTION_UUID, .help = "the machine's UUID (default: a random one)"},
    {.name = "S", .shape = OPTION_FLAG, .apply = apply_true, FIELD(start_paused),
     .help = "do not run the vCPUs until QMP's cont"},
    {.name = "daemonize", .shape = OPTION_FLAG, .apply = apply_true, FIELD(daemonize),
     .help = "go to the background once the machine is ready"},
    {.name = "pidfile", .shape = OPTION_TEXT, .args = "FILE", .apply = apply_text, FIELD(pidfile),
     .help = "write the process id to FILE and keep it locked"},
    {.name = "D", .shape = OPTION_TEXT, .args = "FILE", .apply = apply_text, FIELD(log_file),
     .help = "append the log to FILE instead of stderr"},
    {.name = "sandbox", .shape = OPTION_KEYS, .args = "on|off[,spawn=allow]", .keys = sandbox_keys,
     .apply = apply_sandbox, .help = "seccomp and dropped capabilities (default: on)"},
    {.name = "disable-seccomp", .shape = OPTION_FLAG, .apply = apply_false, FIELD(sandbox),
     .help = "the same as -sandbox off"},
    {.name = "no-reboot", .shape = OPTION_FLAG, .apply = apply_true, FIELD(no_reboot),
     .help = "exit when the guest resets itself"},
    {.name = "no-shutdown", .shape = OPTION_FLAG, .apply = apply_true, FIELD(no_shutdown),
     .help = "stay, stopped, when the guest powers off"},
    {.name = "nographic", .shape = OPTION_FLAG, .apply = apply_nographic,
     .help = "-serial stdio, unless -serial is given"},
    {.name = "accel", .shape = OPTION_KEYS, .args = "kvm[,dirty-ring-size=N]",
     .keys = accel_keys, .apply = apply_accel, .help = "how KVM tells what the guest writes"},
    {.name = "enable-kvm", .shape = OPTION_FLAG, .help = ACCEPTED},
    {.name = "nodefaults", .shape = OPTION_FLAG, .help = ACCEPTED},
    {.name = "no-user-config", .shape = OPTION_FLAG, .help = ACCEPTED},
    {.name = "no-hpet", .shape = OPTION_FLAG, .help = ACCEPTED},
    {.name = "only-migratable", .shape = OPTION_FLAG, .help = ACCEPTED},
    {.name = "display", .shape = OPTION_KEYS, .args = "none", .keys = none_keys, .help = ACCEPTED},
    {.name = "vga", .shape = OPTION_KEYS, .args = "none", .keys = none_keys, .help = ACCEPTED},
    {.name = "monitor", .shape = OPTION_KEYS, .args = "none", .keys = none_keys, .help = ACCEPTED},
    {.name = "parallel", .shape = OPTION_KEYS, .args = "none", .keys = none_keys,
     .help = ACCEPTED},
    {.name = "msg", .shape = OPTION_KEYS, .args = "timestamp=on|off", .keys = msg_keys,
     .help = ACCEPTED},
    {.name = "rtc", .shape = OPTION_KEYS, .args = "base=utc", .keys = rtc_keys, .help = ACCEPTED},
    {.name = "boot", .shape = OPTION_KEYS, .args = "strict=on", .keys = boot_keys,
     .help = ACCEPTED},
    {.name = "overcommit", .shape = OPTION_KEYS, .args = "mem-lock=off", .keys = overcommit_keys,
     .help = ACCEPTED},
    {.name = "global", .shape = OPTION_TEXT, .args = "DRIVER.PROPERTY=VALUE",
     .apply = apply_ignored, .help = "accepted, without effect but a warning"},
    {.name = "h", .shape = OPTION_FLAG, .help = "print this help"},
    {.name = "version", .shape = OPTION_FLAG, .help = "print the version"},
    {0}
};
/* clang-format on */

const struct option *option_table(void)
{
    return table;
}
