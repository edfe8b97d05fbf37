/*
 * What a machine is, as its owner asked for it: the plain description that the command line fills
 * in, the manifest carries, and the boards build from.  No pointers to live things.
 */
#ifndef GODWIT_MACHINE_CONFIG_H
#define GODWIT_MACHINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define MACHINE_ID_MAX       64
#define MACHINE_PATH_MAX     1024
#define MACHINE_CMDLINE_MAX  2048
#define MACHINE_DRIVES_MAX   32
#define MACHINE_NICS_MAX     32
#define MACHINE_DEVICES_MAX  64
#define MACHINE_FEATURES_MAX 128

#define MACHINE_RAM_MIN     (128ULL << 20)
#define MACHINE_RAM_MAX     (512ULL << 30)
#define MACHINE_RAM_DEFAULT (256ULL << 20)
#define MACHINE_VCPUS_MAX   254

struct drive_config {
    char id[MACHINE_ID_MAX];
    char file[MACHINE_PATH_MAX];
    bool readonly, direct;
};

struct netdev_config {
    char id[MACHINE_ID_MAX];
    char ifname[16]; /* tap,ifname=; empty with fd= */
    int fd;          /* -1: none; a number, or a name given by QMP getfd */
    char fdname[MACHINE_ID_MAX];
};

enum device_kind { DEVICE_BLK, DEVICE_NET, DEVICE_RNG };
enum device_transport { DEVICE_PCI, DEVICE_MMIO };

struct device_config {
    enum device_kind kind;
    enum device_transport transport;
    char id[MACHINE_ID_MAX];      /* never empty after machine_config_check: made up where absent */
    char backend[MACHINE_ID_MAX]; /* drive= or netdev= */
    int slot;                     /* addr=, -1: next free; never -1 after machine_config_check */
    uint8_t mac[6];
    bool mac_set;
    char serial[21]; /* virtio-blk serial=, 20 bytes at most (virtio 1.2, 5.2.6.1) */
};

struct cpu_config {
    char model[32]; /* "host" */
    uint32_t nfeatures;
    struct {
        char name[32];
        bool on;
    } features[MACHINE_FEATURES_MAX];
};

struct machine_config {
    char machine[32]; /* versioned: "q35-1.0", "microvm-1.0" */
    uint64_t ram_size;
    uint32_t vcpus;
    struct cpu_config cpu;
    char kernel[MACHINE_PATH_MAX], initrd[MACHINE_PATH_MAX];
    char append[MACHINE_CMDLINE_MAX];
    char name[MACHINE_ID_MAX];
    char uuid[37]; /* "": none given, see machine_config_make_uuid */
    uint32_t ndrives, nnetdevs, ndevices;
    struct drive_config drives[MACHINE_DRIVES_MAX];
    struct netdev_config netdevs[MACHINE_NICS_MAX];
    struct device_config devices[MACHINE_DEVICES_MAX];
};

/* An empty machine with the documented defaults: q35, 256 MiB, 1 vCPU, -cpu host. */
void machine_config_init(struct machine_config *c);

#define CONFIG_WARNING_MAX 256

/* Makes a configuration whole and checks it: fills in the versioned machine name, ids, slots and
 * MAC addresses (the same ones for the same configuration, so that both sides of a migration
 * agree), and looks up every cross-reference.  -EINVAL says what is wrong with which option.
 * Idempotent. */
int machine_config_check(struct machine_config *c, struct err *e);

/* Of a checked configuration: a sentence for the person about what will not work as it may be
 * meant, or "". */
void machine_config_warning(const struct machine_config *c, char warning[CONFIG_WARNING_MAX]);

/* Gives a machine that has no UUID a random one (version 4); only for a machine that starts here:
 * one that arrives brings its own. */
int machine_config_make_uuid(struct machine_config *c, struct err *e);

#endif
