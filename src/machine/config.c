#include "machine/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "machine/board.h"

#define STAGE     "config"
#define RAM_ALIGN (2ULL << 20)

static const char *const kind_names[] = {
    [DEVICE_BLK] = "virtio-blk",
    [DEVICE_NET] = "virtio-net",
    [DEVICE_RNG] = "virtio-rng",
};
_Static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == DEVICE_RNG + 1, "every kind a name");

void machine_config_init(struct machine_config *c)
{
    memset(c, 0, sizeof(*c));
    snprintf(c->machine, sizeof(c->machine), "q35");
    snprintf(c->cpu.model, sizeof(c->cpu.model), "host");
    c->ram_size = MACHINE_RAM_DEFAULT;
    c->vcpus = 1;
    for (uint32_t i = 0; i < MACHINE_NICS_MAX; i++)
        c->netdevs[i].fd = -1;
    for (uint32_t i = 0; i < MACHINE_DEVICES_MAX; i++)
        c->devices[i].slot = -1;
}

/* Machine */

static int check_board(struct machine_config *c, struct err *e)
{
    const struct board_ops *ops = board_find(c->machine);

    if (!ops)
        return err_set(e, -EINVAL, STAGE, "-machine %s: there is no such machine; there are %s",
                       c->machine, board_names());
    snprintf(c->machine, sizeof(c->machine), "%s", ops->name);
    return 0;
}

static int check_sizes(const struct machine_config *c, struct err *e)
{
    if (c->ram_size < MACHINE_RAM_MIN || c->ram_size > MACHINE_RAM_MAX)
        return err_set(e, -EINVAL, STAGE,
                       "-m: %" PRIu64 " bytes of memory; from 128 MiB to 512 GiB are allowed",
                       c->ram_size);
    if (c->ram_size % RAM_ALIGN)
        return err_set(e, -EINVAL, STAGE, "-m: %" PRIu64 " bytes are no multiple of 2 MiB",
                       c->ram_size);
    if (c->vcpus < 1 || c->vcpus > MACHINE_VCPUS_MAX)
        return err_set(e, -EINVAL, STAGE, "-smp: %u vCPUs; from 1 to %d are allowed", c->vcpus,
                       MACHINE_VCPUS_MAX);
    return 0;
}

static int check_uuid(const struct machine_config *c, struct err *e)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t i = 0;

    if (!c->uuid[0])
        return 0;
    while (form[i] &&
           (form[i] == 'x' ? isxdigit((unsigned char)c->uuid[i]) != 0 : c->uuid[i] == form[i]))
        i++;
    if (form[i] || c->uuid[i])
        return err_set(e, -EINVAL, STAGE, "-uuid %s: it must look like %s", c->uuid, form);
    return 0;
}

int machine_config_make_uuid(struct machine_config *c, struct err *e)
{
    uint8_t r[16];

    if (c->uuid[0])
        return 0;
    if (getrandom(r, sizeof(r), 0) != sizeof(r))
        return err_set_errno(e, -errno, STAGE, "no random bytes for a UUID");
    r[6] = (r[6] & 0x0f) | 0x40; /* version 4 (RFC 9562, sec. 5.4) */
    r[8] = (r[8] & 0x3f) | 0x80;
    snprintf(c->uuid, sizeof(c->uuid),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
             r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
             r[15]);
    return 0;
}

/* Ids and back-ends */

static int check_id(const char *option, const char *id, struct err *e)
{
    for (const char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return err_set(e, -EINVAL, STAGE,
                           "%s id=%s: an id has letters, digits, '-', '_' and '.' only", option,
                           id);
    return id[0] ? 0 : err_set(e, -EINVAL, STAGE, "%s: id= is missing", option);
}

static int check_drives(const struct machine_config *c, struct err *e)
{
    for (uint32_t i = 0; i < c->ndrives; i++) {
        const struct drive_config *d = &c->drives[i];
        int ret = check_id("-drive", d->id, e);

        if (ret)
            return ret;
        if (!d->file[0])
            return err_set(e, -EINVAL, STAGE, "-drive id=%s: file= is missing", d->id);
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(c->drives[j].id, d->id))
                return err_set(e, -EINVAL, STAGE, "-drive id=%s: the id is used twice", d->id);
    }
    return 0;
}

static int check_netdevs(const struct machine_config *c, struct err *e)
{
    for (uint32_t i = 0; i < c->nnetdevs; i++) {
        const struct netdev_config *n = &c->netdevs[i];
        int ret = check_id("-netdev", n->id, e);

        if (ret)
            return ret;
        if ((n->ifname[0] != 0) + (n->fd >= 0 || n->fdname[0] != 0) != 1)
            return err_set(e, -EINVAL, STAGE, "-netdev tap,id=%s: one of ifname= and fd= is needed",
                           n->id);
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(c->netdevs[j].id, n->id))
                return err_set(e, -EINVAL, STAGE, "-netdev id=%s: the id is used twice", n->id);
    }
    return 0;
}

static bool backend_exists(const struct machine_config *c, const struct device_config *d)
{
    if (d->kind == DEVICE_BLK) {
        for (uint32_t i = 0; i < c->ndrives; i++)
            if (!strcmp(c->drives[i].id, d->backend))
                return true;
        return false;
    }
    for (uint32_t i = 0; i < c->nnetdevs; i++)
        if (!strcmp(c->netdevs[i].id, d->backend))
            return true;
    return false;
}

static int check_backend(const struct machine_config *c, uint32_t i, struct err *e)
{
    const struct device_config *d = &c->devices[i];
    const char *option = d->kind == DEVICE_BLK ? "drive" : "netdev";

    if (d->kind == DEVICE_RNG)
        return 0;
    if (!d->backend[0])
        return err_set(e, -EINVAL, STAGE, "-device %s: %s= is missing", kind_names[d->kind],
                       option);
    if (!backend_exists(c, d))
        return err_set(e, -EINVAL, STAGE, "-device %s,%s=%s: there is no -%s with id=%s",
                       kind_names[d->kind], option, d->backend, option, d->backend);
    for (uint32_t j = 0; j < i; j++)
        if (c->devices[j].kind == d->kind && !strcmp(c->devices[j].backend, d->backend))
            return err_set(e, -EINVAL, STAGE, "-device %s,%s=%s: device '%s' has it already",
                           kind_names[d->kind], option, d->backend, c->devices[j].id);
    return 0;
}

/* Devices */

static bool id_taken(const struct machine_config *c, const char *id, uint32_t but)
{
    for (uint32_t i = 0; i < c->ndevices; i++)
        if (i != but && !strcmp(c->devices[i].id, id))
            return true;
    return false;
}

static void make_id(struct machine_config *c, uint32_t i)
{
    struct device_config *d = &c->devices[i];
    uint32_t n = 0;

    do
        snprintf(d->id, sizeof(d->id), "%s%u", kind_names[d->kind], n++);
    while (id_taken(c, d->id, i));
}

/* 52:54:00 and 24 bits of FNV-1a over what tells this card from others. */
static void make_mac(const struct machine_config *c, struct device_config *d)
{
    const char *parts[] = {c->name, "/", d->id};
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (const char *p = parts[i]; *p; p++)
            hash = (hash ^ (uint8_t)*p) * 16777619U;
    memcpy(d->mac,
           (const uint8_t[6]){0x52, 0x54, 0x00, (uint8_t)(hash >> 16), (uint8_t)(hash >> 8),
                              (uint8_t)hash},
           sizeof(d->mac));
}

static int check_mac(const struct machine_config *c, struct device_config *d, struct err *e)
{
    if (d->kind != DEVICE_NET)
        return 0;
    if (!d->mac_set)
        make_mac(c, d);
    if (d->mac[0] & 1)
        return err_set(e, -EINVAL, STAGE,
                       "-device virtio-net,id=%s: mac=%02x:%02x:%02x:%02x:%02x:%02x is a group "
                       "address",
                       d->id, d->mac[0], d->mac[1], d->mac[2], d->mac[3], d->mac[4], d->mac[5]);
    return 0;
}

static int check_device(struct machine_config *c, uint32_t i, const struct board_ops *board,
                        struct err *e)
{
    struct device_config *d = &c->devices[i];
    int ret;

    if (d->kind > DEVICE_RNG)
        return err_set(e, -EINVAL, STAGE, "device %u is of unknown kind %d", i, (int)d->kind);
    if (d->transport != board->transport)
        return err_set(e, -EINVAL, STAGE, "-device %s-%s: machine %s takes %s-%s",
                       kind_names[d->kind], d->transport == DEVICE_PCI ? "pci" : "device",
                       board->name, kind_names[d->kind],
                       board->transport == DEVICE_PCI ? "pci" : "device");
    if (!d->id[0])
        make_id(c, i);
    ret = check_id("-device", d->id, e);
    if (ret)
        return ret;
    if (id_taken(c, d->id, i))
        return err_set(e, -EINVAL, STAGE, "-device id=%s: the id is used twice", d->id);
    ret = check_backend(c, i, e);
    return ret ? ret : check_mac(c, d, e);
}

/* Slots: those asked for first, then the others in order; slot 0 only on request, since the PCI
 * host bridge sits there if it may. */
static int give_slots(struct machine_config *c, const struct board_ops *board, struct err *e)
{
    bool pci = board->transport == DEVICE_PCI;
    int last = pci ? (int)board->slots : (int)board->slots - 1;
    const struct device_config *at[64] = {NULL};
    int next = pci ? 1 : 0;

    if (c->ndevices > board->slots)
        return err_set(e, -EINVAL, STAGE, "%u devices: machine %s takes %u", c->ndevices,
                       board->name, board->slots);
    for (uint32_t i = 0; i < c->ndevices; i++) {
        const struct device_config *d = &c->devices[i];

        if (d->slot < -1 || d->slot > last)
            return err_set(e, -EINVAL, STAGE, "-device id=%s: addr=%d is not between 0 and %d",
                           d->id, d->slot, last);
        if (d->slot < 0)
            continue;
        if (at[d->slot])
            return err_set(e, -EINVAL, STAGE, "-device id=%s: addr=%d is device '%s''s", d->id,
                           d->slot, at[d->slot]->id);
        at[d->slot] = d;
    }
    for (uint32_t i = 0; i < c->ndevices; i++) {
        struct device_config *d = &c->devices[i];

        if (d->slot >= 0)
            continue;
        while (next <= last && at[next])
            next++;
        d->slot = next <= last ? next : 0; /* one is left: the bridge gives up slot 0 */
        at[d->slot] = d;
    }
    return 0;
}

static int check_devices(struct machine_config *c, struct err *e)
{
    const struct board_ops *board = board_find(c->machine);

    for (uint32_t i = 0; i < c->ndevices; i++) {
        int ret = check_device(c, i, board, e);

        if (ret)
            return ret;
    }
    return give_slots(c, board, e);
}

/* Whether the kernel's command line has `option` among the comma-separated values of pci=. */
static bool pci_option(const char *append, const char *option)
{
    size_t len = strlen(option);

    for (const char *word = strstr(append, "pci="); word; word = strstr(word + 1, "pci=")) {
        if (word != append && word[-1] != ' ')
            continue;
        for (const char *p = word + 3; *p == '=' || *p == ',';) {
            p++;
            if (!strncmp(p, option, len) && strchr(", ", p[len]))
                return true;
            p += strcspn(p, ", ");
        }
    }
    return false;
}

void machine_config_warning(const struct machine_config *c, char warning[CONFIG_WARNING_MAX])
{
    const char *option = pci_option(c->append, "off")     ? "off"
                         : pci_option(c->append, "nomsi") ? "nomsi"
                                                          : NULL;

    warning[0] = '\0';
    if (option && c->ndevices && board_find(c->machine)->transport == DEVICE_PCI)
        snprintf(warning, CONFIG_WARNING_MAX,
                 "-append has pci=%s: a Linux guest will not find its %u PCI device%s (disks and "
                 "networks included); leave it out, or use -machine microvm",
                 option, c->ndevices, c->ndevices == 1 ? "" : "s");
}

int machine_config_check(struct machine_config *c, struct err *e)
{
    int ret = check_board(c, e);

    if (c->ndrives > MACHINE_DRIVES_MAX || c->nnetdevs > MACHINE_NICS_MAX ||
        c->ndevices > MACHINE_DEVICES_MAX)
        return err_set(e, -EINVAL, STAGE, "more than %d drives, %d networks or %d devices",
                       MACHINE_DRIVES_MAX, MACHINE_NICS_MAX, MACHINE_DEVICES_MAX);
    if (!ret)
        ret = check_sizes(c, e);
    if (!ret)
        ret = check_uuid(c, e);
    if (!ret)
        ret = check_drives(c, e);
    if (!ret)
        ret = check_netdevs(c, e);
    if (!ret)
        ret = check_devices(c, e);
    return ret;
}
